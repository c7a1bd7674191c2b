//! The round's offer.
//!
//! Offers are signed here by the federation's key, so that everything behind the signature is reached; where the input reads
//! as an offer, its bundles are signed anew too. An offer that opens keeps every promise of a `VerifiedOffer`, and no
//! other key opens it.
#![no_main]

use std::collections::HashSet;

use forecastle_crypto::{
    identity::sha256,
    secagg::{RoundOffer, SignedOffer, VerifiedOffer, offer::OFFER_CONTEXT},
};
use forecastle_fuzz::{bounded, federation, seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds("offer", || {
        let mut offers = [(2, 1, 8), (4, 9, 20), (7, 384, 62)].map(|(n, d, b)| federation::offer(n, d, b)).to_vec();
        let mut sparse = federation::offer(8, 3, 8);
        (sparse.terms.survivors_min, sparse.terms.threshold, sparse.terms.neighbours) = (7, 2, Some(4));
        offers.push(sparse);
        offers.iter().map(|offer| serde_json::to_vec(offer).expect("an offer always serialises")).collect()
    }),
    |data: &[u8]| {
        open(data.to_vec());
        let Ok(mut offer) = serde_json::from_slice::<RoundOffer>(data) else { return };
        let written = serde_json::to_vec(&offer).expect("an offer always serialises");
        assert_eq!(serde_json::from_slice::<RoundOffer>(&written).ok().as_ref(), Some(&offer));
        for (position, entry) in offer.roster.iter_mut().enumerate().take(255) {
            // Keys that are equal in the input stay equal: duplicates must be found.
            let identity = federation::key(entry.identity.as_bytes()[0]);
            entry.identity = identity.verifying_key();
            federation::sign_bundle(&entry.merchant, &identity, &mut entry.bundle);
            assert!(position < 255);
        }
        open(serde_json::to_vec(&offer).expect("an offer always serialises"));
    }
);

fn open(bytes: Vec<u8>) {
    let (server, length) = (federation::server(), bytes.len());
    let signature = server.sign(OFFER_CONTEXT, &bytes);
    let signed = SignedOffer { bytes, signature };
    assert!(signed.open(&federation::key(201).verifying_key()).is_err(), "another federation's offer opened");
    // A roster entry is 500 bytes of JSON; a refusal may quote a number or a name.
    if let Ok(offer) = bounded(length, 32, || signed.open(&server.verifying_key())) {
        assert_eq!(offer.sid(), sha256(&signed.bytes));
        opened(&offer);
    }
}

fn opened(offer: &VerifiedOffer) {
    let (terms, threshold, grid) = (offer.terms(), offer.threshold(), offer.grid());
    let n = offer.roster().len();
    assert_eq!(usize::from(threshold.participants()), n);
    assert_eq!((threshold.survivors_min(), threshold.threshold()), (terms.survivors_min, terms.threshold));
    // Two quorums have an honest member in common, and no quorum consists of colluders.
    assert!(2 * threshold.quorum() > threshold.participants() + threshold.colluders());
    assert!(threshold.survivors_min() >= threshold.quorum() && threshold.survivors_min() > threshold.colluders());
    assert!(threshold.threshold() >= 1 && usize::from(threshold.threshold()) <= offer.graph().holders_each());
    assert_eq!((grid.dimension(), grid.bits()), (terms.dimension as usize, terms.bits));
    // The noise of m − n_C participants is what the terms promise, or more.
    let honest = f64::from(threshold.survivors_min() - threshold.colluders());
    let reached = (honest * terms.variance_local.squared()).sqrt() / terms.units_per_clip as f64;
    assert!(terms.sigma_total > 0.0 && reached >= terms.sigma_total * (1.0 - 1e-9));
    let merchants: HashSet<_> = offer.roster().iter().map(|entry| &entry.merchant).collect();
    let identities: HashSet<_> = offer.roster().iter().map(|entry| entry.identity).collect();
    let keys: HashSet<_> = offer.roster().iter().flat_map(|e| [e.bundle.channel_key, e.bundle.mask_key]).collect();
    assert_eq!((merchants.len(), identities.len(), keys.len()), (n, n, 2 * n));
    assert_eq!(offer.everyone().len(), n);
    for number in offer.everyone().iter() {
        let entry = offer.entry(number).expect("everybody has an entry");
        assert_eq!(offer.number_of(&entry.merchant), Some(number));
        assert!(entry.bundle.verify(&entry.merchant, &entry.identity).is_ok());
        let neighbours = offer.graph().neighbours(number);
        assert!(
            neighbours.len() == offer.graph().neighbours_each()
                && neighbours.is_sorted()
                && !neighbours.contains(&number)
        );
        assert!(neighbours.iter().all(|other| offer.graph().neighbours(*other).contains(&number)));
    }
}
