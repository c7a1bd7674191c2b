//! The keys of one participant in one round, and everything derived from them.
//!
//! Two X25519 pairs (RFC 7748): the *channel* key C encrypts shares to the other participants; the *mask* key S makes
//! the pairwise masks, and is the one that is secret-shared. Both are pre-keys: generated and signed ahead of time,
//! used in one round. Everything derived is bound to `sid`, the SHA-256 of the round's offer, through HKDF-SHA-256
//! (RFC 5869), so nothing carries over between rounds.
//!
//! The invariant: a public key whose shared secret is all zero (a point of low order) is refused wherever a secret is
//! agreed on, and a signed key has one form, so that comparing bytes is comparing keys. Left out on purpose: storage; [`PrekeySecret::to_bytes`] is for a file of mode 0600 that is deleted
//! *before* the pre-key is used.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::participants::ParticipantNumber;
use crate::entropy::{self, Entropy, EntropyUnavailable};
use crate::identity::{BadSignature, MerchantId, Sha256Digest, Signature, SigningKey, VerifyingKey, hex_bytes, sha256};

/// What pre-key bundles are signed for.
pub const PREKEY_CONTEXT: &str = "forecastle/secagg/prekey/v1";

/// A round's name: SHA-256 of the offer's bytes.
pub type Sid = Sha256Digest;

/// A public X25519 key. Text form: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgreementKey(pub [u8; 32]);
hex_bytes!(AgreementKey, 32);

impl AgreementKey {
    /// Whether X25519 could have given it: as a little-endian number it is below 2^255 − 19. Other bytes are taken for one
    /// that is (RFC 7748, section 5), so that one key would have several forms.
    fn is_reduced(&self) -> bool {
        let [first, middle @ .., last] = &self.0;
        *last < 0x7f || *last == 0x7f && (*first < 0xed || middle.iter().any(|byte| *byte != 0xff))
    }
}

/// The public half of a one-time pre-key, signed by its merchant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrekeyBundle {
    /// Position in the merchant's sequence of pre-keys; never used twice.
    pub index: u64,
    /// C, under which shares are encrypted to this participant.
    pub channel_key: AgreementKey,
    /// S, from which pairwise masks come.
    pub mask_key: AgreementKey,
    /// The merchant's signature over its name, its identity key, the index and both keys.
    pub signature: Signature,
}

/// Why a bundle is not its merchant's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The signature does not verify under the merchant's identity key.
    #[error("pre-key {index} of {merchant} is not signed by it: {source}")]
    Signature {
        /// Whose bundle it should be.
        merchant: MerchantId,
        /// The bundle's index.
        index: u64,
        /// What failed.
        source: BadSignature,
    },
    /// One key in both roles, a point of low order, or a number that X25519 gives nobody.
    #[error("pre-key {index} of {merchant} holds a key of low order, one that X25519 never gives, or one twice")]
    WeakKey {
        /// Whose bundle it is.
        merchant: MerchantId,
        /// The bundle's index.
        index: u64,
    },
}

impl PrekeyBundle {
    /// Checks that `merchant`, whose identity key is `identity`, made this bundle, and that its keys are usable.
    ///
    /// # Errors
    /// [`BundleError`] names the merchant and the index.
    pub fn verify(&self, merchant: &MerchantId, identity: &VerifyingKey) -> Result<(), BundleError> {
        let message = signed_bytes(merchant, identity, self.index, &self.channel_key, &self.mask_key);
        identity.verify(PREKEY_CONTEXT, &message, &self.signature).map_err(|source| BundleError::Signature {
            merchant: merchant.clone(),
            index: self.index,
            source,
        })?;
        // Any scalar sends a point of low order to zero; this fixed one is as good as a secret one.
        let probe = StaticSecret::from([0x40; 32]);
        let is_usable =
            |key: &AgreementKey| key.is_reduced() && probe.diffie_hellman(&PublicKey::from(key.0)).was_contributory();
        if self.channel_key == self.mask_key || !is_usable(&self.channel_key) || !is_usable(&self.mask_key) {
            return Err(BundleError::WeakKey { merchant: merchant.clone(), index: self.index });
        }
        Ok(())
    }
}

fn signed_bytes(
    merchant: &MerchantId,
    identity: &VerifyingKey,
    index: u64,
    channel: &AgreementKey,
    mask: &AgreementKey,
) -> Vec<u8> {
    // A merchant id holds no zero byte, so the boundary is unambiguous.
    [merchant.as_str().as_bytes(), &[0], &identity.0, &index.to_be_bytes(), &channel.0, &mask.0].concat()
}

