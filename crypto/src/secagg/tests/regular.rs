//! Rounds on a k-regular graph.

use super::*;
use crate::secagg::error::ParticipantError as E;
use crate::secagg::messages::SecretKind;

/// Terms of a round of n on the graph that is proposed for them, over a few coordinates.
fn regular(n: u16, survivors_min: u16, colluders: u16) -> (RoundTerms, ValidThreshold) {
    let threshold = ValidThreshold::propose_regular(n, survivors_min, colluders).expect("a graph");
    let terms = terms(survivors_min, threshold.threshold(), colluders, 17, 24);
    (RoundTerms { neighbours: threshold.neighbours(), ..terms }, threshold)
}

/// Everybody but every `step`-th, from `first` on.
fn all_but(n: u16, first: usize, step: usize) -> ParticipantSet {
    let out: ParticipantSet =
        (first..usize::from(n)).step_by(step).filter_map(ParticipantNumber::from_position).collect();
    ParticipantSet::first(usize::from(n)).difference(&out)
}

#[test]
fn three_hundred_participants_lose_some_at_every_stage() {
    let n = 300;
    let (terms, threshold) = regular(n, 270, 10);
    assert_eq!((threshold.neighbours(), threshold.assurance()), (Some(42), Assurance::ActiveServer));
    let u1 = all_but(n, 3, 30);
    let u2 = u1.intersection(&all_but(n, 4, 30));
    let u3 = u2.intersection(&all_but(n, 5, 60));
    let u4 = u3.intersection(&all_but(n, 6, 100));
    let (aggregate, plain) = Cohort::new(usize::from(n), 1, terms).share(&u1).mask(&u2).confirm(&u3).unmask(&u4);
    let aggregate = aggregate.expect("within the bounds");
    assert_eq!(aggregate.residues, plain.residues());
    assert_eq!((&aggregate.sharers, &aggregate.survivors), (&u1, &u2));
    assert_eq!(aggregate.signatures.len(), u3.len());
}

#[test]
fn each_holds_shares_of_its_neighbours_only_and_a_quorum_of_all_is_asked_for() {
    let n = 40;
    let (terms, threshold) = regular(n, 36, 3);
    let survivors = all_but(n, 0, 13);
    let everyone = ParticipantSet::first(usize::from(n));
    let confirmed = Cohort::new(usize::from(n), 3, terms).share(&everyone).mask(&survivors).confirm(&survivors);
    let (aggregator, participants, _) = confirmed.request();
    let graph = aggregator.offer().graph().clone();
    let mut participants = participants.into_iter();
    let (first, state) = participants.next().expect("survivors");
    let request = aggregator.request(first).expect("it signed");
    assert_eq!(request.signatures.len(), usize::from(threshold.quorum()));
    let mut short = request.clone();
    short.signatures.pop();
    assert!(matches!(state.unmask(&short).map(drop), Err(E::TooFew { .. })));

    let (second, state) = participants.next().expect("survivors");
    let request = aggregator.request(second).expect("it signed");
    let answered = state.unmask(&request).expect("a good request");
    let subjects: Vec<_> = answered
        .answer(&request)
        .expect("the same")
        .shares
        .iter()
        .map(|(subject, kind, _)| (*subject, *kind))
        .collect();
    let kind = |of| if survivors.contains(of) { SecretKind::SelfMask } else { SecretKind::MaskKey };
    assert_eq!(subjects, graph.neighbours(second).into_iter().map(|of| (of, kind(of))).collect::<Vec<_>>());
    assert!(!subjects.iter().any(|(subject, _)| *subject == second));
}

#[test]
fn a_neighbourhood_below_its_threshold_ends_the_round_by_name() {
    let n = 40;
    let (terms, _) = regular(n, 36, 3);
    let everyone = ParticipantSet::first(usize::from(n));
    let confirmed = Cohort::new(usize::from(n), 4, terms).share(&everyone).mask(&everyone).confirm(&everyone);
    // Far more than four vanish, all of them neighbours of participant 1.
    let graph = confirmed.aggregator.offer().graph().clone();
    let gone: ParticipantSet = graph.neighbours(number(1)).into_iter().take(5).collect();
    let (result, _) = confirmed.unmask(&everyone.difference(&gone));
    assert!(
        matches!(&result, Err(RoundFailed::MalformedShares { holders, .. }) if holders.is_subset(&everyone.difference(&gone))),
        "{result:?}"
    );
}

#[test]
fn too_few_statements_end_the_round_although_every_neighbourhood_could_answer() {
    let n = 40;
    let (terms, threshold) = regular(n, 36, 3);
    let everyone = ParticipantSet::first(usize::from(n));
    let few = ParticipantSet::first(usize::from(threshold.quorum()) - 1);
    let confirmed = Cohort::new(usize::from(n), 5, terms).share(&everyone).mask(&everyone).confirm(&few);
    assert!(matches!(confirmed.aggregator.close().map(drop), Err(RoundFailed::TooFew { need: 22, .. })));
}
