//! Judges a federation's log from its bytes alone.
//!
//! Nothing is believed but the signatures: ε is recomputed from the events, every round is held against the
//! plan in entry 0, every model against the entry that published it. What does not fit becomes a [`Finding`]
//! that names the entry and the rule; the audit goes on to the end, so that one flaw does not hide another.
//!
//! Left out on purpose: reading files (the auditor's binary does that) and words for regulators.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::{
    checkpoint::SignedCheckpoint,
    entry::{Charge, Entry, Founded, RoundClosed, SignedCharge},
    merkle::MerkleTree,
};
use crate::{
    dp::{
        event::DpEvent,
        filter,
        plan::{EpsilonRows, PrivacyPlan},
        unit::PrivacyUnit,
    },
    identity::{MerchantId, Sha256Digest, VerifyingKey},
    secagg::{
        ParticipantNumber, ParticipantSet,
        messages::{CONSISTENCY_CONTEXT, consistency_message},
    },
};

/// What an entry violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The checkpoint is not signed by the federation's key, or its root does not follow from the entries.
    Log,
    /// An entry is unreadable, out of order, or of a merchant that is not enrolled.
    Entry,
    /// A charge is not signed by its merchant.
    Signature,
    /// A charge or round has other values than the plan.
    Plan,
    /// A merchant's charges exceed the cap or the schedule.
    Cap,
    /// A round went on with too few survivors, signatures or charges, or with less noise than planned.
    Round,
    /// A model does not follow from the entries.
    Model,
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Index of the entry, where one is to blame.
    pub entry: Option<u64>,
    /// The rule.
    pub rule: Rule,
    /// In words.
    pub what: String,
}

/// What one merchant spent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MerchantSpending {
    /// Who.
    pub merchant: MerchantId,
    /// Charges in the log.
    pub charges: u32,
    /// The three rows of ε for them; `None` without charges.
    pub epsilon: Option<EpsilonRows>,
}

/// The verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// Name of the federation.
    pub federation: String,
    /// Entries judged.
    pub entries: u64,
    /// Root of the tree over them.
    pub root: Sha256Digest,
    /// Whom the guarantee protects.
    pub unit: PrivacyUnit,
    /// δ of the guarantee.
    pub delta: f64,
    /// The cap.
    pub epsilon_cap: f64,
    /// Privately trained parameters.
    pub dimension: u32,
    /// Rounds that published a model.
    pub rounds_closed: u32,
    /// Rounds that did not.
    pub rounds_abandoned: u32,
    /// Latest model.
    pub model_version: u64,
    /// By merchant.
    pub merchants: Vec<MerchantSpending>,
    /// What does not fit; empty means verified.
    pub findings: Vec<Finding>,
}

/// Why no verdict was possible at all.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// No entries.
    #[error("the log is empty")]
    Empty,
    /// Entry 0 does not found a federation.
    #[error("entry 0 does not found a federation: {0}")]
    NotFounded(String),
    /// Entry 0 holds a plan that is none.
    #[error("the plan in entry 0 is not valid: {0}")]
    Plan(String),
}

/// Judges `leaves` (exact bytes, in order) under a signed checkpoint.
///
/// `server_key` is the key the auditor trusts for this federation; `models` maps versions to digests of the
/// files at hand (missing ones are not judged).
///
/// # Errors
/// [`AuditError`] where not even the founding entry can be read.
pub fn audit(
    leaves: &[Vec<u8>],
    checkpoint: &str,
    server_key: &VerifyingKey,
    models: &HashMap<u64, Sha256Digest>,
) -> Result<Verdict, AuditError> {
    let first = leaves.first().ok_or(AuditError::Empty)?;
    let founded = match Entry::from_bytes(first) {
        Ok(Entry::Founded(founded)) => founded,
        Ok(_) => return Err(AuditError::NotFounded("it is another entry".into())),
        Err(e) => return Err(AuditError::NotFounded(e.to_string())),
    };
    let plan = PrivacyPlan::parse(founded.plan.as_bytes()).map_err(|e| AuditError::Plan(e.to_string()))?;
    let mut auditor = Auditor::new(founded, plan);
    let mut tree = MerkleTree::new();
    tree.append(first);
    for (index, leaf) in (1u64..).zip(&leaves[1..]) {
        tree.append(leaf);
        match Entry::from_bytes(leaf) {
            Ok(entry) => auditor.judge(index, entry),
            Err(e) => auditor.find(Some(index), Rule::Entry, e.to_string()),
        }
    }
    auditor.judge_checkpoint(checkpoint, server_key, &tree);
    auditor.judge_models(models);
    Ok(auditor.verdict(tree.size(), tree.root()))
}

