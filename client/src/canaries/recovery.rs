//! Which canaries were inside, from released sums: the best linear estimate of their coins.
//!
//! Round t releases R_t = Σₖ sₖ·b_tk·gₖ + noise over all series k: sₖ ∈ {0, 1} is the coin of its canary, or 1 where it is the
//! merchant's own, gₖ what it adds on average, and b_tk = 1/q where it was sampled, else 0. Let R be the mean over T
//! rounds. With coins ½ ± ½ beforehand, r = R − Σₖ E[sₖ]·gₖ has mean 0 and covariance
//!
//! Σ = ¼ Σᵢ hᵢhᵢᵀ + (1 − q)/(qT) Σₖ E[sₖ]·gₖgₖᵀ + v·I, where hᵢ is the sum of canary i's gₖ and v the noise's variance in R,
//!
//! and the best linear estimate of canary i's coin is ½ + ¼ hᵢᵀ Σ⁻¹ r.

/// Relative size of the least noise that is reckoned with: it keeps Σ invertible.
const NOISE_LEAST: f64 = 1e-4;

/// What was seen so far, and what is known beforehand.
pub(super) struct Recovery {
    /// What each series adds on average, `[series][d]`.
    directions: Vec<Vec<f64>>,
    /// Which canary's each is, if any's.
    owners: Vec<Option<usize>>,
    canaries: usize,
    /// q.
    rate: f64,
    /// Sum over rounds, `[d]`.
    seen: Vec<f64>,
    rounds: usize,
}

impl Recovery {
    /// For series of `owners` that add `directions`, `[series][d]`, when each is sampled with probability `rate`.
    pub(super) fn new(directions: Vec<Vec<f64>>, owners: Vec<Option<usize>>, canaries: usize, rate: f64) -> Self {
        let dimension = directions.first().map_or(0, Vec::len);
        Self { directions, owners, canaries, rate, seen: vec![0.0; dimension], rounds: 0 }
    }

    /// A round's released vector, `[d]`.
    pub(super) fn add(&mut self, seen: &[f64]) {
        add(&mut self.seen, 1.0, seen);
        self.rounds += 1;
    }

    /// A score for each canary, the higher, the more likely it was inside: right for noise of variance `noise` in each
    /// coordinate of one round.
    pub(super) fn scores(&self, noise: f64) -> Vec<f64> {
        let rounds = self.rounds.max(1) as f64;
        let mut rest: Vec<f64> = self.seen.iter().map(|sum| sum / rounds).collect();
        let mut whole = vec![vec![0.0; rest.len()]; self.canaries];
        let chance = |owner: Option<usize>| if owner.is_some() { 0.5 } else { 1.0 };
        for (direction, &owner) in self.directions.iter().zip(&self.owners) {
            add(&mut rest, -chance(owner), direction);
            if let Some(owner) = owner {
                add(&mut whole[owner], 1.0, direction);
            }
        }
        let sampling = (1.0 - self.rate) / (self.rate * rounds);
        let energy = whole.iter().map(|one| dot(one, one)).sum::<f64>() / rest.len().max(1) as f64;
        let variance = (noise / rounds).max(NOISE_LEAST * energy);
        if variance <= 0.0 {
            return vec![0.0; self.canaries];
        }
        let covariance = |x: &[f64]| {
            let mut image: Vec<f64> = x.iter().map(|x| variance * x).collect();
            whole.iter().for_each(|one| add(&mut image, 0.25 * dot(one, x), one));
            for (one, &owner) in self.directions.iter().zip(&self.owners) {
                add(&mut image, chance(owner) * sampling * dot(one, x), one);
            }
            image
        };
        let solved = solve(covariance, &rest);
        whole.iter().map(|one| dot(one, &solved)).collect()
    }
}

/// Solves A x = b for a positive definite A by conjugate gradients (Hestenes, Stiefel 1952).
fn solve(times: impl Fn(&[f64]) -> Vec<f64>, b: &[f64]) -> Vec<f64> {
    let mut solution = vec![0.0; b.len()];
    let mut residual = b.to_vec();
    let mut direction = residual.clone();
    let mut length = dot(&residual, &residual);
    let enough = 1e-24 * length;
    for _ in 0..20 * b.len() {
        if length <= enough {
            break;
        }
        let image = times(&direction);
        let step = length / dot(&direction, &image);
        add(&mut solution, step, &direction);
        add(&mut residual, -step, &image);
        let next = dot(&residual, &residual);
        direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + next / length * *d);
        length = next;
    }
    solution
}

fn add(total: &mut [f64], times: f64, x: &[f64]) {
    total.iter_mut().zip(x).for_each(|(total, x)| *total += times * x);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    #[test]
    fn without_noise_the_surest_guesses_are_right() {
        assert_eq!(told(0.0), 30);
    }

    #[test]
    fn in_noise_that_drowns_them_coins_are_guessed() {
        // 30 coins by chance: mean 15, standard deviation 2.7; more than 26 once in 10⁵ seeds.
        assert!((4..=26).contains(&told(1e4)));
    }

    /// 60 canaries of two series that resemble each other, beside 10 series of the merchant's, in 20 rounds of 200
    /// coordinates; how many of the 30 surest guesses are right.
    fn told(noise: f64) -> usize {
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        let inside: Vec<bool> = (0..60).map(|_| rng.random()).collect();
        let owners: Vec<Option<usize>> = (0..130).map(|series| (series < 120).then_some(series / 2)).collect();
        let common: Vec<f64> = (0..200).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut direction =
            || -> Vec<f64> { common.iter().map(|c| 0.25 * (c + rng.random_range(-0.5..0.5))).collect() };
        let directions: Vec<Vec<f64>> = owners.iter().map(|_| direction()).collect();
        let mut recovery = Recovery::new(directions.clone(), owners.clone(), 60, 0.25);
        for _ in 0..20 {
            let mut seen: Vec<f64> = (0..200).map(|_| noise * rng.random_range(-1.0..1.0)).collect();
            for (direction, _) in directions.iter().zip(&owners).filter(|(_, o)| o.is_none_or(|o| inside[o])) {
                if rng.random::<f64>() < 0.25 {
                    add(&mut seen, 4.0, direction);
                }
            }
            recovery.add(&seen);
        }
        let scores = recovery.scores(noise * noise / 3.0);
        let mut order: Vec<usize> = (0..60).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        order[..15].iter().filter(|&&i| inside[i]).count() + order[45..].iter().filter(|&&i| !inside[i]).count()
    }

    #[test]
    fn canaries_that_add_nothing_have_no_score() {
        let mut recovery = Recovery::new(vec![vec![0.0; 3], vec![0.0; 3]], vec![Some(0), Some(1)], 2, 0.5);
        recovery.add(&[1.0, 2.0, 3.0]);
        assert_eq!(recovery.scores(0.0), [0.0, 0.0]);
        assert_eq!(recovery.scores(1.0), [0.0, 0.0]);
    }
}
