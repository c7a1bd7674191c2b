//! Rules about the record itself.

use super::forge::{Forge, NAME, assert_only, identity, model, shop};
use crate::{
    identity::{Signature, sha256},
    ledger::{
        audit::{Rule, audit},
        checkpoint::Checkpoint,
        entry::{Enrolled, Entry, Revoked},
        merkle::MerkleTree,
    },
    secagg::threshold::ValidThreshold,
};

#[test]
fn another_federation_key() {
    let mut forge = Forge::honest();
    // The auditor trusts, and the checkpoint is signed by, a key that did not found the federation.
    forge.signer = identity(99);
    forge.trusted = identity(99).verifying_key();
    assert_only(&forge, Rule::FederationKey, Some(0));
}

#[test]
fn a_checkpoint_that_the_federation_did_not_sign() {
    let mut forge = Forge::honest();
    forge.signer = identity(99);
    assert_only(&forge, Rule::Checkpoint, None);
}

#[test]
fn a_checkpoint_of_another_log_under_the_same_key() {
    let forge = Forge::honest();
    let leaves = forge.leaves();
    let mut tree = MerkleTree::new();
    leaves.iter().for_each(|leaf| _ = tree.append(leaf));
    let note = Checkpoint::of("elsewhere.example", &tree).sign(NAME, &forge.signer).unwrap().to_string();
    let verdict = audit(&leaves, &note, &forge.trusted, &forge.files).unwrap();
    assert_eq!(verdict.findings.iter().map(|f| f.rule).collect::<Vec<_>>(), [Rule::Checkpoint]);
}

#[test]
fn entries_that_the_checkpoint_does_not_commit_to() {
    let forge = Forge::honest();
    let leaves = forge.leaves();
    for other in [&leaves[..20], &[&leaves[..20], &leaves[19..20]].concat()] {
        let note = forge.checkpoint_over(other);
        let verdict = audit(&leaves, &note, &forge.trusted, &forge.files).unwrap();
        assert_eq!(verdict.findings.iter().map(|f| (f.entry, f.rule)).collect::<Vec<_>>(), [(None, Rule::Tree)]);
    }
}

#[test]
fn a_flipped_bit_is_found_and_placed() {
    let forge = Forge::honest();
    let note = forge.checkpoint_over(&forge.leaves());
    let index = forge.charge_index(1, 2);
    let mut leaves = forge.leaves();
    // 4001 becomes 4000: still readable, still canonical.
    let text = String::from_utf8(leaves[index].clone()).unwrap();
    let digit = text.find("\"at-ms\":4001").unwrap() + "\"at-ms\":400".len();
    leaves[index][digit] ^= 1;
    let verdict = audit(&leaves, &note, &forge.trusted, &forge.files).unwrap();
    let found: Vec<_> = verdict.findings.iter().map(|f| (f.rule, f.entry)).collect();
    assert_eq!(found, [(Rule::Tree, None), (Rule::ChargeSignature, Some(index as u64))]);
}

#[test]
fn an_entry_that_is_not_canonical() {
    let forge = Forge::honest();
    let mut leaves = forge.leaves();
    leaves[20].push(b' ');
    let findings = forge.audit_leaves(&leaves).unwrap().findings;
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.rule, finding.entry), (Rule::EntryForm, Some(20)));
}

#[test]
fn a_second_founding() {
    let mut forge = Forge::honest();
    forge.entries.push(forge.entries[0].clone());
    assert_only(&forge, Rule::EntryForm, Some(22));
}

#[test]
fn a_second_enrolment() {
    let mut forge = Forge::honest();
    let again = Enrolled { merchant: shop(1), identity: identity(1).verifying_key(), at_ms: 10_000 };
    forge.entries.push(Entry::Enrolled(again));
    assert_only(&forge, Rule::Enrolment, Some(22));
}

#[test]
fn a_revocation_of_a_stranger() {
    let mut forge = Forge::honest();
    forge.entries.push(Entry::Revoked(Revoked { merchant: shop(9), at_ms: 10_000 }));
    assert_only(&forge, Rule::Enrolment, Some(22));
}

