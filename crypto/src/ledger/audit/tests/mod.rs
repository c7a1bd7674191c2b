//! Each rule against a log that violates it and nothing else, sealed again by a forger who holds every key.

mod forge;
mod integrity;
mod order;
mod privacy;

use forge::Forge;

use super::{AuditError, RoundOutcome, Rule};

#[test]
fn an_honest_log_has_no_findings() {
    let verdict = Forge::honest().audit().unwrap();
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.rounds_closed, verdict.rounds_abandoned, verdict.model_version), (2, 1, 2));
    assert_eq!((verdict.entries, verdict.models_compared, verdict.gravest()), (22, 3, None));
    let of_rounds: Vec<u32> = verdict.rounds.iter().map(|round| round.charges).collect();
    assert_eq!(of_rounds, [4, 5, 3]);
    let RoundOutcome::Published { cohort, survivors, noise_multiplier, .. } = verdict.rounds[1].outcome else {
        panic!("{:?}", verdict.rounds[1])
    };
    assert_eq!((cohort, survivors, noise_multiplier), (5, 4, 12.0));
}

#[test]
fn what_was_spent_is_counted_from_the_merchants_own_count_where_that_is_larger() {
    let verdict = Forge::honest().audit().unwrap();
    let of = |k: usize| verdict.merchants.iter().find(|m| m.merchant == forge::shop(k)).unwrap();
    assert_eq!((of(1).charges, of(1).charges_counted, of(1).rounds_in_sum), (3, 3, 2));
    // shop-5 charged rounds 2 and 3 in the log, and counts four: two of its charges never arrived.
    assert_eq!((of(5).charges, of(5).charges_counted, of(5).rounds_in_sum), (2, 4, 0));
    let expected = forge::plan().epsilon_rows(forge::DIMENSION, 4).unwrap();
    assert_eq!(of(5).epsilon, Some(expected));
    assert_eq!(of(3).charged_at_ms, Some((4_001, 4_004)));
    assert_eq!(of(1).software.iter().collect::<Vec<_>>(), ["forecastle test"]);
}

#[test]
fn one_flaw_does_not_hide_another() {
    let mut forge = Forge::honest();
    forge.charge(1, 1).bounds.units = 41.0;
    forge.closed(2).noise_multiplier_effective = 7.0;
    forge.seal();
    let rules: Vec<Rule> = forge.findings().iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [Rule::ContributionBounds, Rule::EffectiveNoise]);
}

#[test]
fn what_cannot_be_judged_is_refused_by_name() {
    let forge = Forge::honest();
    assert!(matches!(forge.audit_leaves(&[]), Err(AuditError::Empty)));
    let leaves = forge.leaves();
    assert!(matches!(forge.audit_leaves(&leaves[1..]), Err(AuditError::NotFounded(_))));
    let altered = |from: &str, to: &str| {
        let mut leaves = forge.leaves();
        let text = String::from_utf8(leaves[0].clone()).unwrap();
        assert!(text.contains(from));
        leaves[0] = text.replacen(from, to, 1).into_bytes();
        forge.audit_leaves(&leaves).unwrap_err().to_string()
    };
    assert!(altered("\"version\":1", "\"version\":2").contains("version 2"));
    assert!(altered("sampling-rate = 1.0", "sampling-rate = 1.25").contains("step.sampling-rate"));
    assert!(altered("delta = 1e-6", "delta = 1.0").contains("privacy.delta"));
    assert!(altered("noise-multiplier = 12.0", "noise-multiplier = inf").contains("step.noise-multiplier"));
}

#[test]
fn an_entry_of_an_unknown_kind_is_refused_where_the_checkpoint_vouches_for_it() {
    let forge = Forge::honest();
    let mut leaves = forge.leaves();
    let note = forge.checkpoint_over(&leaves);
    leaves[20] = br#"{"entry":"charge-v2","charge":{}}"#.to_vec();
    let Err(AuditError::UnknownEntry { index, kind }) = forge.audit_leaves(&leaves) else { panic!() };
    assert_eq!((index, kind.as_str()), (20, "charge-v2"));
    // Under the old checkpoint it is an alteration, and the rest of the log is still judged.
    let verdict = super::audit(&leaves, &note, &forge.trusted, &forge.files).unwrap();
    let rules: Vec<Rule> = verdict.findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [Rule::Tree, Rule::EntryForm]);
}
