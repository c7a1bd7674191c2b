//! Offers: opened, or refused by the first rule they break.

use super::keys::low_order;
use super::*;
use crate::identity::Signature;
use crate::secagg::keys::PREKEY_CONTEXT;
use crate::secagg::offer::OFFER_CONTEXT;

pub(super) struct Offers;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    offer: String,
    federation_seed: Hex,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OfferInput {
    replace: Vec<[String; 2]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    federation: Option<VerifyingKey>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OfferOutput {
    federation: VerifyingKey,
    signature: Signature,
    sid: Sid,
    participants: u16,
    quorum: u16,
    packed_length: usize,
}

fn replace(old: &str, new: &str) -> OfferInput {
    OfferInput { replace: vec![[old.to_owned(), new.to_owned()]], ..OfferInput::default() }
}

fn roster() -> Vec<RosterEntry> {
    let entry = |position: usize| {
        let secret = |key: &str| fixed(&format!("{key} of shop {position}"));
        let mut secrets = Given::all(&[&secret("C"), &secret("S")]);
        let (bundle, _) = generate_prekey(&merchant(position), &identity(position), 1, &mut secrets).expect("given");
        RosterEntry { merchant: merchant(position), identity: identity(position).verifying_key(), bundle }
    };
    (0..4).map(entry).collect()
}

fn base() -> RoundOffer {
    RoundOffer { version: 1, terms: terms(3, 3, 1, 9, 20), roster: roster() }
}

fn base_text() -> String {
    String::from_utf8(SignedOffer::sign(&base(), &federation()).expect("json").bytes).expect("json")
}

impl Topic for Offers {
    const FILE: &'static str = "offers";
    const ABOUT: &'static str = "An offer, opened: the given one, with the first occurrence of each old text in `replace` replaced by \
         the new one, signed by the federation unless a signature is given, and checked against its key \
         unless another is.";
    type Given = Base;
    type Input = OfferInput;
    type Output = OfferOutput;

    fn given() -> Option<Base> {
        Some(Base { offer: base_text(), federation_seed: [200; 32].into() })
    }

    fn cases() -> Vec<Planned<OfferInput>> {
        let mut cases = good_offers();
        cases.extend(badly_signed());
        cases.extend(malformed());
        cases.extend(bad_terms());
        cases.extend(bad_rosters());
        cases
    }

    fn run(base: Option<&Base>, input: &OfferInput) -> Result<OfferOutput, String> {
        let base = base.expect("the file's offer");
        let federation = signing_key(&base.federation_seed);
        let mut text = base.offer.clone();
        for [old, new] in &input.replace {
            assert!(text.contains(old.as_str()), "{old:?} is not in the offer");
            text = text.replacen(old.as_str(), new, 1);
        }
        let bytes = text.into_bytes();
        let signature = input.signature.unwrap_or_else(|| federation.sign(OFFER_CONTEXT, &bytes));
        let key = input.federation.unwrap_or_else(|| federation.verifying_key());
        let offer = SignedOffer { bytes, signature }.open(&key).map_err(|error| refusal(&error))?;
        let (sid, threshold) = (offer.sid(), offer.threshold());
        let (participants, quorum) = (threshold.participants(), threshold.quorum());
        Ok(OfferOutput {
            federation: key,
            signature,
            sid,
            participants,
            quorum,
            packed_length: offer.grid().packed_len(),
        })
    }
}

fn refusal(error: &OfferError) -> String {
    let name = variant(error);
    match error {
        OfferError::Threshold(inner) => format!("{name}.{}", variant(inner)),
        OfferError::Grid(inner) => format!("{name}.{}", variant(inner)),
        OfferError::Bundle(inner) => format!("{name}.{}", variant(inner)),
        OfferError::Duplicate { what, .. } => format!("{name}.{what}"),
        _ => name,
    }
}

fn good_offers() -> Vec<Planned<OfferInput>> {
    let first = roster()[0].identity.to_string();
    vec![
        good("as this project writes it", OfferInput::default()),
        good("white space is part of the bytes", replace("{\"version\":1,", "{ \"version\": 1,\n")),
        good("white space behind the offer, too", replace("}}]}", "}}]}\n")),
        good("hexadecimal digits may be upper case", replace(&first, &first.to_uppercase())),
        good("the complete graph, said in so many letters", replace("\"run\":1", "\"neighbours\":null,\"run\":1")),
        good("a text with an escape", replace("market", "m\\u0061rket")),
        good("a clip norm without a fraction", replace("\"clip\":1.0", "\"clip\":1")),
        good("less noise promised than there is", replace("\"sigma_total\":0.5", "\"sigma_total\":0.4")),
        good("the smallest grid", replace("\"dimension\":9,\"bits\":20", "\"dimension\":1,\"bits\":8")),
        good("the largest modulus", replace("\"bits\":20", "\"bits\":62")),
        good("a federation's name of 128 bytes", replace("market", &"ä".repeat(64))),
    ]
}

fn badly_signed() -> Vec<Planned<OfferInput>> {
    let signed = |signature| OfferInput { signature: Some(signature), ..OfferInput::default() };
    let mut flipped = federation().sign(OFFER_CONTEXT, base_text().as_bytes());
    flipped.0[5] ^= 1;
    let elsewhere = federation().sign(PREKEY_CONTEXT, base_text().as_bytes());
    let foreign = OfferInput { federation: Some(identity(3).verifying_key()), ..OfferInput::default() };
    let altered = OfferInput {
        signature: Some(federation().sign(OFFER_CONTEXT, base_text().as_bytes())),
        ..replace("}}]}", "}}]} ")
    };
    let rule = "the federation's pinned key signed exactly these bytes, as an offer";
    vec![
        bad("one bit of the signature changed", rule, "Signature", signed(flipped)),
        bad("signed as something else", rule, "Signature", signed(elsewhere)),
        bad("another federation's key", rule, "Signature", foreign),
        bad("a space more than was signed", rule, "Signature", altered),
    ]
}

/// Cases that break one rule by one replacement each.
fn broken(rule: &'static str, cases: &[(&'static str, &'static str, &str, &str)]) -> Vec<Planned<OfferInput>> {
    cases.iter().map(|(name, refused, old, new)| bad(*name, rule, refused, replace(old, new))).collect()
}

fn malformed() -> Vec<Planned<OfferInput>> {
    const REFUSED: &str = "Malformed";
    let identity = roster()[0].identity.to_string();
    let variance = base().terms.variance_local;
    let numerator = format!("\"numerator\":{}", variance.numerator());
    let denominator = format!("\"denominator\":{}", variance.denominator());
    let mut cases = broken(
        "the offer is JSON of exactly these fields, once each",
        &[
            ("an unknown field in the offer", REFUSED, "{\"version\"", "{\"extra\":0,\"version\""),
            ("an unknown field in the terms", REFUSED, "\"run\":1", "\"run\":1,\"extra\":2"),
            ("an unknown field in a roster entry", REFUSED, "{\"merchant\"", "{\"weight\":2,\"merchant\""),
            ("an unknown field in a bundle", REFUSED, "{\"index\"", "{\"extra\":2,\"index\""),
            ("a field that is missing", REFUSED, "\"run\":1,", ""),
            ("a field twice", REFUSED, "\"run\":1", "\"run\":1,\"run\":1"),
            ("text behind the offer", REFUSED, "}}]}", "}}]}{}"),
        ],
    );
    cases.extend(broken(
        "each field has its type and its range",
        &[
            ("a negative number", REFUSED, "\"run\":1", "\"run\":-1"),
            ("a whole number with a sign", REFUSED, "\"run\":1", "\"run\":-0"),
            ("a whole number with an exponent", REFUSED, "\"run\":1", "\"run\":1e0"),
            ("half a surrogate pair", REFUSED, "market", "\\ud800"),
            ("a fraction where a whole number belongs", REFUSED, "\"run\":1", "\"run\":1.0"),
            ("a text where a number belongs", REFUSED, "\"run\":1", "\"run\":\"1\""),
            ("m above 16 bits", REFUSED, "\"survivors_min\":3", "\"survivors_min\":65536"),
            ("a clip norm beyond floating point", REFUSED, "\"clip\":1.0", "\"clip\":1e999"),
            ("a clip norm that is no number", REFUSED, "\"clip\":1.0", "\"clip\":NaN"),
            ("a key that is too short", REFUSED, &identity, &identity[2..]),
            ("a key with another digit", REFUSED, &identity, &identity.replacen(&identity[..1], "g", 1)),
        ],
    ));
    cases.extend(broken(
        "a merchant's name has 1 to 64 characters out of a-z, 0-9 and -",
        &[
            ("a name in upper case", REFUSED, "shop-0", "Shop-0"),
            ("a name with a zero byte", REFUSED, "shop-0", "shop-0\\u0000"),
            ("no name", REFUSED, "\"shop-0\"", "\"\""),
            ("a name of 65 characters", REFUSED, "shop-0", &"s".repeat(65)),
        ],
    ));
    cases.extend(broken(
        "variance_local is a positive fraction that can be sampled exactly",
        &[
            ("no noise", REFUSED, &numerator, "\"numerator\":0"),
            ("a denominator of zero", REFUSED, &denominator, "\"denominator\":0"),
            ("a variance beyond exact sampling", REFUSED, &numerator, "\"numerator\":18446744073709551615"),
        ],
    ));
    cases
}

fn bad_terms() -> Vec<Planned<OfferInput>> {
    let mut cases = broken("the version is 1", &[("another version", "Version", "\"version\":1", "\"version\":2")]);
    cases.extend(broken(
        "a federation's name has 1 to 128 bytes",
        &[
            ("no federation's name", "FederationName", "market", ""),
            ("a federation's name of 129 bytes", "FederationName", "market", &"m".repeat(129)),
        ],
    ));
    let neighbours = |k| format!("\"neighbours\":{k},\"run\":1");
    cases.extend(broken(
        "the thresholds hold together",
        &[
            (
                "two quorums could miss each other",
                "Threshold.QuorumsMayBeDisjoint",
                "\"threshold\":3",
                "\"threshold\":2",
            ),
            ("m below t", "Threshold.SurvivorsBelowThreshold", "\"threshold\":3", "\"threshold\":4"),
            ("m above n", "Threshold.SurvivorsAboveParticipants", "\"survivors_min\":3", "\"survivors_min\":5"),
            ("m not above n_C", "Threshold.SurvivorsAllCollude", "assumed\":1", "assumed\":3"),
            ("t = 0", "Threshold.Threshold", "\"threshold\":3", "\"threshold\":0"),
            ("too many neighbours for a ring", "Threshold.Neighbours", "\"run\":1", &neighbours(4)),
            ("too few neighbours for any claim", "Threshold.Degree", "\"run\":1", &neighbours(2)),
        ],
    ));
    cases.extend(broken(
        "the grid exists",
        &[
            ("no coordinates", "Grid.Dimension", "\"dimension\":9", "\"dimension\":0"),
            ("more than 2^28 coordinates", "Grid.Dimension", "\"dimension\":9", "\"dimension\":268435457"),
            ("a modulus of 7 bits", "Grid.Bits", "\"bits\":20", "\"bits\":7"),
            ("a modulus of 63 bits", "Grid.Bits", "\"bits\":20", "\"bits\":63"),
            ("no units per clip norm", "Grid.UnitsPerClip", "clip\":100", "clip\":0"),
            ("more than 2^40 units per clip norm", "Grid.UnitsPerClip", "clip\":100", "clip\":1099511627777"),
            ("a clip norm below zero", "Grid.Clip", "\"clip\":1.0", "\"clip\":-1.0"),
            ("a clip norm of zero", "Grid.Clip", "\"clip\":1.0", "\"clip\":0"),
            ("a clip norm that makes too many units of 1", "Grid.Clip", "\"clip\":1.0", "\"clip\":1e-320"),
            (
                "a clip norm that makes too few units of 1",
                "Grid.Clip",
                "clip\":100,\"clip\":1.0",
                "clip\":1,\"clip\":1e308",
            ),
        ],
    ));
    cases.extend(broken(
        "m - n_C noise shares add up to sigma_total, which is positive",
        &[
            ("more noise promised than there is", "NoiseShortfall", "\"sigma_total\":0.5", "\"sigma_total\":0.6"),
            ("no noise promised", "NoiseShortfall", "\"sigma_total\":0.5", "\"sigma_total\":0.0"),
        ],
    ));
    cases
}

fn bad_rosters() -> Vec<Planned<OfferInput>> {
    let roster = roster();
    let (first, last) = (&roster[0], &roster[3]);
    let json = |bundle: &PrekeyBundle| serde_json::to_string(bundle).expect("json");
    let as_text = |value: &dyn std::fmt::Display| value.to_string();
    let twice = PrekeyBundle { mask_key: last.bundle.channel_key, ..last.bundle.clone() };
    let weak = PrekeyBundle { mask_key: low_order(1), ..last.bundle.clone() };
    let keys = [weak.channel_key.0, weak.mask_key.0].concat();
    let message = [last.merchant.as_str().as_bytes(), b"\0", &last.identity.0, &1u64.to_be_bytes(), &keys].concat();
    let signed = PrekeyBundle { signature: identity(3).sign(PREKEY_CONTEXT, &message), ..weak.clone() };
    let mut cases = broken(
        "names, identity keys and pre-keys are distinct",
        &[
            ("a name twice", "Duplicate.name", "shop-3", "shop-0"),
            ("an identity key twice", "Duplicate.identity key", &as_text(&last.identity), &as_text(&first.identity)),
            ("a pre-key twice", "Duplicate.pre-key", &json(&last.bundle), &json(&first.bundle)),
            (
                "a mask key that is another's channel key",
                "Duplicate.pre-key",
                &as_text(&last.bundle.mask_key),
                &as_text(&first.bundle.channel_key),
            ),
            ("a mask key that is its own channel key", "Duplicate.pre-key", &json(&last.bundle), &json(&twice)),
        ],
    );
    cases.extend(broken(
        "each bundle is signed by its merchant, and its keys are not of low order",
        &[
            ("another index than was signed", "Bundle.Signature", "\"index\":1", "\"index\":2"),
            ("another name than was signed", "Bundle.Signature", "shop-0", "shop-9"),
            ("a key of low order, not signed", "Bundle.Signature", &json(&last.bundle), &json(&weak)),
            ("a key of low order, signed by its merchant", "Bundle.WeakKey", &json(&last.bundle), &json(&signed)),
        ],
    ));
    cases
}