#[test]
fn a_charge_by_a_stranger_or_after_a_revocation() {
    let mut forge = Forge::honest();
    let last = forge.entries.len() - 1;
    forge.charge(4, 3).merchant = shop(9);
    forge.seal();
    assert_only(&forge, Rule::Enrolment, Some(last));

    let mut forge = Forge::honest();
    forge.entries.insert(last, Entry::Revoked(Revoked { merchant: shop(3), at_ms: 10_000 }));
    assert_only(&forge, Rule::Enrolment, Some(last + 1));
}

#[test]
fn a_charge_that_its_merchant_did_not_sign() {
    let mut forge = Forge::honest();
    let index = forge.charge_index(1, 2);
    let Entry::Charge(signed) = &mut forge.entries[index] else { panic!() };
    signed.signature = Signature([7; 64]);
    forge.leave_unsealed(index);
    forge.seal();
    assert_only(&forge, Rule::ChargeSignature, Some(index));
}

#[test]
fn another_plan_in_a_charge_or_a_round() {
    let mut forge = Forge::honest();
    forge.charge(1, 2).plan_sha256 = sha256(b"another plan");
    forge.seal();
    assert_only(&forge, Rule::PlanDigest, Some(forge.charge_index(1, 2)));

    let mut forge = Forge::honest();
    forge.closed(2).terms.plan_sha256 = sha256(b"another plan");
    forge.seal();
    assert_only(&forge, Rule::PlanDigest, Some(forge.closed_index(2)));
}

#[test]
fn an_offer_on_another_history() {
    let mut forge = Forge::honest();
    let index = forge.closed_index(2);
    forge.closed(2).terms.ledger_root = sha256(b"the history that merchants saw");
    forge.leave_unsealed(index);
    forge.seal();
    assert_only(&forge, Rule::OfferedHead, Some(index));
}

#[test]
fn an_offer_on_a_history_longer_than_itself() {
    let mut forge = Forge::honest();
    let index = forge.closed_index(1);
    forge.closed(1).terms.ledger_size = 22;
    forge.leave_unsealed(index);
    forge.seal();
    assert_only(&forge, Rule::OfferedHead, Some(index));
}

#[test]
fn a_threshold_that_two_survivor_sets_could_meet() {
    assert!(ValidThreshold::new(4, 4, 2, 1).is_err());
    let mut forge = Forge::honest();
    forge.closed(1).terms.threshold = 2;
    forge.seal();
    assert_only(&forge, Rule::Threshold, Some(forge.closed_index(1)));
}

#[test]
fn too_few_or_invalid_statements_about_the_survivors() {
    let mut forge = Forge::honest();
    forge.closed(2).consistency.truncate(3);
    forge.seal();
    assert_only(&forge, Rule::Consistency, Some(forge.closed_index(2)));

    let mut forge = Forge::honest();
    let index = forge.closed_index(2);
    forge.closed(2).consistency[1].1 = Signature([7; 64]);
    forge.leave_unsealed(index);
    forge.seal();
    assert_only(&forge, Rule::Consistency, Some(index));
}

#[test]
fn a_statement_repeated_does_not_count_twice() {
    let mut forge = Forge::honest();
    let closed = forge.closed(2);
    closed.consistency[3] = closed.consistency[0];
    forge.seal();
    assert_only(&forge, Rule::Consistency, Some(forge.closed_index(2)));
}

#[test]
fn a_model_that_does_not_follow() {
    let mut forge = Forge::honest();
    forge.closed(2).terms.model_sha256 = sha256(b"a model of the server's own");
    forge.seal();
    assert_only(&forge, Rule::ModelLineage, Some(forge.closed_index(2)));

    let mut forge = Forge::honest();
    forge.closed(2).model_version = 3;
    forge.files.remove(&2);
    forge.seal();
    assert_only(&forge, Rule::ModelLineage, Some(forge.closed_index(2)));
}

#[test]
fn a_model_file_that_was_not_published() {
    let mut forge = Forge::honest();
    forge.files.insert(1, sha256(b"another file"));
    assert_only(&forge, Rule::ModelFile, Some(forge.closed_index(1)));

    let mut forge = Forge::honest();
    forge.files.insert(7, model(7));
    assert_only(&forge, Rule::ModelFile, None);
}
