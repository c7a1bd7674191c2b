//! Judges a federation's log from its bytes alone.
//!
//! Nothing is believed but the signatures: ε is recomputed from the events, every round is held against the
//! plan in entry 0, every model against the entry that published it. What does not fit becomes a [`Finding`]
//! that names the entry and the rule; the audit goes on to the end, so that one flaw does not hide another.
//!
//! One file for each group of rules: the log as a whole (`history`), who may act (`members`), what merchants charge
//! (`charges`), what rounds did (`rounds`), which models followed (`models`), what it cost (`spending`).
//!
//! Left out on purpose: reading files (the auditor's binary does that), words for regulators, and clocks: the times in
//! a log are what machines said, and no rule relies on them.

mod charges;
mod history;
mod members;
mod models;
mod rounds;
mod rule;
mod spending;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, HashMap, HashSet};

pub use rule::{Class, Finding, Rule};
pub use spending::accountants_agree;
pub use verdict::{MerchantSpending, RoundOutcome, RoundRecord, Verdict};

use self::members::Member;
use super::{
    entry::{Charge, Entry, EntryError, Founded},
    merkle::MerkleTree,
};
use crate::{
    dp::plan::PrivacyPlan,
    identity::{MerchantId, Sha256Digest, VerifyingKey},
};

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
    /// An entry of a kind that this auditor does not know, though the checkpoint vouches for it.
    #[error(
        "entry {index} is of kind `{kind}`, which this auditor does not know, so nothing can be said of the log: use a newer one"
    )]
    UnknownEntry {
        /// Which entry.
        index: u64,
        /// What it calls itself.
        kind: String,
    },
}

/// Judges `leaves` (exact bytes, in order) under a signed checkpoint.
///
/// `server_key` is the key the auditor trusts for this federation; `models` maps versions to digests of the
/// files at hand (missing ones are not judged).
///
/// # Errors
/// [`AuditError`] where not even the founding entry can be read, or an entry is of an unknown kind.
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
    let mut tree = MerkleTree::new();
    for leaf in leaves {
        tree.append(leaf);
    }
    let mut auditor = Auditor::new(founded, plan, *server_key, tree);
    auditor.judge_checkpoint(checkpoint);
    let vouched_for = auditor.findings.is_empty();
    for (index, leaf) in (1u64..).zip(&leaves[1..]) {
        match Entry::from_bytes(leaf) {
            Ok(entry) => auditor.judge(index, entry),
            // An altered entry may read like one of the future; only where the checkpoint holds is it the auditor that
            // is too old.
            Err(EntryError::UnknownKind(kind)) if vouched_for => return Err(AuditError::UnknownEntry { index, kind }),
            Err(why) => auditor.find(Some(index), Rule::EntryForm, why.to_string()),
        }
    }
    auditor.judge_offered_heads();
    auditor.judge_unended_charges();
    auditor.judge_models(models);
    Ok(auditor.verdict())
}

/// The state of an audit: what the entries so far established.
struct Auditor {
    founded: Founded,
    server_key: VerifyingKey,
    tree: MerkleTree,
    plan: PrivacyPlan,
    plan_sha256: Sha256Digest,
    members: HashMap<MerchantId, Member>,
    /// Merchants in the order of enrolment.
    order: Vec<MerchantId>,
    /// By entry.
    charges: BTreeMap<u64, Charge>,
    charged: HashMap<MerchantId, u32>,
    /// Entries and merchants of the charges of a (run, round).
    charges_of_round: HashMap<(u64, u64), Vec<(u64, MerchantId)>>,
    masked_digests: HashMap<Sha256Digest, u64>,
    rounds: Vec<RoundRecord>,
    /// (run, round) of every round that ended.
    ended: HashSet<(u64, u64)>,
    last_round: Option<(u64, u64)>,
    offers: HashMap<Sha256Digest, u64>,
    /// (entry, size, root): the history on which a round was offered.
    heads: Vec<(u64, u64, Sha256Digest)>,
    /// Published sums that hold a merchant's update.
    in_sums: HashMap<MerchantId, u32>,
    /// (version, digest, entry).
    models: Vec<(u64, Sha256Digest, u64)>,
    models_compared: u32,
    findings: Vec<Finding>,
}

