//! Joint samples of many nodes from their own distributions: which of them are high on the same day.
//!
//! An empirical copula: at T past steps each node's outcome had a level within its forecast; node by node these levels are
//! ranked, and sample t takes from every node the quantile of its rank at step t. So nodes that used to be high
//! together are so in the samples, while each node's samples keep its own distribution (Clark et al. 2004; Ben Taieb,
//! Taylor and Hyndman 2021). A step that is missing at a node has a rank at random.
//!
//! With fewer than [`STEPS_MIN`] past steps nothing is known of who moves with whom: ranks are drawn independently, which
//! makes totals look too certain.

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// Samples drawn, at least.
const SAMPLES: usize = 240;
/// Past steps from which on they join nodes.
pub(super) const STEPS_MIN: usize = 14;
const SEED: u64 = 0x746f_7461_6c73;

/// For each sample a level, strictly between 0 and 1, of each node in turn.
pub(super) struct Copula {
    steps: usize,
    samples: usize,
    rng: ChaCha8Rng,
}

impl Copula {
    /// Of `steps` past steps.
    pub(super) fn new(steps: usize) -> Self {
        let known = if steps < STEPS_MIN { 0 } else { steps };
        let samples = if known == 0 { SAMPLES } else { known * SAMPLES.div_ceil(known) };
        Self { steps: known, samples, rng: ChaCha8Rng::seed_from_u64(SEED) }
    }

    /// Number of samples.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Whether past steps join the nodes.
    pub(super) fn joins(&self) -> bool {
        self.steps > 0
    }

    /// Levels of the next node, `[samples]`; `past` are its levels at the past steps, `NaN` where missing.
    ///
    /// Every sample lies in a cell of its own of 1/samples, so that the node's distribution is kept.
    pub(super) fn levels(&mut self, past: &[f32]) -> Vec<f64> {
        let samples = self.samples;
        let mut order: Vec<usize> = (0..samples).collect();
        // Ties, and the copies of a step, are broken at random.
        order.shuffle(&mut self.rng);
        if self.steps > 0 {
            let known: Vec<f64> = (0..self.steps)
                .map(|step| match past.get(step) {
                    Some(level) if level.is_finite() => f64::from(*level),
                    _ => self.rng.random(),
                })
                .collect();
            order.sort_by(|a, b| known[a % self.steps].total_cmp(&known[b % self.steps]));
        }
        let mut levels = vec![0.0; samples];
        for (rank, sample) in order.into_iter().enumerate() {
            let inside: f64 = self.rng.random_range(0.05..0.95);
            levels[sample] = (rank as f64 + inside) / samples as f64;
        }
        levels
    }
}
