//! An honest log of four merchants and three rounds, and whatever a forger makes of it.
//!
//! A forger who holds every key is the strongest: after a change, everything that follows from it (signatures,
//! statements, heads, the checkpoint) is made anew, so that only the forged thing itself can give it away.

use std::collections::HashMap;

use crate::{
    dp::{noise::Variance, plan::PrivacyPlan},
    identity::{MerchantId, Sha256Digest, Signature, SigningKey, VerifyingKey, sha256},
    ledger::{
        audit::{AuditError, Finding, Rule, Verdict, audit},
        checkpoint::Checkpoint,
        entry::{Charge, Enrolled, Entry, Founded, NoiseMode, RoundAbandoned, RoundClosed, Sampler, SignedCharge},
        merkle::MerkleTree,
    },
    secagg::{
        ParticipantNumber, ParticipantSet, RoundTerms,
        messages::{CONSISTENCY_CONTEXT, consistency_message},
    },
};

pub const NAME: &str = "market.example";
pub const DIMENSION: u32 = 100;
/// Merchants of the federation: `shop-1` to `shop-5`, of whom the first four make up each cohort but the second.
pub const MERCHANTS: usize = 5;

/// Every series takes part in every round, so that ε has a closed form and a hundred audits take no time.
pub const PLAN: &str = r#"
version = 1
name = "audited"
[privacy]
unit = "customer"
delta = 1e-6
epsilon-cap = 8.0
[bounds]
order-lines = 8
series = 2
units = 40.0
[step]
clip = 0.1
noise-multiplier = 12.0
sampling-rate = 1.0
windows-per-series = 4
assumed-series = 1000
series-per-merchant-max = 200
[rounds]
count = 8
cohort-max = 5
survivors-min = 4
colluders-assumed = 1
period-start = "2024-01-01"
period-end = "2025-06-30"
submit-after-ms = 0
phase-deadline-ms = 60000
[integers]
units-per-clip = 4096
bits = 30
[optimizer]
rule = "fedadam"
learning-rate = 0.01
beta1 = 0.9
beta2 = 0.99
epsilon = 1e-8
cosine = true
averaging = 0.9
"#;

pub fn plan() -> PrivacyPlan {
    PrivacyPlan::parse(PLAN.as_bytes()).unwrap()
}

pub fn federation() -> SigningKey {
    SigningKey::danger_from_seed(&[200; 32]).unwrap()
}

/// The identity of `shop-k`.
pub fn identity(k: usize) -> SigningKey {
    SigningKey::danger_from_seed(&[u8::try_from(k).unwrap(); 32]).unwrap()
}

pub fn shop(k: usize) -> MerchantId {
    format!("shop-{k}").parse().unwrap()
}

fn key_of(merchant: &MerchantId) -> Option<SigningKey> {
    let k: usize = merchant.as_str().strip_prefix("shop-")?.parse().ok()?;
    Some(identity(k))
}

fn offer_of(round: u64) -> Sha256Digest {
    sha256(format!("offer {round}").as_bytes())
}

pub fn model(version: u64) -> Sha256Digest {
    sha256(format!("model {version}").as_bytes())
}

/// A log that can be changed and sealed again.
pub struct Forge {
    pub entries: Vec<Entry>,
    /// The checkpoint's signer.
    pub signer: SigningKey,
    /// Whom the auditor trusts.
    pub trusted: VerifyingKey,
    pub files: HashMap<u64, Sha256Digest>,
    /// Entries whose signatures stay as they are.
    unsealed: Vec<usize>,
}

impl Forge {
    /// Round 1 published with shops 1–4; round 2 published with all five, one of whom dropped out after charging; round
    /// 3 abandoned with two charges; a charge of round 4, which is still running.
    pub fn honest() -> Self {
        let mut entries = vec![Entry::Founded(Founded {
            version: 1,
            federation: NAME.into(),
            server_key: federation().verifying_key(),
            plan: PLAN.into(),
            model_sha256: model(0),
            layout_sha256: sha256(b"layout"),
            dimension: DIMENSION,
            at_ms: 1_000,
        })];
        for k in 1..=MERCHANTS {
            let identity = identity(k).verifying_key();
            entries.push(Entry::Enrolled(Enrolled { merchant: shop(k), identity, at_ms: 2_000 }));
        }
        let mut forge = Self {
            entries,
            signer: federation(),
            trusted: federation().verifying_key(),
            files: (0..=2).map(|version| (version, model(version))).collect(),
            unsealed: Vec::new(),
        };
        let first = forge.charge_round(1, &[1, 2, 3, 4], 0);
        forge.close(1, &[1, 2, 3, 4], &[1, 2, 3, 4], first);
        let mut second = forge.charge_round(2, &[1, 2, 3, 4], 1);
        forge.charge_round(2, &[5], 0);
        second.truncate(4);
        forge.close(2, &[1, 2, 3, 4, 5], &[1, 2, 3, 4], second);
        let mut third = forge.charge_round(3, &[1, 2], 2);
        // Its own count is ahead of the log's: something left that never arrived.
        third.extend(forge.charge_round(3, &[5], 3));
        forge.entries.push(Entry::RoundAbandoned(RoundAbandoned {
            run: 1,
            round: 3,
            reason: "too few masked updates".into(),
            charges: third,
            at_ms: 9_000,
        }));
        forge.charge_round(4, &[3], 2);
        forge.seal();
        forge
    }