impl Auditor {
    fn new(founded: Founded, plan: PrivacyPlan, server_key: VerifyingKey, tree: MerkleTree) -> Self {
        Self {
            plan_sha256: PrivacyPlan::digest_of(founded.plan.as_bytes()),
            models: vec![(0, founded.model_sha256, 0)],
            founded,
            server_key,
            tree,
            plan,
            members: HashMap::new(),
            order: Vec::new(),
            charges: BTreeMap::new(),
            charged: HashMap::new(),
            charges_of_round: HashMap::new(),
            masked_digests: HashMap::new(),
            rounds: Vec::new(),
            ended: HashSet::new(),
            last_round: None,
            offers: HashMap::new(),
            heads: Vec::new(),
            in_sums: HashMap::new(),
            models_compared: 0,
            findings: Vec::new(),
        }
    }

    fn find(&mut self, entry: Option<u64>, rule: Rule, what: impl Into<String>) {
        self.findings.push(Finding::new(entry, rule, what));
    }

    /// A finding unless `holds`.
    fn expect(&mut self, holds: bool, index: u64, rule: Rule, what: impl FnOnce() -> String) {
        if !holds {
            self.find(Some(index), rule, what());
        }
    }

    /// One finding for each rule of which some field differs from the plan, naming the fields.
    fn expect_as_planned(&mut self, index: u64, whose: &str, fields: &[(Rule, &str, bool)]) {
        let mut differing: Vec<(Rule, Vec<&str>)> = Vec::new();
        for (rule, field, _) in fields.iter().filter(|(_, _, holds)| !holds) {
            match differing.iter_mut().find(|(known, _)| known == rule) {
                Some((_, names)) => names.push(field),
                None => differing.push((*rule, vec![field])),
            }
        }
        for (rule, names) in differing {
            self.find(Some(index), rule, format!("{whose} differs from the plan in: {}", names.join(", ")));
        }
    }

    fn judge(&mut self, index: u64, entry: Entry) {
        match entry {
            Entry::Founded(_) => self.find(Some(index), Rule::EntryForm, "founds the federation a second time"),
            Entry::Enrolled(enrolled) => self.judge_enrolment(index, enrolled),
            Entry::Revoked(revoked) => self.judge_revocation(index, &revoked),
            Entry::Charge(signed) => self.judge_charge(index, signed),
            Entry::RoundClosed(closed) => self.judge_round(index, &closed),
            Entry::RoundAbandoned(gone) => self.judge_abandoned(index, gone),
        }
    }

    fn verdict(mut self) -> Verdict {
        let merchants = self.judge_spending();
        let published = |round: &&RoundRecord| matches!(round.outcome, RoundOutcome::Published { .. });
        let closed = self.rounds.iter().filter(published).count();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        for round in &mut self.rounds {
            round.charges = self.charges_of_round.get(&(round.run, round.round)).map_or(0, |own| count(own.len()));
        }
        Verdict {
            federation: self.founded.federation,
            server_key: self.server_key,
            founded_at_ms: self.founded.at_ms,
            entries: self.tree.size(),
            root: self.tree.root(),
            unit: self.plan.privacy.unit,
            delta: self.plan.privacy.delta,
            epsilon_cap: self.plan.privacy.epsilon_cap,
            dimension: self.founded.dimension,
            rounds_closed: count(closed),
            rounds_abandoned: count(self.rounds.len() - closed),
            model_version: self.models.last().map_or(0, |m| m.0),
            models_compared: self.models_compared,
            plan_sha256: self.plan_sha256,
            plan: self.plan,
            merchants,
            rounds: self.rounds,
            findings: self.findings,
        }
    }
}
