//! Dropout (Srivastava et al. 2014) on what a block adds to its tokens, for plain training of the whole network.
//!
//! Masks are drawn on the host from a seed, so that training is the same on every device and with any number of threads.
//! Never in a private step: a unit's gradient would carry noise that nobody accounts for as protection, and the plan's
//! clipping has no use for it.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Draws masks for one pass.
pub struct Dropout {
    rate: f32,
    rng: ChaCha8Rng,
}

impl Dropout {
    /// Elements are dropped with probability `rate`, in `0..1`.
    pub fn new(rate: f32, seed: u64) -> Self {
        Self { rate: rate.clamp(0.0, 0.95), rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// `x` with elements dropped, and the others raised so that the mean stays.
    pub(super) fn apply(&mut self, x: Tensor<3>, device: &Device) -> Tensor<3> {
        let kept = 1.0 / (1.0 - self.rate);
        let shape = x.dims();
        let mask: Vec<f32> = (0..shape.iter().product())
            .map(|_| if self.rng.random::<f32>() < self.rate { 0.0 } else { kept })
            .collect();
        x * Tensor::from_data(TensorData::new(mask, shape), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{device::passes::tests::floats, model::device};

    #[test]
    fn a_share_is_dropped_the_mean_stays_and_the_seed_decides() {
        let ones = || Tensor::<3>::ones([4, 50, 50], &device());
        let dropped = |seed| floats(Dropout::new(0.2, seed).apply(ones(), &device()));
        let values = dropped(1);
        let zeros = values.iter().filter(|v| **v == 0.0).count() as f32 / 10_000.0;
        assert!((zeros - 0.2).abs() < 0.02, "{zeros}");
        assert!((values.iter().sum::<f32>() / 10_000.0 - 1.0).abs() < 0.03);
        assert_eq!(values, dropped(1));
        assert_ne!(values, dropped(2));
        assert!(floats(Dropout::new(0.0, 1).apply(ones(), &device())).iter().all(|v| *v == 1.0));
    }
}