    fn charge_round(&mut self, round: u64, shops: &[usize], before: u32) -> Vec<u64> {
        shops
            .iter()
            .map(|k| {
                let charge = charge(round, *k, before);
                self.entries.push(Entry::Charge(SignedCharge::sign(charge, &identity(*k))));
                self.entries.len() as u64 - 1
            })
            .collect()
    }

    fn close(&mut self, round: u64, roster: &[usize], survivors: &[u8], charges: Vec<u64>) {
        let plan = plan();
        self.entries.push(Entry::RoundClosed(RoundClosed {
            terms: RoundTerms {
                federation: NAME.into(),
                run: 1,
                round,
                model_version: round - 1,
                model_sha256: model(round - 1),
                layout_sha256: sha256(b"layout"),
                dimension: DIMENSION,
                bits: plan.integers.bits,
                units_per_clip: u64::from(plan.integers.units_per_clip),
                clip: plan.step.clip,
                sigma_total: plan.step.noise_multiplier,
                variance_local: plan.local_variance().unwrap(),
                survivors_min: plan.rounds.survivors_min,
                threshold: 4,
                neighbours: None,
                colluders_assumed: plan.rounds.colluders_assumed,
                plan_sha256: PrivacyPlan::digest_of(PLAN.as_bytes()),
                deadline_ms: 60_000,
                ledger_size: 6,
                ledger_root: sha256(b"set when sealed"),
            },
            sid: offer_of(round),
            roster: roster.iter().map(|k| shop(*k)).collect(),
            sharers: (1..=u8::try_from(roster.len()).unwrap()).collect(),
            survivors: survivors.to_vec(),
            consistency: survivors.iter().map(|k| (*k, Signature([0; 64]))).collect(),
            charges,
            noise_multiplier_effective: plan.step.noise_multiplier,
            model_version: round,
            model_sha256: model(round),
            at_ms: 5_000 + round,
        }));
    }

    /// Signs charges and statements anew, names the true heads, all but in entries that were left unsealed.
    pub fn seal(&mut self) {
        let mut tree = MerkleTree::new();
        let unsealed = &self.unsealed;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            match entry {
                _ if unsealed.contains(&index) => {}
                Entry::Charge(signed) => {
                    if let Some(key) = key_of(&signed.charge.merchant) {
                        *signed = SignedCharge::sign(signed.charge.clone(), &key);
                    }
                }
                Entry::RoundClosed(closed) => {
                    closed.terms.ledger_root = tree.root_at(closed.terms.ledger_size).unwrap();
                    confirm(closed);
                }
                _ => {}
            }
            tree.append(&entry.to_bytes());
        }
    }

    /// The one charge of `round` by `shop-k`.
    pub fn charge(&mut self, round: u64, k: usize) -> &mut Charge {
        let index = self.charge_index(round, k);
        match &mut self.entries[index] {
            Entry::Charge(signed) => &mut signed.charge,
            other => panic!("{other:?}"),
        }
    }

    pub fn charge_index(&self, round: u64, k: usize) -> usize {
        let is = |entry: &Entry| matches!(entry, Entry::Charge(s) if s.charge.round == round && s.charge.merchant == shop(k));
        self.entries.iter().position(is).unwrap()
    }

    pub fn closed(&mut self, round: u64) -> &mut RoundClosed {
        let index = self.closed_index(round);
        match &mut self.entries[index] {
            Entry::RoundClosed(closed) => closed,
            other => panic!("{other:?}"),
        }
    }

    pub fn closed_index(&self, round: u64) -> usize {
        let is = |entry: &Entry| matches!(entry, Entry::RoundClosed(closed) if closed.terms.round == round);
        self.entries.iter().position(is).unwrap()
    }

    pub fn abandoned(&mut self) -> &mut RoundAbandoned {
        let gone = |entry: &mut Entry| matches!(entry, Entry::RoundAbandoned(_));
        let index = self.entries.iter_mut().position(gone).unwrap();
        match &mut self.entries[index] {
            Entry::RoundAbandoned(gone) => gone,
            other => panic!("{other:?}"),
        }
    }

    /// Leaves the signatures and heads in entry `index` as they are from now on.
    pub fn leave_unsealed(&mut self, index: usize) {
        self.unsealed.push(index);
    }

    pub fn leaves(&self) -> Vec<Vec<u8>> {
        self.entries.iter().map(Entry::to_bytes).collect()
    }

    /// Judges the entries under a checkpoint over them.
    pub fn audit(&self) -> Result<Verdict, AuditError> {
        self.audit_leaves(&self.leaves())
    }

    /// Judges `leaves` under a checkpoint over them.
    pub fn audit_leaves(&self, leaves: &[Vec<u8>]) -> Result<Verdict, AuditError> {
        audit(leaves, &self.checkpoint_over(leaves), &self.trusted, &self.files)
    }

    pub fn checkpoint_over(&self, leaves: &[Vec<u8>]) -> String {
        let mut tree = MerkleTree::new();
        for leaf in leaves {
            tree.append(leaf);
        }
        Checkpoint::of(NAME, &tree).sign(NAME, &self.signer).unwrap().to_string()
    }

    pub fn findings(&self) -> Vec<Finding> {
        self.audit().unwrap().findings
    }
}

