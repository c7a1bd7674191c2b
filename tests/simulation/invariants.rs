//! What must hold after every event.

use std::collections::BTreeSet;

use forecastle_crypto::quantize::ResidueSum;

use crate::merchant::update_of;
use crate::message::Name;
use crate::world::World;

/// All of them.
pub fn check(world: &World) {
    invariant_no_participant_opens_both_secrets_of_another(world);
    invariant_the_server_never_holds_both_quorums(world);
    invariant_a_participant_answers_once_a_round(world);
    invariant_nothing_leaves_before_it_is_charged(world);
    invariant_one_update_a_round_ever_leaves(world);
    invariant_a_prekey_serves_one_round(world);
    invariant_a_round_ends_once(world);
    invariant_a_published_sum_is_exact_large_enough_and_charged(world);
}

/// Once a run is over.
pub fn check_end(world: &World) {
    invariant_every_round_ended(world);
    if world.schedule.must_publish {
        invariant_no_round_within_the_bounds_is_abandoned(world);
    }
}

fn invariant_no_participant_opens_both_secrets_of_another(world: &World) {
    for ((_, subject), opened) in &world.evidence.opened {
        let kinds: Vec<&BTreeSet<Name>> = opened.values().collect();
        if let [one, other] = &kinds[..] {
            assert!(one.is_disjoint(other), "{}: a holder opened both secrets of {subject}", world.schedule.seed);
        }
    }
}

fn invariant_the_server_never_holds_both_quorums(world: &World) {
    // The server has a quorum of a kind when those who opened it and the assumed colluders reach t.
    let (t, colluders) = (world.schedule.threshold.threshold(), world.schedule.threshold.colluders());
    for ((_, subject), opened) in &world.evidence.opened {
        let quorums = opened.values().filter(|holders| holders.len() + usize::from(colluders) >= usize::from(t));
        assert!(quorums.count() < 2, "{}: both secrets of {subject} could be had", world.schedule.seed);
    }
}

fn invariant_a_participant_answers_once_a_round(world: &World) {
    for ((_, name), answers) in &world.evidence.answers {
        assert_eq!(answers.len(), 1, "{}: merchant {name} gave two answers", world.schedule.seed);
    }
    // What lies on disk after a crash is what was sent.
    for ((sid, name), answers) in &world.evidence.answers {
        let kept = world.merchants[*name].kept_answer(*sid).expect("kept before it was sent").to_bytes();
        assert!(answers.iter().all(|answer| kept.ends_with(answer)), "{}: another answer is kept", world.schedule.seed);
    }
}

fn invariant_nothing_leaves_before_it_is_charged(world: &World) {
    for ((sid, name), updates) in &world.evidence.updates {
        let charged = world.merchants[*name].disk.charges.get(sid);
        assert!(
            charged.is_some_and(|charged| updates.contains(charged)),
            "{}: an update of merchant {name} left uncharged",
            world.schedule.seed
        );
    }
}

fn invariant_one_update_a_round_ever_leaves(world: &World) {
    for ((_, name), updates) in &world.evidence.updates {
        assert_eq!(updates.len(), 1, "{}: merchant {name} masked twice", world.schedule.seed);
    }
}

fn invariant_a_prekey_serves_one_round(world: &World) {
    let mut used = BTreeSet::new();
    for (_, prekeys) in &world.server.disk.opened {
        for prekey in prekeys {
            assert!(used.insert(*prekey), "{}: pre-key {prekey:?} was used twice", world.schedule.seed);
        }
    }
}

fn invariant_a_round_ends_once(world: &World) {
    let disk = &world.server.disk;
    let mut ended = BTreeSet::new();
    for sid in disk.closed.iter().map(|(sid, ..)| sid).chain(&disk.abandoned) {
        assert!(ended.insert(*sid), "{}: a round ended twice", world.schedule.seed);
    }
}

fn invariant_a_published_sum_is_exact_large_enough_and_charged(world: &World) {
    let disk = &world.server.disk;
    // Each is looked at when it is new: a sum does not change.
    for (sid, survivors, sum) in disk.closed.iter().skip(world.closed_before) {
        let offer = world.server.offers.iter().find(|offer| offer.sid() == *sid).expect("offered");
        assert!(survivors.len() >= usize::from(offer.threshold().survivors_min()));
        let mut plain = ResidueSum::new(offer.grid());
        for name in survivors {
            plain.add(&update_of(offer.grid(), *name, *sid)).unwrap();
            let logged = disk.charges.get(sid).and_then(|charges| charges.get(name));
            let own = world.merchants[*name].disk.charges.get(sid);
            assert!(logged.is_some() && logged == own, "{}: {name} is in the sum uncharged", world.schedule.seed);
        }
        assert_eq!(plain.residues(), sum, "{}: a wrong sum", world.schedule.seed);
    }
}

fn invariant_every_round_ended(world: &World) {
    let disk = &world.server.disk;
    assert_eq!(disk.opened.len(), disk.closed.len() + disk.abandoned.len(), "{}: a round is open", world.schedule.seed);
}

fn invariant_no_round_within_the_bounds_is_abandoned(world: &World) {
    let disk = &world.server.disk;
    assert!(disk.abandoned.is_empty(), "{}: abandoned within the bounds: {:?}", world.schedule.seed, world.schedule);
    assert!(!disk.closed.is_empty(), "{}: nothing was published: {:?}", world.schedule.seed, world.schedule);
}