struct Auditor {
    founded: Founded,
    plan: PrivacyPlan,
    plan_sha256: Sha256Digest,
    event: Option<DpEvent>,
    directory: HashMap<MerchantId, VerifyingKey>,
    revoked: HashSet<MerchantId>,
    charges: HashMap<u64, Charge>,
    order: Vec<MerchantId>,
    last_round: Option<(u64, u64)>,
    closed: u32,
    abandoned: u32,
    models: Vec<(u64, Sha256Digest, u64)>,
    findings: Vec<Finding>,
}

impl Auditor {
    fn new(founded: Founded, plan: PrivacyPlan) -> Self {
        let event =
            plan.effective_noise_multiplier(founded.dimension).ok().and_then(|sigma| plan.step_event(sigma).ok());
        Self {
            plan_sha256: PrivacyPlan::digest_of(founded.plan.as_bytes()),
            models: vec![(0, founded.model_sha256, 0)],
            founded,
            plan,
            event,
            directory: HashMap::new(),
            revoked: HashSet::new(),
            charges: HashMap::new(),
            order: Vec::new(),
            last_round: None,
            closed: 0,
            abandoned: 0,
            findings: Vec::new(),
        }
    }

    fn find(&mut self, entry: Option<u64>, rule: Rule, what: impl Into<String>) {
        self.findings.push(Finding { entry, rule, what: what.into() });
    }