/// The private half of a pre-key. No `Debug`; wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct PrekeySecret {
    index: u64,
    channel: [u8; 32],
    mask: [u8; 32],
}

/// Bytes that are no stored pre-key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored pre-key has {length} bytes, found {0}; the file is damaged: delete it and publish a new pre-key", length = PrekeySecret::LENGTH)]
pub struct PrekeyLengthError(usize);

impl PrekeySecret {
    /// Bytes in stored form: index (big-endian), C, S.
    pub const LENGTH: usize = 72;

    /// The index that the bundle carries.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The stored form.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.index.to_be_bytes().as_slice(), &self.channel, &self.mask].concat())
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`PrekeyLengthError`] when the length is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PrekeyLengthError> {
        let refused = || PrekeyLengthError(bytes.len());
        let bytes: &[u8; Self::LENGTH] = bytes.try_into().map_err(|_| refused())?;
        let (mut index, mut channel, mut mask) = ([0; 8], [0; 32], [0; 32]);
        index.copy_from_slice(&bytes[..8]);
        channel.copy_from_slice(&bytes[8..40]);
        mask.copy_from_slice(&bytes[40..]);
        let secret = Self { index: u64::from_be_bytes(index), channel, mask };
        channel.zeroize();
        mask.zeroize();
        Ok(secret)
    }

    /// Whether `bundle` is this secret's public half.
    pub fn bundle_matches(&self, bundle: &PrekeyBundle) -> bool {
        self.index == bundle.index
            && public_of(&self.channel) == bundle.channel_key
            && public_of(&self.mask) == bundle.mask_key
    }

    pub(super) fn channel(&self) -> &[u8; 32] {
        &self.channel
    }

    pub(super) fn mask(&self) -> &[u8; 32] {
        &self.mask
    }
}

/// Makes the pre-key `index` of `merchant` and signs its public half. The secret is stored before the bundle is
/// published; a crash in between wastes an index and nothing else.
///
/// # Errors
/// [`EntropyUnavailable`].
pub fn generate_prekey(
    merchant: &MerchantId,
    identity: &SigningKey,
    index: u64,
    entropy: &mut dyn Entropy,
) -> Result<(PrekeyBundle, PrekeySecret), EntropyUnavailable> {
    let channel = *entropy::array::<32>(entropy)?;
    let mask = *entropy::array::<32>(entropy)?;
    let secret = PrekeySecret { index, channel, mask };
    let (channel_key, mask_key) = (public_of(&secret.channel), public_of(&secret.mask));
    let message = signed_bytes(merchant, &identity.verifying_key(), index, &channel_key, &mask_key);
    let bundle = PrekeyBundle { index, channel_key, mask_key, signature: identity.sign(PREKEY_CONTEXT, &message) };
    Ok((bundle, secret))
}

/// X25519(secret, 9).
pub(super) fn public_of(secret: &[u8; 32]) -> AgreementKey {
    AgreementKey(PublicKey::from(&StaticSecret::from(*secret)).to_bytes())
}

/// The other key is a point of low order: the agreed secret would be the same for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LowOrder;

/// Purposes that keys are derived for. The numbers after the label keep directions and pairs apart.
#[derive(Clone, Copy)]
enum Purpose {
    Shares,
    PairMask,
    SelfMask,
}

/// HKDF-SHA-256 with sid as salt; the label, then two numbers of two bytes each, big-endian.
fn derive(sid: &Sid, secret: &[u8; 32], purpose: Purpose, numbers: [u16; 2]) -> Zeroizing<[u8; 32]> {
    let label: &[u8] = match purpose {
        Purpose::Shares => b"forecastle/secagg/shares/v1\0",
        Purpose::PairMask => b"forecastle/secagg/pair-mask/v1\0",
        Purpose::SelfMask => b"forecastle/secagg/self-mask/v1\0",
    };
    let mut out = Zeroizing::new([0u8; 32]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, &sid.0)
        .extract(secret)
        .expand(&[label, numbers.map(u16::to_be_bytes).as_flattened()], hkdf::HKDF_SHA256)
        .and_then(|key| key.fill(out.as_mut_slice()))
        .expect("invariant: 32 bytes are one block of HKDF-SHA-256");
    out
}

