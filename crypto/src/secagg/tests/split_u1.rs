//! What the signature over U1 is for: on a sparse graph, a server that names a U1 of its own to one participant.

use super::*;
use crate::secagg::error::ParticipantError as E;
use crate::secagg::graph::Sign;
use crate::secagg::keys::{Channel, ChannelSecret, pair_seed, self_mask_key};
use crate::secagg::mask::{self, Mask};
use crate::secagg::messages::HeldShares;

/// n = 12 on a ring of degree 4, of whom three may be missing: a degree that withstands an active server, with t = 1.
fn attacked() -> (Cohort, Vec<PrekeySecret>) {
    let threshold = ValidThreshold::propose_regular(12, 9, 0).expect("a graph");
    assert_eq!((threshold.neighbours(), threshold.threshold()), (Some(4), 1));
    assert_eq!(threshold.assurance(), Assurance::ActiveServer);
    let terms = RoundTerms { neighbours: Some(4), ..terms(9, 1, 0, 17, 24) };
    // The keys once more, for the arithmetic of whoever was told a share.
    let mut entropy = SeededEntropy::danger_from_seed([1; 32]);
    let secrets = (0..12)
        .map(|position| generate_prekey(&merchant(position), &identity(position), 5, &mut entropy).expect("entropy").1);
    let secrets = secrets.collect();
    (Cohort::new(12, 1, terms), secrets)
}

#[test]
fn a_participant_that_was_named_another_u1_would_lie_open_and_its_holders_refuse() {
    let everyone = ParticipantSet::first(12);
    let (cohort, secrets) = attacked();
    let victim = number(1);
    let Shared { offer, aggregator: _, participants } = cohort.share(&everyone);
    let (grid, sid) = (offer.grid(), offer.sid());
    let neighbours = offer.graph().neighbours(victim);
    let [a, b, c, d] = neighbours[..] else { panic!("four neighbours") };

    // The victim is told of a U1 without a and b, all others of everybody. Ten are left each time, and nine are enough.
    let mut sealed_to_a = None;
    let mut masked = Vec::new();
    for (own, state, mut delivered) in participants {
        if own == a {
            let from_victim = delivered.sealed.iter().find(|(from, _)| *from == victim);
            sealed_to_a = from_victim.map(|(_, sealed)| *sealed);
        }
        if own == victim {
            delivered.sharers = everyone.clone().without(a).without(b);
            delivered.sealed.retain(|(from, _)| *from != a && *from != b);
        }
        masked.push((own, state.mask(delivered, update_of(grid, own)).expect("each view alone is acceptable")));
    }

    // Then all others are told that c and d dropped out. The victim counts as a survivor.
    let survivors = everyone.clone().without(c).without(d);
    let (mut statements, mut headers, mut states) = (Vec::new(), Vec::new(), Vec::new());
    let mut update_of_victim = None;
    for (own, (state, masked)) in masked {
        headers.push((own, masked.header().sharers_signature));
        if own == victim {
            update_of_victim = Some(grid.unpack(masked.bytes()).expect("its own packing"));
            continue;
        }
        if survivors.contains(own) {
            let set = SurvivorSet { sid, survivors: survivors.clone() };
            let (state, statement) = state.confirm(set).expect("acceptable");
            statements.push((own, statement.signature));
            states.push((own, state));
        }
    }
    assert!(statements.len() >= usize::from(offer.threshold().quorum()), "without the victim's word");

    // What its holders' answers would give: the seed of its self-mask from a, the mask keys of c and d from others. With
    // a and b left out, no other mask is in its update.
    let agreed = ChannelSecret::agree(secrets[a.position()].channel(), &offer.roster()[0].bundle.channel_key);
    let Ok(agreed) = agreed else { panic!("no low order") };
    let channel = Channel::new(&sid, &agreed, victim, a);
    let opened = channel.open(&sealed_to_a.expect("a share for a")).expect("sealed for a");
    let share = HeldShares::read(&opened, victim, a).expect("well-formed");
    // t = 1: a share is the secret.
    let mut masks = vec![Mask { key: self_mask_key(&sid, &share.self_mask.0, victim), sign: Sign::Minus }];
    for dropped in [c, d] {
        let secret = secrets[dropped.position()].mask();
        let key = pair_seed(&sid, secret, dropped, &offer.roster()[0].bundle.mask_key, victim);
        let key = key.expect("no low order");
        masks.push(Mask { key, sign: Sign::of_pair(victim, dropped).opposite() });
    }
    let mut stolen = update_of_victim.expect("the victim delivered");
    mask::apply(&mut stolen, grid.bits(), &masks);
    let stolen: Vec<u64> = stolen.into_iter().map(|word| grid.to_residue(word.cast_signed())).collect();
    assert_eq!(stolen, update_of(grid, victim).residues(), "bit for bit what the victim wanted to hide");

    // Its holders do not answer: the victim signed another U1 than theirs. Nobody else is asked for its secret.
    for (own, state) in states {
        let request = UnmaskRequest {
            sid,
            reveal_self_masks: survivors.clone(),
            reveal_mask_keys: set(&[c.get().min(d.get()), c.get().max(d.get())]),
            signatures: statements.clone(),
            sharers_signatures: headers.clone(),
        };
        let answered = state.unmask(&request);
        if own == a || own == b {
            assert_eq!(answered.map(drop), Err(E::OtherSharers(victim)), "{own}");
        } else {
            answered.expect("nothing in it is against anybody else");
        }
    }
}