    /// A finding unless `holds`.
    fn expect(&mut self, holds: bool, index: u64, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.find(Some(index), rule, what());
        }
    }

    fn judge(&mut self, index: u64, entry: Entry) {
        match entry {
            Entry::Founded(_) => self.find(Some(index), Rule::Entry, "founds the federation a second time"),
            Entry::Enrolled(e) => {
                if self.directory.insert(e.merchant.clone(), e.identity).is_some() {
                    self.find(Some(index), Rule::Entry, format!("enrols `{}` a second time", e.merchant));
                } else {
                    self.order.push(e.merchant);
                }
            }
            Entry::Revoked(r) => {
                let known = self.directory.contains_key(&r.merchant);
                self.expect(known, index, Rule::Entry, || format!("revokes `{}`, which never enrolled", r.merchant));
                self.revoked.insert(r.merchant);
            }
            Entry::Charge(signed) => self.judge_charge(index, signed),
            Entry::RoundClosed(closed) => self.judge_round(index, closed),
            Entry::RoundAbandoned(gone) => {
                self.advance(index, gone.run, gone.round);
                self.abandoned += 1;
                for at in gone.charges {
                    let fits = self.charges.get(&at).is_some_and(|c| (c.run, c.round) == (gone.run, gone.round));
                    self.expect(fits, index, Rule::Round, || {
                        format!("names entry {at} as a charge of the round; it is not")
                    });
                }
            }
        }
    }

    fn judge_charge(&mut self, index: u64, signed: SignedCharge) {
        let who = signed.charge.merchant.clone();
        match self.directory.get(&who).copied() {
            None => self.find(Some(index), Rule::Entry, format!("`{who}` charges without being enrolled")),
            Some(identity) => {
                let valid = signed.verify(&identity).is_ok();
                self.expect(valid, index, Rule::Signature, || format!("the charge is not signed by `{who}`"));
            }
        }
        let revoked = self.revoked.contains(&who);
        self.expect(!revoked, index, Rule::Entry, || format!("`{who}` charges after being revoked"));
        let (charge, plan) = (&signed.charge, self.plan.clone());
        let variance = plan.local_variance().ok();
        let wrong: Vec<&str> = [
            ("plan", charge.plan_sha256 == self.plan_sha256),
            ("unit", charge.unit == plan.privacy.unit),
            ("relation", charge.relation == plan.relation()),
            ("bounds", charge.bounds == plan.bounds),
            ("period", (charge.period_start, charge.period_end) == (plan.rounds.period_start, plan.rounds.period_end)),
            ("clip norm", charge.clip == plan.step.clip),
            ("grid", charge.units_per_clip == u64::from(plan.integers.units_per_clip)),
            ("noise multiplier", charge.noise_multiplier == plan.step.noise_multiplier),
            ("noise share", Some(charge.variance_local) == variance),
            ("survivors", charge.survivors_min == plan.rounds.survivors_min),
            ("colluders", charge.colluders_assumed == plan.rounds.colluders_assumed),
            ("sampling rate", charge.sampling_rate == plan.step.sampling_rate),
            ("dimension", charge.dimension == self.founded.dimension),
            ("δ", charge.delta == plan.privacy.delta),
            ("cap", charge.epsilon_cap == plan.privacy.epsilon_cap),
            ("event", Some(&charge.event) == self.event.as_ref()),
        ]
        .into_iter()
        .filter_map(|(name, holds)| (!holds).then_some(name))
        .collect();
        self.expect(wrong.is_empty(), index, Rule::Plan, || {
            format!("the charge of `{who}` differs from the plan in: {}", wrong.join(", "))
        });
        let twice = self
            .charges
            .values()
            .any(|c| c.merchant == who && (c.run, c.round) == (signed.charge.run, signed.charge.round));
        self.expect(!twice, index, Rule::Round, || format!("`{who}` charges one round twice"));
        let before = self.charges.values().filter(|c| c.merchant == who).count();
        let fewer = (signed.charge.charged_before as usize) < before;
        self.expect(!fewer, index, Rule::Cap, || {
            format!("`{who}` counts {} earlier charges, the log holds {before}: restored or cloned state was not recognised", signed.charge.charged_before)
        });
        self.charges.insert(index, signed.charge);
    }

    fn judge_round(&mut self, index: u64, closed: RoundClosed) {
        self.advance(index, closed.terms.run, closed.terms.round);
        self.closed += 1;
        let plan = self.plan.clone();
        let terms = &closed.terms;
        let n = closed.roster.len();
        let as_planned = terms.plan_sha256 == self.plan_sha256
            && terms.clip == plan.step.clip
            && terms.sigma_total == plan.step.noise_multiplier
            && Some(terms.variance_local) == plan.local_variance().ok()
            && terms.survivors_min == plan.rounds.survivors_min
            && terms.colluders_assumed == plan.rounds.colluders_assumed
            && terms.dimension == self.founded.dimension
            && terms.layout_sha256 == self.founded.layout_sha256;
        self.expect(as_planned, index, Rule::Plan, || "the round's terms differ from the plan".into());
        let threshold = plan.threshold(u16::try_from(n).unwrap_or(u16::MAX));
        self.expect(threshold.is_ok(), index, Rule::Plan, || {
            format!("a cohort of {n} cannot keep the plan's thresholds")
        });
        let (u1, u2) = (&closed.sharers, &closed.survivors);
        let named = |numbers: &[u8]| {
            let distinct: HashSet<u8> = numbers.iter().copied().collect();
            distinct.len() == numbers.len() && numbers.iter().all(|&k| k >= 1 && usize::from(k) <= n)
        };
        let sets_fit = named(u1) && named(u2) && u2.iter().all(|k| u1.contains(k));
        self.expect(sets_fit, index, Rule::Round, || "the survivors are not part of those that shared keys".into());
        self.expect(u2.len() >= usize::from(plan.rounds.survivors_min), index, Rule::Round, || {
            format!(
                "{} survivors, fewer than the {} that the noise is calibrated to",
                u2.len(),
                plan.rounds.survivors_min
            )
        });
        let set = |numbers: &[u8]| -> ParticipantSet {
            numbers.iter().filter_map(|number| ParticipantNumber::new(*number)).collect()
        };
        let statement = consistency_message(&closed.sid, &set(u1), &set(u2));
        let mut signed = HashSet::new();
        for (number, signature) in &closed.consistency {
            let identity = usize::from(*number)
                .checked_sub(1)
                .and_then(|k| closed.roster.get(k))
                .and_then(|m| self.directory.get(m));
            let valid = sets_fit
                && u2.contains(number)
                && identity.is_some_and(|key| key.verify(CONSISTENCY_CONTEXT, &statement, signature).is_ok());
            if valid {
                signed.insert(*number);
            }
            self.expect(valid, index, Rule::Round, || {
                format!("participant {number}'s statement about the survivors is not valid")
            });
        }
        self.expect(signed.len() >= usize::from(terms.threshold), index, Rule::Round, || {
            format!("{} survivors confirmed the same set, {} are needed", signed.len(), terms.threshold)
        });
        self.expect(closed.charges.len() == u2.len(), index, Rule::Round, || {
            format!("{} survivors but {} charges", u2.len(), closed.charges.len())
        });
        for (number, at) in u2.iter().zip(&closed.charges) {
            let merchant = usize::from(*number).checked_sub(1).and_then(|k| closed.roster.get(k));
            let fits = self.charges.get(at).is_some_and(|c| {
                Some(&c.merchant) == merchant && c.sid == closed.sid && (c.run, c.round) == (terms.run, terms.round)
            });
            self.expect(fits, index, Rule::Round, || {
                format!("entry {at} is not participant {number}'s charge for this round")
            });
        }
        let honest = f64::from(plan.rounds.survivors_min - plan.rounds.colluders_assumed);
        let expected = plan.step.noise_multiplier
            * ((u2.len() as f64 - f64::from(plan.rounds.colluders_assumed)).max(0.0) / honest).sqrt();
        let close = (closed.noise_multiplier_effective - expected).abs() <= 1e-9 * expected.max(1.0);
        self.expect(close, index, Rule::Round, || {
            format!("claims noise of {} C; {} survivors add {expected}", closed.noise_multiplier_effective, u2.len())
        });
        let (version, digest, _) = *self.models.last().expect("version 0 is founded");
        self.expect((terms.model_version, terms.model_sha256) == (version, digest), index, Rule::Model, || {
            format!("trained model {} instead of the published version {version}", terms.model_version)
        });
        self.expect(closed.model_version == version + 1, index, Rule::Model, || {
            format!("publishes version {} after {version}", closed.model_version)
        });
        self.models.push((closed.model_version, closed.model_sha256, index));
    }

    fn advance(&mut self, index: u64, run: u64, round: u64) {
        let later = self.last_round.is_none_or(|last| (run, round) > last);
        self.expect(later, index, Rule::Round, || {
            format!("round {round} of run {run} ends a second time or out of order")
        });
        self.last_round = self.last_round.max(Some((run, round)));
    }

    fn judge_checkpoint(&mut self, note: &str, key: &VerifyingKey, tree: &MerkleTree) {
        if *key != self.founded.server_key {
            self.find(Some(0), Rule::Log, "the federation was founded with another key than the one given");
        }
        let signed = match SignedCheckpoint::parse(note) {
            Ok(signed) => signed,
            Err(e) => return self.find(None, Rule::Log, format!("the checkpoint is not readable: {e}")),
        };
        match signed.verify(&self.founded.federation, key) {
            Err(e) => self.find(None, Rule::Log, format!("the checkpoint is not signed by the federation: {e}")),
            Ok(checkpoint) if checkpoint.origin != self.founded.federation => {
                self.find(None, Rule::Log, format!("the checkpoint is of `{}`", checkpoint.origin));
            }
            Ok(checkpoint) if checkpoint.size != tree.size() => self.find(
                None,
                Rule::Log,
                format!("the checkpoint covers {} entries, {} are given", checkpoint.size, tree.size()),
            ),
            Ok(checkpoint) if checkpoint.root != tree.root() => {
                self.find(
                    None,
                    Rule::Log,
                    "the entries do not give the root in the checkpoint: at least one was altered",
                );
            }
            Ok(_) => {}
        }
    }

    fn judge_models(&mut self, files: &HashMap<u64, Sha256Digest>) {
        for (version, digest, index) in self.models.clone() {
            if let Some(file) = files.get(&version) {
                self.expect(*file == digest, index, Rule::Model, || {
                    format!("the file of model {version} is not the one published")
                });
            }
        }
        for version in files.keys() {
            if !self.models.iter().any(|(v, _, _)| v == version) {
                self.find(None, Rule::Model, format!("model {version} was never published"));
            }
        }
    }

    fn verdict(mut self, entries: u64, root: Sha256Digest) -> Verdict {
        let mut merchants = Vec::new();
        let mut rows_of: HashMap<u32, Option<EpsilonRows>> = HashMap::new();
        for merchant in std::mem::take(&mut self.order) {
            let own: Vec<(u64, &Charge)> =
                self.charges.iter().filter(|(_, c)| c.merchant == merchant).map(|(k, c)| (*k, c)).collect();
            let charges = u32::try_from(own.len()).unwrap_or(u32::MAX);
            let last = own.iter().map(|(k, _)| *k).max();
            let spent = filter::spent(own.iter().map(|(_, c)| &c.event), self.plan.privacy.delta);
            match spent {
                Ok(spent) if spent > self.plan.privacy.epsilon_cap => self.find(
                    last,
                    Rule::Cap,
                    format!("`{merchant}` spent ε = {spent:.4}, the cap is {}", self.plan.privacy.epsilon_cap),
                ),
                Ok(_) => {}
                Err(e) => self.find(last, Rule::Cap, format!("the spending of `{merchant}` cannot be computed: {e}")),
            }
            if charges > self.plan.rounds.count {
                self.find(
                    last,
                    Rule::Cap,
                    format!("`{merchant}` charged {charges} rounds, {} are planned", self.plan.rounds.count),
                );
            }
            let epsilon = if charges == 0 {
                None
            } else {
                *rows_of.entry(charges).or_insert_with(|| self.plan.epsilon_rows(self.founded.dimension, charges).ok())
            };
            if charges > 0 && epsilon.is_none() {
                self.find(last, Rule::Cap, format!("the three rows of ε of `{merchant}` cannot be computed"));
            }
            merchants.push(MerchantSpending { merchant, charges, epsilon });
        }
        Verdict {
            federation: self.founded.federation.clone(),
            entries,
            root,
            unit: self.plan.privacy.unit,
            delta: self.plan.privacy.delta,
            epsilon_cap: self.plan.privacy.epsilon_cap,
            dimension: self.founded.dimension,
            rounds_closed: self.closed,
            rounds_abandoned: self.abandoned,
            model_version: self.models.last().map_or(0, |m| m.0),
            merchants,
            findings: self.findings,
        }
    }
}