pub fn charge(round: u64, k: usize, before: u32) -> Charge {
    let plan = plan();
    let sigma = plan.effective_noise_multiplier(DIMENSION).unwrap();
    Charge {
        merchant: shop(k),
        run: 1,
        round,
        sid: offer_of(round),
        plan_sha256: PrivacyPlan::digest_of(PLAN.as_bytes()),
        unit: plan.privacy.unit,
        relation: plan.relation(),
        bounds: plan.bounds,
        period_start: plan.rounds.period_start,
        period_end: plan.rounds.period_end,
        noise: NoiseMode::Distributed,
        event: plan.step_event(sigma).unwrap(),
        clip: plan.step.clip,
        units_per_clip: u64::from(plan.integers.units_per_clip),
        noise_multiplier: plan.step.noise_multiplier,
        variance_local: plan.local_variance().unwrap(),
        survivors_min: plan.rounds.survivors_min,
        colluders_assumed: plan.rounds.colluders_assumed,
        sampling_rate: plan.step.sampling_rate,
        sampler: Sampler::Poisson,
        dimension: DIMENSION,
        delta: plan.privacy.delta,
        epsilon_cap: plan.privacy.epsilon_cap,
        charged_before: before,
        noise_source: "forecastle-exact-discrete-gaussian".into(),
        software: "forecastle test".into(),
        masked_sha256: sha256(format!("masked by {k} in {round}").as_bytes()),
        at_ms: 4_000 + round,
    }
}

/// The event that the charge's numbers give, as a forger who covers his tracks would record it.
pub fn record_event(charge: &mut Charge) {
    let mut plan = plan();
    plan.privacy.unit = charge.unit;
    plan.bounds = charge.bounds;
    plan.step.noise_multiplier = charge.noise_multiplier;
    plan.step.sampling_rate = charge.sampling_rate;
    plan.integers.units_per_clip = u32::try_from(charge.units_per_clip).unwrap();
    charge.event = plan.step_event(plan.effective_noise_multiplier(charge.dimension).unwrap()).unwrap();
}

/// Less noise by half than `variance`.
pub fn halved(variance: Variance) -> Variance {
    Variance::new(variance.numerator() / 2, variance.denominator()).unwrap()
}

fn confirm(closed: &mut RoundClosed) {
    let set = |numbers: &[u8]| -> ParticipantSet {
        numbers.iter().filter_map(|n| ParticipantNumber::new((*n).into())).collect()
    };
    let statement = consistency_message(&closed.sid, &set(&closed.sharers), &set(&closed.survivors));
    for (number, signature) in &mut closed.consistency {
        let merchant = usize::from(*number).checked_sub(1).and_then(|k| closed.roster.get(k));
        if let Some(key) = merchant.and_then(key_of) {
            *signature = key.sign(CONSISTENCY_CONTEXT, &statement);
        }
    }
}

/// Asserts that the forged log shows exactly one violation, of `rule`, by `entry`.
pub fn assert_only(forge: &Forge, rule: Rule, entry: Option<usize>) {
    let findings = forge.findings();
    let [finding] = &findings[..] else { panic!("{rule}: {findings:#?}") };
    assert_eq!((finding.rule, finding.entry), (rule, entry.map(|index| index as u64)), "{findings:#?}");
    assert_eq!(finding.class, rule.class());
}
