//! Pre-keys: made, and verified.

use super::*;
use crate::identity::Signature;
use crate::secagg::keys::{AgreementKey, PREKEY_CONTEXT};

/// Points of low order, and the same with the bit set that X25519 ignores. RFC 7748 §6.1 says how they show.
pub(super) const LOW_ORDER: [(&str, &str); 8] = [
    ("0", "0000000000000000000000000000000000000000000000000000000000000000"),
    ("1", "0100000000000000000000000000000000000000000000000000000000000000"),
    ("a point of order 8", "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    ("another point of order 8", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    ("p - 1", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("p, which is 0", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("p + 1, which is 1", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ("0 with the highest bit set", "0000000000000000000000000000000000000000000000000000000000000080"),
];

pub(super) fn low_order(position: usize) -> AgreementKey {
    LOW_ORDER[position].1.parse().expect("hex")
}

fn shop(text: &str) -> MerchantId {
    text.parse().expect("an id")
}

pub(super) struct Prekeys;

#[derive(Serialize, Deserialize)]
pub(super) struct PrekeyInput {
    merchant: MerchantId,
    identity_seed: Hex,
    index: u64,
    channel_secret: Hex,
    mask_secret: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PrekeyOutput {
    identity: VerifyingKey,
    signed: Hex,
    bundle: PrekeyBundle,
}

impl Topic for Prekeys {
    const FILE: &'static str = "prekeys";
    const ABOUT: &'static str = "A pre-key bundle from a merchant's secrets; `signed` is what Ed25519 signs.";
    type Given = ();
    type Input = PrekeyInput;
    type Output = PrekeyOutput;

    fn cases() -> Vec<Planned<PrekeyInput>> {
        let input = |merchant: &str, index, secrets: &str| PrekeyInput {
            merchant: shop(merchant),
            identity_seed: fixed("identity of shop-1").into(),
            index,
            channel_secret: fixed(&format!("C {secrets}")).into(),
            mask_secret: fixed(&format!("S {secrets}")).into(),
        };
        let rfc = PrekeyInput {
            // RFC 7748 §6.1: the two ends' secret keys.
            channel_secret: Hex::from(HEXLOWER.decode(ALICE.as_bytes()).expect("hex")),
            mask_secret: Hex::from(HEXLOWER.decode(BOB.as_bytes()).expect("hex")),
            ..input("a", u64::MAX, "")
        };
        vec![
            good("the first pre-key of a merchant", input("shop-1", 0, "one")),
            good("the longest name, a later index", input(&"x".repeat(64), 258, "two")),
            good("the secret keys of RFC 7748, the highest index", rfc),
        ]
    }

    fn run(_: Option<&()>, input: &PrekeyInput) -> Result<PrekeyOutput, String> {
        let key = signing_key(&input.identity_seed);
        let mut secrets = Given::all(&[&input.channel_secret.0, &input.mask_secret.0]);
        let (bundle, _) = generate_prekey(&input.merchant, &key, input.index, &mut secrets).expect("given");
        let signed = signed(&input.merchant, &key.verifying_key(), &bundle);
        assert_eq!(key.sign_raw(&signed), bundle.signature);
        Ok(PrekeyOutput { identity: key.verifying_key(), signed: signed.into(), bundle })
    }
}

/// What Ed25519 signs, put together once more.
fn signed(merchant: &MerchantId, identity: &VerifyingKey, bundle: &PrekeyBundle) -> Vec<u8> {
    let index = bundle.index.to_be_bytes();
    let keys = [bundle.channel_key.0, bundle.mask_key.0].concat();
    let context: &[u8] = b"forecastle/secagg/prekey/v1\0";
    [context, merchant.as_str().as_bytes(), b"\0", &identity.0, &index, &keys].concat()
}

pub(super) struct Bundles;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct BundleInput {
    merchant: MerchantId,
    identity: VerifyingKey,
    bundle: PrekeyBundle,
}

impl BundleInput {
    /// With another mask key, signed by the merchant itself.
    fn resigned(&self, change: impl FnOnce(&mut PrekeyBundle)) -> Self {
        let mut input = self.clone();
        change(&mut input.bundle);
        let message = &signed(&input.merchant, &input.identity, &input.bundle)[PREKEY_CONTEXT.len() + 1..];
        input.bundle.signature = signing_key(&fixed("identity of shop-1").into()).sign(PREKEY_CONTEXT, message);
        input
    }
}

impl Topic for Bundles {
    const FILE: &'static str = "bundles";
    const ABOUT: &'static str = "Whether a pre-key bundle is a merchant's, and of use.";
    type Given = ();
    type Input = BundleInput;
    type Output = Accepted;

    fn cases() -> Vec<Planned<BundleInput>> {
        let key = signing_key(&fixed("identity of shop-1").into());
        let mut secrets = Given::all(&[&fixed("C one"), &fixed("S one")]);
        let (bundle, _) = generate_prekey(&shop("shop-1"), &key, 7, &mut secrets).expect("given");
        let own = BundleInput { merchant: shop("shop-1"), identity: key.verifying_key(), bundle };
        let with = |change: fn(&mut BundleInput)| {
            let mut input = own.clone();
            change(&mut input);
            input
        };
        let signature = "the signature covers merchant, identity key, index, C and S in this order";
        let weak = "no key is a point of low order";
        let reduced = "a key is below 2^255 - 19";
        // 2^255 - 256 + `first`.
        let near = |first| {
            let mut key = [0xff; 32];
            (key[0], key[31]) = (first, 0x7f);
            AgreementKey(key)
        };
        let mut cases = vec![
            good("a merchant's own bundle", own.clone()),
            bad("another merchant's name", signature, "Signature", with(|i| i.merchant = shop("shop-2"))),
            bad(
                "another identity key",
                signature,
                "Signature",
                with(|i| i.identity = signing_key(&fixed("identity of shop-2").into()).verifying_key()),
            ),
            bad("another index", signature, "Signature", with(|i| i.bundle.index = 8)),
            bad(
                "C and S exchanged",
                signature,
                "Signature",
                with(|i| std::mem::swap(&mut i.bundle.channel_key, &mut i.bundle.mask_key)),
            ),
            bad("one bit of the signature changed", signature, "Signature", with(|i| i.bundle.signature.0[0] ^= 1)),
            bad("one key in both roles", "C and S differ", "WeakKey", own.resigned(|b| b.mask_key = b.channel_key)),
            bad("S with its highest bit set", reduced, "WeakKey", own.resigned(|b| b.mask_key.0[31] |= 0x80)),
            bad(
                "C is 9 + 2^255 - 19, which is 9 once more",
                reduced,
                "WeakKey",
                own.resigned(|b| b.channel_key = near(0xf6)),
            ),
            good("C is 2^255 - 21, the largest of use", own.resigned(|b| b.channel_key = near(0xeb))),
            bad("C of low order: 0", weak, "WeakKey", own.resigned(|b| b.channel_key = low_order(0))),
        ];
        for (position, (name, _)) in LOW_ORDER.iter().enumerate() {
            cases.push(bad(
                format!("S of low order: {name}"),
                weak,
                "WeakKey",
                own.resigned(|b| b.mask_key = low_order(position)),
            ));
        }
        cases
    }

    fn run(_: Option<&()>, input: &BundleInput) -> Result<Accepted, String> {
        input.bundle.verify(&input.merchant, &input.identity).map(|()| ACCEPTED).map_err(|error| variant(&error))
    }
}

#[test]
fn a_signature_over_other_bytes_is_no_bundle() {
    // The helper that re-signs bad bundles signs what is verified, or they would be refused for the wrong reason.
    let cases = Bundles::cases();
    let again = cases[0].input.resigned(|_| ());
    assert_ne!(again.bundle.signature, Signature([0; 64]));
    assert_eq!(again.bundle.signature, cases[0].input.bundle.signature);
}