fn agree(own: &[u8; 32], other: &AgreementKey) -> Result<Zeroizing<[u8; 32]>, LowOrder> {
    let shared = StaticSecret::from(*own).diffie_hellman(&PublicKey::from(other.0));
    if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(LowOrder) }
}

/// The seed of the mask between `a` and `b`, the same from either end.
pub(super) fn pair_seed(
    sid: &Sid,
    own_secret: &[u8; 32],
    own: ParticipantNumber,
    other_key: &AgreementKey,
    other: ParticipantNumber,
) -> Result<Zeroizing<[u8; 32]>, LowOrder> {
    let shared = agree(own_secret, other_key)?;
    Ok(derive(sid, &shared, Purpose::PairMask, [own.min(other).get(), own.max(other).get()]))
}

/// The key of `owner`'s own mask, from its seed b.
pub(super) fn self_mask_key(sid: &Sid, seed: &[u8; 32], owner: ParticipantNumber) -> Zeroizing<[u8; 32]> {
    derive(sid, seed, Purpose::SelfMask, [owner.get(), 0])
}

/// H(b): commits `owner` to its self-mask seed b in this round.
pub(super) fn commitment(sid: &Sid, seed: &[u8; 32], owner: ParticipantNumber) -> Sha256Digest {
    let message =
        Zeroizing::new([b"forecastle/secagg/commitment/v1\0".as_slice(), &sid.0, &owner.to_bytes(), seed].concat());
    sha256(&message)
}

/// What two participants' channel keys agree on: both directions' keys come from it.
pub(super) struct ChannelSecret(Zeroizing<[u8; 32]>);

impl ChannelSecret {
    /// `own_secret` is the secret C of either end, `other_key` the public C of the other.
    pub(super) fn agree(own_secret: &[u8; 32], other_key: &AgreementKey) -> Result<Self, LowOrder> {
        agree(own_secret, other_key).map(Self)
    }
}

/// The authenticated channel from one participant to another within one round.
pub(super) struct Channel {
    key: LessSafeKey,
    associated: [u8; 36],
}

impl Channel {
    /// Bytes that encryption adds: nonce and tag.
    pub(super) const OVERHEAD: usize = NONCE_LEN + 16;

    /// The channel `from` → `to`.
    pub(super) fn new(sid: &Sid, secret: &ChannelSecret, from: ParticipantNumber, to: ParticipantNumber) -> Self {
        let key = derive(sid, &secret.0, Purpose::Shares, [from.get(), to.get()]);
        let key = UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("invariant: AES-256 takes 32 bytes");
        let mut associated = [0; 36];
        associated[..32].copy_from_slice(&sid.0);
        associated[32..34].copy_from_slice(&from.to_bytes());
        associated[34..].copy_from_slice(&to.to_bytes());
        Self { key: LessSafeKey::new(key), associated }
    }

