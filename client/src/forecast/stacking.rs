//! Weights of a mix of ways, learnt from forecasts that were judged.
//!
//! The mix averages quantile functions; its weights are not negative, add up to 1 and make its quantile loss on the
//! remembered cells as small as it gets. That loss is convex in the weights, so entropic mirror descent (Beck and
//! Teboulle 2003) finds them; it stays on the simplex by itself. One vector of weights serves all of a merchant's
//! series: a series alone has too few cells to tell a dozen ways apart.
//!
//! Of each window so many cells are drawn at random, and old windows are forgotten: memory does not grow.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    metrics::{LEVELS, LEVELS_LEN},
    served::{Served, Way},
};

/// Cells that are remembered of a window, on average at most.
const CELLS: usize = 4_096;
/// Windows that are remembered.
const WINDOWS: usize = 8;
const STEPS: usize = 400;
/// Most that a step changes a logarithm of a weight.
const STRETCH: f64 = 2.0;
/// Weights below this are taken for none.
const WEIGHT_MIN: f64 = 0.01;

/// Judged cells of one window.
#[derive(Clone, Debug)]
pub struct Cells {
    ways: usize,
    share: f64,
    rng: ChaCha8Rng,
    actual: Vec<f32>,
    /// `[cell][way][9]`.
    quantiles: Vec<f32>,
    volume: f64,
}

impl Cells {
    /// Of a window with about `expected` cells; `number` makes its draw its own.
    pub fn new(ways: usize, expected: usize, number: usize) -> Self {
        let share = CELLS as f64 / expected.max(1) as f64;
        let rng = ChaCha8Rng::seed_from_u64(0x7374_6163 + number as u64);
        Self { ways, share, rng, actual: Vec::new(), quantiles: Vec::new(), volume: 0.0 }
    }

    /// Adds some of a series' cells: `actual` `[horizon]`, `NaN` where missing, and each way's quantiles.
    pub fn add(&mut self, actual: &[f32], forecasts: &[&[[f32; LEVELS_LEN]]]) {
        for (step, y) in actual.iter().enumerate().filter(|(_, y)| y.is_finite()) {
            if self.rng.random::<f64>() >= self.share {
                continue;
            }
            self.actual.push(*y);
            self.volume += f64::from(y.abs());
            forecasts.iter().for_each(|forecast| self.quantiles.extend(forecast[step]));
        }
    }
}

/// What is remembered of the windows so far.
#[derive(Clone, Debug, Default)]
pub struct Stacking {
    windows: VecDeque<Cells>,
}

impl Stacking {
    /// Remembers a window that is over. One in which only zeros came teaches nothing, as it has no relative error.
    pub fn add(&mut self, cells: Cells) {
        if cells.volume > 0.0 {
            self.windows.push_back(cells);
            self.windows.drain(..self.windows.len().saturating_sub(WINDOWS));
        }
    }

    /// The best mix of `ways` on the windows so far; all alike before the first.
    pub fn fit(&self, ways: &[Way]) -> Option<Served> {
        if self.windows.is_empty() {
            return Served::mix(ways.to_vec());
        }
        let mut weights = self.weights(ways.len());
        weights.iter_mut().filter(|weight| **weight < WEIGHT_MIN).for_each(|weight| *weight = 0.0);
        Served::weighted(ways.iter().copied().zip(weights))
    }

