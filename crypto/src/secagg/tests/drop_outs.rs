//! Honest ends, any of whom may vanish at any stage.

use proptest::prelude::*;

use super::*;

#[test]
fn nobody_drops_out() {
    let everyone = ParticipantSet::first(5);
    let confirmed = Cohort::new(5, 1, terms(4, 4, 1, 33, 20)).share(&everyone).mask(&everyone).confirm(&everyone);
    let (aggregate, plain) = confirmed.unmask(&everyone);
    let aggregate = aggregate.expect("a sum");
    assert_eq!(aggregate.residues, plain.residues());
    assert_eq!(aggregate.dequantize(), plain.dequantize());
    assert_eq!((&aggregate.sharers, &aggregate.survivors), (&everyone, &everyone));
    assert_eq!((aggregate.masked_updates.len(), aggregate.signatures.len()), (5, 5));
    assert!(aggregate.accused.is_empty());
}

#[test]
fn one_drops_out_at_every_stage() {
    // Number 6 never shares, 5 never delivers, 4 never signs, 3 never answers.
    let (u0, u1, u2, u3) = (
        ParticipantSet::first(10),
        set(&[1, 2, 3, 4, 5, 7, 8, 9, 10]),
        set(&[1, 2, 3, 4, 7, 8, 9, 10]),
        set(&[1, 2, 3, 7, 8, 9, 10]),
    );
    let cohort = Cohort::new(10, 2, terms(7, 6, 1, 40, 30));
    assert_eq!(cohort.aggregator.waiting_for(), u0);
    let shared = cohort.share(&u1);
    assert_eq!(shared.aggregator.waiting_for(), u1);
    let masked = shared.mask(&u2);
    assert_eq!(masked.aggregator.waiting_for(), set(&[5]));
    let confirmed = masked.confirm(&u3);
    assert_eq!(confirmed.aggregator.waiting_for(), set(&[4]));
    let (aggregate, plain) = confirmed.unmask(&u3.without(number(3)));
    let aggregate = aggregate.expect("six answers reconstruct at t = 6");
    assert_eq!(aggregate.residues, plain.residues());
    assert_eq!((aggregate.sharers, aggregate.survivors), (u1, u2));
}

#[test]
fn each_stage_with_too_few_ends_the_round_by_name() {
    let few = |result: Result<(), RoundFailed>, expected: usize| match result {
        Err(RoundFailed::TooFew { have, .. }) => assert_eq!(have, expected),
        other => panic!("{other:?}"),
    };
    let fresh = |seed| Cohort::new(5, seed, terms(4, 4, 1, 9, 20));
    let everyone = ParticipantSet::first(5);
    few(fresh(3).aggregator.close().map(drop), 0);
    few(fresh(4).share(&everyone).mask(&set(&[1, 2, 3])).aggregator.close().map(drop), 3);
    few(fresh(5).share(&everyone).mask(&everyone).confirm(&set(&[1, 5])).aggregator.close().map(drop), 2);
    let (result, _) = fresh(6).share(&everyone).mask(&everyone).confirm(&everyone).unmask(&set(&[1, 2, 3]));
    few(result.map(drop), 3);
}

#[test]
fn the_server_is_ready_with_t_shares_of_every_secret() {
    let everyone = ParticipantSet::first(5);
    let confirmed =
        Cohort::new(5, 7, terms(4, 4, 1, 9, 20)).share(&everyone).mask(&set(&[1, 2, 3, 4])).confirm(&everyone);
    let (mut aggregator, participants, _) = confirmed.request();
    for (index, (from, state)) in participants.into_iter().enumerate() {
        assert!(!aggregator.is_ready(), "{index} answers are too few");
        let request = aggregator.request(from).expect("it signed");
        let answered = state.unmask(&request).expect("a good request");
        aggregator.receive(from, answered.answer(&request).expect("the same")).expect("as asked");
    }
    assert!(aggregator.is_ready());
}

#[test]
fn two_updates_that_differ_give_unrelated_masked_bytes() {
    // The same update in two rounds: masked bytes share about 1/256 of their bytes, not all.
    let everyone = ParticipantSet::first(4);
    let bytes = |seed| {
        let shared = Cohort::new(4, seed, terms(3, 3, 0, 1000, 32)).share(&everyone);
        let grid = shared.offer.grid();
        let (_, state, delivered) = shared.participants.into_iter().next().expect("four");
        state.mask(delivered, update_of(grid, number(1))).expect("good shares").1.bytes().to_vec()
    };
    let (a, b) = (bytes(8), bytes(9));
    let equal = a.iter().zip(&b).filter(|(x, y)| x == y).count();
    assert!(equal < 60, "{equal} of {} bytes agree; 60 or more has probability below 10^-15", a.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whoever vanishes and when: with m updates and t answers the sum is that of the survivors, bit for bit.
    #[test]
    fn any_schedule_within_the_bounds_gives_the_exact_sum(
        n in 4u16..12, seed in any::<u8>(), stages in proptest::collection::vec(0u8..12, 12), bits in Grid::MIN_BITS..=Grid::MAX_BITS,
    ) {
        let t = ValidThreshold::propose_shares(n);
        // Stage 0..=3: where a participant vanishes; anything above: never.
        let present_after = |stage: u8| -> ParticipantSet {
            ParticipantSet::first(usize::from(n)).iter().filter(|p| stages[p.position()] > stage).collect()
        };
        let (u1, u2, u3, u4) = (present_after(0), present_after(1), present_after(2), present_after(3));
        let need = usize::from(t);
        prop_assume!(u2.len() >= need);
        let confirmed = Cohort::new(usize::from(n), seed, terms(t, t, 0, 21, bits)).share(&u1).mask(&u2).confirm(&u3);
        if u3.len() < need {
            prop_assert!(confirmed.aggregator.close().is_err());
            return Ok(());
        }
        let (result, plain) = confirmed.unmask(&u4);
        if u4.len() < need {
            prop_assert!(result.is_err());
        } else {
            let aggregate = result.expect("t answers");
            prop_assert_eq!(aggregate.residues.as_slice(), plain.residues());
            prop_assert_eq!(aggregate.survivors, u2);
        }
    }
}
