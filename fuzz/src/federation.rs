//! A federation of fixed keys: what is signed in seeds and targets is signed by it.

use std::sync::Arc;

use forecastle_crypto::{
    dp::noise::Variance,
    entropy::SeededEntropy,
    identity::{MerchantId, SigningKey, sha256},
    secagg::{
        PrekeyBundle, PrekeySecret, RosterEntry, RoundOffer, RoundTerms, generate_prekey, keys::PREKEY_CONTEXT,
        offer::OFFER_VERSION,
    },
};

/// The federation's key.
pub fn server() -> SigningKey {
    key(200)
}

/// A key from a seed of one repeated byte.
pub fn key(byte: u8) -> SigningKey {
    SigningKey::danger_from_seed(&[byte; 32]).expect("32 bytes")
}

/// The identity of the merchant at `position` of the roster.
pub fn identity(position: usize) -> Arc<SigningKey> {
    Arc::new(key(position as u8))
}

/// Its name.
pub fn merchant(position: usize) -> MerchantId {
    format!("shop-{position}").parse().expect("an id")
}

/// Its pre-key.
pub fn prekey(position: usize) -> (PrekeyBundle, PrekeySecret) {
    let mut entropy = SeededEntropy::danger_from_seed([position as u8; 32]);
    generate_prekey(&merchant(position), &identity(position), 5, &mut entropy).expect("a keystream")
}

/// Signs a bundle anew after its fields were changed.
pub fn sign_bundle(merchant: &MerchantId, identity: &SigningKey, bundle: &mut PrekeyBundle) {
    let (key, index) = (identity.verifying_key(), bundle.index.to_be_bytes());
    let parts: [&[u8]; 6] = [
        merchant.as_str().as_bytes(),
        &[0],
        key.as_bytes(),
        &index,
        bundle.channel_key.as_bytes(),
        bundle.mask_key.as_bytes(),
    ];
    bundle.signature = identity.sign(PREKEY_CONTEXT, &parts.concat());
}

/// The terms of a round of `participants`, with t = ⌊2n/3⌋ + 1 = m and nobody assumed to collude.
pub fn terms(participants: u16, dimension: u32, bits: u8) -> RoundTerms {
    let shares = participants * 2 / 3 + 1;
    RoundTerms {
        federation: "market".into(),
        run: 1,
        round: 4,
        model_version: 3,
        model_sha256: sha256(b"model"),
        layout_sha256: sha256(b"layout"),
        dimension,
        bits,
        units_per_clip: 100,
        clip: 1.0,
        sigma_total: 0.5,
        variance_local: Variance::from_sigma_ceil(50.0 / f64::from(shares).sqrt()).expect("in range"),
        survivors_min: shares,
        threshold: shares,
        neighbours: None,
        colluders_assumed: 0,
        plan_sha256: sha256(b"plan"),
        deadline_ms: 1,
        ledger_size: 0,
        ledger_root: sha256(b""),
    }
}

/// An offer that everybody opens.
pub fn offer(participants: u16, dimension: u32, bits: u8) -> RoundOffer {
    let roster = (0..usize::from(participants))
        .map(|position| RosterEntry {
            merchant: merchant(position),
            identity: identity(position).verifying_key(),
            bundle: prekey(position).0,
        })
        .collect();
    RoundOffer { version: OFFER_VERSION, terms: terms(participants, dimension, bits), roster }
}
