//! Keys of a merchant's data: pseudonyms for customers, and the order in which contribution bounds take lines.
//!
//! Both keys are derived by HMAC-SHA-256 (RFC 2104, ring) from one secret that never leaves the machine. Without it a
//! pseudonym cannot be tried against a list of known customer ids. The secret is kept for as long as the data is:
//! the same customer must map to the same pseudonym in every import.

use ring::{hmac, rand::SecureRandom as _};
use zeroize::Zeroizing;

use super::order::CustomerPseudonym;

/// Bytes of the secret.
pub const SECRET_LEN: usize = 32;

/// The secret from which the data keys are derived. Wiped from memory when dropped; has no `Debug`.
pub struct DataSecret(Zeroizing<[u8; SECRET_LEN]>);

impl DataSecret {
    /// A fresh secret from the operating system's generator; `None` when that fails.
    pub fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        ring::rand::SystemRandom::new().fill(bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }

    /// A secret read from its file; `None` when the length is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// The bytes, for the key file and nothing else.
    pub fn as_bytes(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }

    fn derive(&self, purpose: &str) -> hmac::Key {
        let root = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, purpose.as_bytes()).as_ref())
    }

    /// The key that turns customer ids into pseudonyms.
    pub fn pseudonym_key(&self) -> PseudonymKey {
        PseudonymKey(self.derive("forecastle customer pseudonym 1"))
    }

    /// The key that turns order numbers of erased customers into what is remembered of them.
    pub fn erased_order_key(&self) -> PseudonymKey {
        PseudonymKey(self.derive("forecastle erased order 1"))
    }

    /// The key that orders lines for the contribution bounds.
    pub fn contribution_key(&self) -> ContributionKey {
        ContributionKey(self.derive("forecastle contribution order 1"))
    }
}

/// Turns raw customer ids into pseudonyms.
pub struct PseudonymKey(hmac::Key);

impl PseudonymKey {
    /// The pseudonym of a raw customer id (its exact bytes after trimming).
    pub fn pseudonym(&self, raw: &str) -> CustomerPseudonym {
        let tag = hmac::sign(&self.0, raw.trim().as_bytes());
        CustomerPseudonym(std::array::from_fn(|i| tag.as_ref()[i]))
    }
}

/// Orders a customer's lines in a way nobody outside can predict or steer.
#[derive(Clone)]
pub struct ContributionKey(hmac::Key);

impl ContributionKey {
    /// A key that is kept nowhere, for data that are made up; `None` where the operating system has no entropy.
    pub fn ephemeral() -> Option<Self> {
        Some(DataSecret::generate()?.contribution_key())
    }

    /// Rank of a line given the canonical bytes of its identity.
    pub fn rank(&self, identity: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.0, identity);
        std::array::from_fn(|i| tag.as_ref()[i])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudonyms_are_stable_under_one_secret_and_unrelated_under_another() {
        let one = DataSecret::from_bytes(&[1; 32]).unwrap();
        let two = DataSecret::from_bytes(&[2; 32]).unwrap();
        assert_eq!(one.pseudonym_key().pseudonym("17850"), one.pseudonym_key().pseudonym(" 17850 "));
        assert_ne!(one.pseudonym_key().pseudonym("17850"), two.pseudonym_key().pseudonym("17850"));
        assert_ne!(one.pseudonym_key().pseudonym("17850"), one.pseudonym_key().pseudonym("17851"));
    }

    #[test]
    fn the_purposes_never_share_a_key() {
        let secret = DataSecret::from_bytes(&[1; 32]).unwrap();
        let pseudonym = secret.pseudonym_key().pseudonym("x");
        assert_ne!(pseudonym.0[..], secret.contribution_key().rank(b"x")[..16]);
        assert_ne!(pseudonym, secret.erased_order_key().pseudonym("x"));
    }

    #[test]
    fn a_secret_of_another_length_is_refused() {
        assert!(DataSecret::from_bytes(&[0; 31]).is_none());
    }
}
