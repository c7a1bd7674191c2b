//! Poisson sampling: each series takes part in a round on its own coin of a public, fixed rate.
//!
//! Privacy amplification by sampling holds only while nobody can predict the coins, so they come from the
//! operating system's entropy. A seeded stream exists for simulations, under a name that says so.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use ring::rand::{SecureRandom, SystemRandom};

/// The operating system gave no entropy.
#[derive(Debug, thiserror::Error)]
#[error("the operating system's random source failed: nothing was sampled")]
pub struct EntropyError;

/// Source of sampling decisions.
pub struct Sampling(Source);

enum Source {
    System(SystemRandom),
    Seeded(Box<ChaCha20Rng>),
}

impl Sampling {
    /// Decisions that nobody can predict: the only source for real rounds.
    pub fn from_system() -> Self {
        Self(Source::System(SystemRandom::new()))
    }

    /// Reproducible decisions. Whoever knows the seed knows who took part, so amplification is void: simulations only.
    pub fn danger_seeded(seed: u64) -> Self {
        Self(Source::Seeded(Box::new(ChaCha20Rng::seed_from_u64(seed))))
    }

    /// Indices below `count`, each kept independently with probability `rate`, ascending.
    ///
    /// `rate` is rounded down to a multiple of 2⁻⁶⁴, so a series never takes part more often than is accounted for.
    ///
    /// # Errors
    /// [`EntropyError`] when the operating system fails.
    ///
    /// # Panics
    /// When `rate` is not within 0..=1.
    pub fn poisson(&mut self, count: usize, rate: f64) -> Result<Vec<usize>, EntropyError> {
        assert!((0.0..=1.0).contains(&rate), "a sampling rate lies within 0..=1");
        let threshold = (rate * 2f64.powi(64)) as u128;
        let mut kept = Vec::new();
        for index in 0..count {
            if u128::from(self.next()?) < threshold {
                kept.push(index);
            }
        }
        Ok(kept)
    }

    /// A number below `bound`, uniformly (by rejection).
    ///
    /// # Errors
    /// [`EntropyError`] when the operating system fails.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: usize) -> Result<usize, EntropyError> {
        assert!(bound > 0, "there is no number below 0");
        let bound = bound as u64;
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let drawn = self.next()?;
            if drawn < limit {
                return Ok((drawn % bound) as usize);
            }
        }
    }

    fn next(&mut self) -> Result<u64, EntropyError> {
        match &mut self.0 {
            Source::System(random) => {
                let mut bytes = [0; 8];
                random.fill(&mut bytes).map_err(|_| EntropyError)?;
                Ok(u64::from_le_bytes(bytes))
            }
            Source::Seeded(rng) => Ok(rng.next_u64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sampling;

    #[test]
    fn the_kept_share_is_the_rate() {
        // 20,000 coins of 0.25: six standard deviations are 367, exceeded by a fair coin once in 5·10⁸ seeds.
        let kept = Sampling::danger_seeded(3).poisson(20_000, 0.25).unwrap().len();
        assert!((4_633..=5_367).contains(&kept), "{kept}");
    }

    #[test]
    fn rates_zero_and_one_are_exact() {
        let mut sampling = Sampling::from_system();
        assert!(sampling.poisson(500, 0.0).unwrap().is_empty());
        assert_eq!(sampling.poisson(500, 1.0).unwrap(), (0..500).collect::<Vec<_>>());
    }

    #[test]
    fn equal_seeds_sample_alike_and_others_do_not() {
        let draw = |seed| Sampling::danger_seeded(seed).poisson(100, 0.5).unwrap();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(Sampling::from_system().poisson(100, 0.5).unwrap(), draw(1));
    }

    #[test]
    fn bounded_numbers_reach_every_value_below_the_bound() {
        let mut sampling = Sampling::danger_seeded(5);
        let mut seen = [0; 7];
        for _ in 0..7_000 {
            seen[sampling.below(7).unwrap()] += 1;
        }
        // Mean 1,000, standard deviation 29.3: six of them.
        assert!(seen.iter().all(|&n| (824..=1_176).contains(&n)), "{seen:?}");
    }
}
