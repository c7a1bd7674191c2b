//! Offers that no participant opens.

use super::*;
use crate::secagg::error::RoundFailed as R;
use crate::secagg::offer::OFFER_BYTES_MAX;

fn roster(n: usize) -> Vec<RosterEntry> {
    let mut entropy = SeededEntropy::danger_from_seed([1; 32]);
    (0..n)
        .map(|position| {
            let (bundle, _) =
                generate_prekey(&merchant(position), &identity(position), 1, &mut entropy).expect("entropy");
            RosterEntry { merchant: merchant(position), identity: identity(position).verifying_key(), bundle }
        })
        .collect()
}

fn good() -> RoundOffer {
    RoundOffer { version: 1, terms: terms(4, 4, 1, 9, 20), roster: roster(5) }
}

fn opened(change: impl FnOnce(&mut RoundOffer)) -> Result<VerifiedOffer, OfferError> {
    let mut offer = good();
    change(&mut offer);
    SignedOffer::sign(&offer, &federation())?.open(&federation().verifying_key())
}

#[test]
fn a_good_offer_opens_and_numbers_its_roster() {
    let offer = opened(|_| ()).expect("good");
    assert_eq!(offer.number_of(&merchant(4)), Some(number(5)));
    assert_eq!(offer.number_of(&merchant(9)), None);
    assert_eq!(offer.entry(number(5)).map(|entry| &entry.merchant), Some(&merchant(4)));
    assert!(offer.entry(number(6)).is_none());
    assert_eq!(offer.threshold().survivors_min(), 4);
}

#[test]
fn the_exact_bytes_are_what_counts() {
    let federation = federation();
    let public: VerifyingKey = federation.verifying_key();
    let signed = SignedOffer::sign(&good(), &federation).expect("json");
    assert_eq!(signed.open(&public).expect("good").sid(), sha256(&signed.bytes));
    let mut spaced = signed.clone();
    spaced.bytes.push(b' ');
    assert!(matches!(spaced.open(&public), Err(OfferError::Signature(_))));
    assert!(matches!(signed.open(&identity(3).verifying_key()), Err(OfferError::Signature(_))));
    let resign = |bytes: Vec<u8>| {
        let signature = federation.sign(offer::OFFER_CONTEXT, &bytes);
        SignedOffer { bytes, signature }.open(&public)
    };
    let text = String::from_utf8(signed.bytes).expect("json");
    assert!(matches!(
        resign(text.replacen("\"run\":1", "\"run\":1,\"extra\":2", 1).into()),
        Err(OfferError::Malformed(_))
    ));
    assert!(matches!(resign(text.replacen("\"run\":1", "\"run\":-1", 1).into()), Err(OfferError::Malformed(_))));
    assert!(matches!(resign(b"{}".to_vec()), Err(OfferError::Malformed(_))));
    assert!(matches!(resign(vec![b' '; OFFER_BYTES_MAX + 1]), Err(OfferError::TooLong(_))));
}

#[test]
fn terms_that_cannot_be_are_refused() {
    assert!(matches!(opened(|o| o.version = 2), Err(OfferError::Version(2))));
    assert!(matches!(opened(|o| o.terms.federation.clear()), Err(OfferError::FederationName)));
    assert!(matches!(opened(|o| o.terms.dimension = 0), Err(OfferError::Grid(_))));
    assert!(matches!(opened(|o| o.terms.bits = 63), Err(OfferError::Grid(_))));
    assert!(matches!(opened(|o| o.terms.clip = -1.0), Err(OfferError::Grid(_))));
    assert!(matches!(opened(|o| o.terms.clip = f64::NAN), Err(OfferError::Malformed(_) | OfferError::Grid(_))));
    assert!(matches!(opened(|o| o.terms.threshold = 3), Err(OfferError::Threshold(_))));
    assert!(matches!(opened(|o| o.terms.survivors_min = 6), Err(OfferError::Threshold(_))));
    assert!(matches!(opened(|o| o.roster.truncate(1)), Err(OfferError::Threshold(_))));
    // Two neighbours of five could be kept from each other by whoever chooses the drop-outs.
    assert!(matches!(opened(|o| o.terms.neighbours = Some(2)), Err(OfferError::Threshold(_))));
}

#[test]
fn noise_shares_that_do_not_add_up_are_refused() {
    // m − n_C = 3 shares have to make σ = 0.5·C: the offer that counts all four is caught.
    let four = Variance::from_sigma_ceil(0.5 * 100.0 / 2.0).expect("in range");
    assert!(matches!(opened(|o| o.terms.variance_local = four), Err(OfferError::NoiseShortfall { honest: 3, .. })));
    assert!(matches!(opened(|o| o.terms.sigma_total = 0.6), Err(OfferError::NoiseShortfall { .. })));
    assert!(matches!(opened(|o| o.terms.sigma_total = 0.0), Err(OfferError::NoiseShortfall { .. })));
    assert!(opened(|o| o.terms.sigma_total = 0.4).is_ok());
}

#[test]
fn rosters_with_anything_twice_or_forged_are_refused() {
    let duplicate = |result: Result<VerifiedOffer, OfferError>, expected: &str| match result {
        Err(OfferError::Duplicate { what, .. }) => assert_eq!(what, expected),
        other => panic!("{other:?}"),
    };
    duplicate(opened(|o| o.roster[4] = o.roster[0].clone()), "name");
    duplicate(opened(|o| o.roster[4].identity = o.roster[0].identity), "identity key");
    duplicate(opened(|o| o.roster[4].bundle = o.roster[0].bundle.clone()), "pre-key");
    duplicate(opened(|o| o.roster[4].bundle.mask_key = o.roster[0].bundle.channel_key), "pre-key");
    assert!(matches!(opened(|o| o.roster[4].bundle.index = 2), Err(OfferError::Bundle(_))));
    assert!(matches!(opened(|o| o.roster[2].merchant = merchant(9)), Err(OfferError::Bundle(_))));
}

#[test]
fn the_server_learns_at_once_that_its_own_offer_would_be_refused() {
    let mut keys = AwaitingKeys::new();
    for entry in roster(5) {
        keys.add(entry.merchant, entry.identity, entry.bundle).expect("new");
    }
    let weak = RoundTerms { threshold: 2, ..terms(4, 4, 1, 9, 20) };
    assert!(matches!(keys.close(weak, &federation(), Arc::new(MemorySpools)), Err(R::Offer(OfferError::Threshold(_)))));
}
