//! Where random bytes come from.
//!
//! Protocol code never reaches for a generator on its own: it is handed an [`Entropy`], so that a run can be
//! replayed in a test and so that nobody has to search for hidden calls to the operating system. The invariant:
//! outside tests and simulations the bytes are the operating system's, and the one other implementation carries
//! `danger` in its constructor's name.
//!
//! Left out on purpose: reproducible generators for sampling training windows. Those are not secret and live with
//! the training code.

use aes::Aes256;
use ctr::cipher::{KeyIvInit, StreamCipher};
use ring::rand::{SecureRandom, SystemRandom};

/// The operating system refused to give random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system's random generator gave no bytes; nothing secret can be made on this machine now")]
pub struct EntropyUnavailable;

/// A source of secret random bytes.
pub trait Entropy {
    /// Fills `out` entirely with fresh bytes.
    ///
    /// # Errors
    /// [`EntropyUnavailable`] when the source has none; `out` is then not to be used.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyUnavailable>;
}

/// The operating system's generator, through ring.
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// A handle; it holds no state of its own.
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyUnavailable> {
        self.0.fill(out).map_err(|_| EntropyUnavailable)
    }
}

/// AES-256 in counter mode under a known key: every byte can be predicted by whoever knows the seed.
pub struct SeededEntropy(ctr::Ctr128BE<Aes256>);

impl SeededEntropy {
    /// A replayable stream for tests and simulations. Keys, masks or noise made from it protect nobody.
    pub fn danger_from_seed(seed: [u8; 32]) -> Self {
        Self(ctr::Ctr128BE::new(&seed.into(), &[0u8; 16].into()))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyUnavailable> {
        out.fill(0);
        self.0.try_apply_keystream(out).map_err(|_| EntropyUnavailable)
    }
}

/// `N` fresh bytes.
pub(crate) fn array<const N: usize>(
    entropy: &mut dyn Entropy,
) -> Result<zeroize::Zeroizing<[u8; N]>, EntropyUnavailable> {
    let mut out = zeroize::Zeroizing::new([0u8; N]);
    entropy.fill(out.as_mut_slice())?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_and_two_seeds_differ() {
        let draw = |seed: u8| {
            let mut out = [0u8; 64];
            SeededEntropy::danger_from_seed([seed; 32]).fill(&mut out).expect("a keystream of 64 bytes");
            out
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn the_system_gives_different_bytes_each_time() {
        let mut entropy = SystemEntropy::new();
        let a = array::<32>(&mut entropy).expect("system entropy");
        let b = array::<32>(&mut entropy).expect("system entropy");
        assert_ne!(*a, *b); // equal with probability 2^-256
    }
}