    /// Encrypts; the nonce is fresh although the key serves one message, so that not even a restored machine repeats
    /// one.
    pub(super) fn seal(&self, plain: &[u8], entropy: &mut dyn Entropy) -> Result<Vec<u8>, EntropyUnavailable> {
        let nonce = *entropy::array::<NONCE_LEN>(entropy)?;
        let mut body = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&self.associated), &mut body)
            .expect("invariant: the plaintext is far below the limit of AES-GCM");
        Ok([nonce.as_slice(), &body].concat())
    }

    /// Decrypts; `None` when the bytes were not sealed by the other end for this direction and round.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, Aad::from(&self.associated), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    fn number(n: u16) -> ParticipantNumber {
        ParticipantNumber::new(n).expect("not zero")
    }

    fn bytes(text: &str) -> [u8; 32] {
        crate::identity::parse_hex(text).expect("hex")
    }

    fn made(index: u64) -> (MerchantId, SigningKey, PrekeyBundle, PrekeySecret) {
        let merchant: MerchantId = "shop-1".parse().expect("an id");
        let key = SigningKey::generate().expect("entropy");
        let (bundle, secret) =
            generate_prekey(&merchant, &key, index, &mut SeededEntropy::danger_from_seed([3; 32])).expect("entropy");
        (merchant, key, bundle, secret)
    }

    #[test]
    fn rfc_7748_section_6_1_agrees() {
        let a = bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let b = bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let shared = bytes("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(public_of(&a).0, bytes("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
        assert_eq!(public_of(&b).0, bytes("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
        assert_eq!(*agree(&a, &public_of(&b)).expect("no low order"), shared);
        assert_eq!(*agree(&b, &public_of(&a)).expect("no low order"), shared);
    }

    #[test]
    fn bundles_are_bound_to_merchant_identity_index_and_keys() {
        let (merchant, key, bundle, secret) = made(7);
        let identity = key.verifying_key();
        assert!(bundle.verify(&merchant, &identity).is_ok());
        assert!(secret.bundle_matches(&bundle));
        let other = SigningKey::generate().expect("entropy").verifying_key();
        let stranger: MerchantId = "shop-2".parse().expect("an id");
        assert!(matches!(bundle.verify(&stranger, &identity), Err(BundleError::Signature { .. })));
        assert!(matches!(bundle.verify(&merchant, &other), Err(BundleError::Signature { .. })));
        let swapped = PrekeyBundle { channel_key: bundle.mask_key, mask_key: bundle.channel_key, ..bundle.clone() };
        let renumbered = PrekeyBundle { index: 8, ..bundle };
        for forged in [swapped, renumbered] {
            assert!(matches!(forged.verify(&merchant, &identity), Err(BundleError::Signature { .. })));
            assert!(!secret.bundle_matches(&forged));
        }
    }

    #[test]
    fn signed_points_of_low_order_are_refused() {
        let (merchant, key, bundle, _) = made(1);
        let identity = key.verifying_key();
        let mut one = [0; 32];
        one[0] = 1;
        for weak in [AgreementKey([0; 32]), AgreementKey(one), bundle.channel_key] {
            let message = signed_bytes(&merchant, &identity, 1, &bundle.channel_key, &weak);
            let signature = key.sign(PREKEY_CONTEXT, &message);
            let forged = PrekeyBundle { mask_key: weak, signature, ..bundle.clone() };
            assert!(matches!(forged.verify(&merchant, &identity), Err(BundleError::WeakKey { .. })));
        }
        assert!(agree(&[5; 32], &AgreementKey([0; 32])).is_err());
        assert!(agree(&[5; 32], &AgreementKey(one)).is_err());
    }

    #[test]
    fn a_secret_survives_its_file() {
        let (_, _, bundle, secret) = made(9);
        let again = PrekeySecret::from_bytes(&secret.to_bytes()).expect("its own bytes");
        assert!(again.bundle_matches(&bundle));
        assert!(PrekeySecret::from_bytes(&secret.to_bytes()[1..]).is_err());
    }

    #[test]
    fn a_pair_has_one_seed_a_round() {
        let (a, b) = ([1; 32], [2; 32]);
        let (sid, other_sid) = (sha256(b"a"), sha256(b"b"));
        let seed = |sid, own, n, other, m| {
            *pair_seed(sid, own, number(n), &public_of(other), number(m)).expect("no low order")
        };
        assert_eq!(seed(&sid, &a, 1, &b, 2), seed(&sid, &b, 2, &a, 1));
        assert_ne!(seed(&sid, &a, 1, &b, 2), seed(&other_sid, &a, 1, &b, 2));
        assert_ne!(commitment(&sid, &a, number(1)), commitment(&other_sid, &a, number(1)));
        assert_ne!(commitment(&sid, &a, number(1)), commitment(&sid, &a, number(2)));
    }

    #[test]
    fn a_channel_opens_only_in_its_direction_round_and_whole() {
        let mut entropy = SeededEntropy::danger_from_seed([4; 32]);
        let (a, b) = ([1; 32], [2; 32]);
        let sid = sha256(b"round");
        let secret = |own, other| ChannelSecret::agree(own, &public_of(other)).expect("no low order");
        let to = Channel::new(&sid, &secret(&a, &b), number(1), number(2));
        let sealed = to.seal(b"shares", &mut entropy).expect("entropy");
        let at = |sid: &Sid, from, into| Channel::new(sid, &secret(&b, &a), number(from), number(into));
        assert_eq!(at(&sid, 1, 2).open(&sealed).as_deref().map(Vec::as_slice), Some(b"shares".as_slice()));
        assert!(at(&sid, 2, 1).open(&sealed).is_none());
        assert!(at(&sha256(b"other"), 1, 2).open(&sealed).is_none());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(at(&sid, 1, 2).open(&bad).is_none(), "byte {i}");
        }
        assert!(at(&sid, 1, 2).open(&sealed[..11]).is_none());
    }
}