    fn weights(&self, ways: usize) -> Vec<f64> {
        let mut gradient = vec![0.0; ways];
        let mut best = (f64::INFINITY, Vec::new());
        let mut judge = |weights: &[f64], gradient: &mut [f64]| {
            let loss = self.loss(weights, gradient);
            if loss < best.0 {
                best = (loss, weights.to_vec());
            }
        };
        for way in 0..ways {
            let alone: Vec<f64> = (0..ways).map(|other| f64::from(u8::from(other == way))).collect();
            judge(&alone, &mut gradient);
        }
        let mut weights = vec![1.0 / ways as f64; ways];
        for step in 0..STEPS {
            judge(&weights, &mut gradient);
            let mean: f64 = weights.iter().zip(&gradient).map(|(weight, g)| weight * g).sum();
            let square: f64 = weights.iter().zip(&gradient).map(|(weight, g)| weight * (g - mean).powi(2)).sum();
            if square.sqrt() <= 1e-9 * mean.abs() {
                break;
            }
            // By how far the ways in use differ: one that is far off, and has no weight left, slows nobody down.
            let rate = 1.0 / ((step + 1) as f64).sqrt() / square.sqrt();
            for (weight, g) in weights.iter_mut().zip(&gradient) {
                *weight = (*weight * (-rate * (g - mean)).clamp(-STRETCH, STRETCH).exp()).max(1e-9);
            }
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        best.1
    }

    /// Mean over windows of the weighted quantile loss of the mix, and its gradient by the weights.
    fn loss(&self, weights: &[f64], gradient: &mut [f64]) -> f64 {
        gradient.fill(0.0);
        let mut total = 0.0;
        for window in &self.windows {
            let unit = 2.0 / (window.volume * LEVELS_LEN as f64 * self.windows.len() as f64);
            for (y, cell) in window.actual.iter().zip(window.quantiles.chunks_exact(window.ways * LEVELS_LEN)) {
                for (level, tau) in LEVELS.iter().enumerate() {
                    let of = |way: usize| f64::from(cell[way * LEVELS_LEN + level]);
                    let mixed: f64 = weights.iter().enumerate().map(|(way, weight)| weight * of(way)).sum();
                    let error = f64::from(*y) - mixed;
                    let slope = unit * if error > 0.0 { -tau } else { 1.0 - tau };
                    total -= slope * error;
                    gradient.iter_mut().enumerate().for_each(|(way, g)| *g += slope * of(way));
                }
            }
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::metrics::{ScoredForecast, score},
        *,
    };

    const WAYS: [Way; 3] = [Way::Model, Way::Personal, Way::NoFederation];

    /// Two ways that err on opposite sides of what comes, and one that is far off.
    fn cells(number: usize) -> (Cells, Vec<f32>, [Vec<[f32; LEVELS_LEN]>; 3]) {
        let mut rng = ChaCha8Rng::seed_from_u64(number as u64);
        let actual: Vec<f32> = (0..400).map(|_| rng.random_range(5.0_f32..15.0)).collect();
        let around = |middle: f32| std::array::from_fn(|level| middle + level as f32 - 4.0);
        let of = |bias: f32| (0..400).map(|_| around(10.0 + bias)).collect::<Vec<_>>();
        let forecasts = [of(3.0), of(-1.0), of(60.0)];
        let mut cells = Cells::new(3, 400, number);
        cells.add(&actual, &[&forecasts[0], &forecasts[1], &forecasts[2]]);
        (cells, actual, forecasts)
    }

    #[test]
    fn weights_are_as_good_as_the_best_of_a_grid() {
        let (cells, actual, forecasts) = cells(1);
        assert_eq!(cells.actual.len(), 400);
        let mut stacking = Stacking::default();
        stacking.add(cells);
        let wql = |served: &Served| {
            let of = |way: &Way| &forecasts[WAYS.iter().position(|known| known == way).unwrap()][..];
            let quantiles = served.averaged(&served.members().iter().map(of).collect::<Vec<_>>());
            score(1, &[ScoredForecast { past: &[], actual: &actual, quantiles: &quantiles }]).unwrap().wql
        };
        let found = stacking.fit(&WAYS).unwrap();
        let mut best = f64::INFINITY;
        for a in 0..=50 {
            for b in 0..=50 - a {
                let weights = [a, b, 50 - a - b].map(|w| f64::from(w) / 50.0);
                best = best.min(wql(&Served::weighted(WAYS.into_iter().zip(weights)).unwrap()));
            }
        }
        assert!(wql(&found) < best * 1.001, "{found} {} {best}", wql(&found));
        assert_eq!(found.members(), [Way::Model, Way::Personal]);
        // The loss that is minimised is the one that is reported.
        let mut gradient = [0.0; 3];
        assert!((stacking.loss(&[1.0, 0.0, 0.0], &mut gradient) - wql(&Served::one(Way::Model))).abs() < 1e-9);
        let step = 1e-4;
        let moved =
            stacking.loss(&[1.0 + step, 0.0, 0.0], &mut [0.0; 3]) - stacking.loss(&[1.0, 0.0, 0.0], &mut [0.0; 3]);
        assert!((moved / step - gradient[0]).abs() < 1e-2 * gradient[0].abs(), "{} {}", moved / step, gradient[0]);
    }

    #[test]
    fn a_way_that_is_always_right_gets_everything() {
        let actual = [4.0_f32, 9.0, f32::NAN, 2.0];
        let right: Vec<[f32; LEVELS_LEN]> =
            actual.iter().map(|y| [if y.is_finite() { *y } else { 0.0 }; LEVELS_LEN]).collect();
        let wrong = vec![[7.0; LEVELS_LEN]; 4];
        let mut cells = Cells::new(2, 4, 0);
        cells.add(&actual, &[&wrong, &right]);
        let mut stacking = Stacking::default();
        stacking.add(cells);
        assert_eq!(stacking.fit(&WAYS[..2]), Some(Served::one(Way::Personal)));
    }

    #[test]
    fn memory_is_bounded_and_nothing_teaches_nothing() {
        let mut stacking = Stacking::default();
        assert_eq!(stacking.fit(&WAYS), Served::mix(WAYS.to_vec()));
        let mut zeros = Cells::new(3, 1, 0);
        zeros.add(&[0.0], &[&[[1.0; LEVELS_LEN]], &[[2.0; LEVELS_LEN]], &[[3.0; LEVELS_LEN]]]);
        stacking.add(zeros);
        assert_eq!(stacking.fit(&WAYS), Served::mix(WAYS.to_vec()));
        let one = vec![[1.0; LEVELS_LEN]; 1_000];
        let mut many = Cells::new(3, 40_000, 2);
        (0..40).for_each(|_| many.add(&[2.0; 1_000], &[&one, &one, &one]));
        // Ten deviations of a binomial count.
        assert!(many.actual.len().abs_diff(CELLS) < 640, "{}", many.actual.len());
        (0..20).for_each(|number| stacking.add(cells(number).0));
        assert_eq!(stacking.windows.len(), WINDOWS);
    }
}
