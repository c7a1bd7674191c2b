//! The server's optimizer: turns the noisy sum of clipped gradients into the next weights.
//!
//! Adaptive federated optimization after Reddi et al. 2021 (algorithm 2), with the merchants' pseudo-gradient
//! −g in place of their Δ: merchants send sums of gradients of the loss, so the server walks *against* them.
//! With g_t = sum / divisor and step size η_t, for t = 1, 2, …:
//!
//! ```text
//! FedAvg   w ← w − η_t g_t
//! FedAvgM  m ← β₁ m + g_t                     w ← w − η_t m
//! FedAdam  m ← β₁ m + (1 − β₁) g_t            v ← β₂ v + (1 − β₂) g_t²
//!          w ← w − η_t · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
//! cosine   η_t = η · ½ (1 + cos(π (t − 1) / T)), constant otherwise
//! average  a_t = a (1 − aᵗ⁻¹) / (1 − aᵗ)      p ← a_t p + (1 − a_t) w
//! ```
//!
//! FedAdam divides the moments by their start-up bias (Kingma and Ba 2015), which algorithm 2 leaves out: with a
//! small ε the first steps would otherwise be up to (1 − β₁)/√(1 − β₂) times too large or small. The average p of
//! w₁…w_t decays with a and leaves out the weights the run began with. All of it is post-processing of a private sum
//! and costs no ε.
//!
//! What is published: w while the run goes on, since merchants take their gradients there; p with the last round of
//! the schedule, since that is the model people forecast with (docs/adr/0006-raw-weights-during-a-run.md).
//!
//! The invariant: the same plan, start and sums give the same bits, and a state that was written and read back
//! goes on as if it never had been.

use forecastle_crypto::dp::plan::{OptimizerPlan, OptimizerRule};

/// Opening of the stored form; the digit is its version.
const MAGIC: &[u8; 8] = b"FCOPTIM1";

/// Weights, moments and average between rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerOptimizer {
    plan: OptimizerPlan,
    /// T of the cosine.
    rounds: u32,
    /// Steps taken.
    steps: u32,
    /// w, `[d]`.
    weights: Vec<f64>,
    /// p, `[d]`.
    average: Vec<f64>,
    /// m, `[d]`; empty for FedAvg.
    first_moment: Vec<f64>,
    /// v, `[d]`; empty but for FedAdam.
    second_moment: Vec<f64>,
}

/// Why a step was not taken; the state is unchanged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum StepError {
    /// Sum and weights differ in length.
    #[error("the sum has {found} values, the model {expected}")]
    Dimension {
        /// d of the model.
        expected: usize,
        /// Length of the sum.
        found: usize,
    },
    /// The divisor is not a positive number.
    #[error("the divisor is {0}; it must be positive")]
    Divisor(f64),
    /// The sum, or the weights after it, hold a value that is not finite.
    #[error("value {index} would not be finite after the step; lower the learning rate of the plan")]
    NotFinite {
        /// Position in the vector.
        index: usize,
    },
}

/// Why stored bytes are no state of this plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored optimizer state is damaged or of another plan: {0}")]
pub struct StateDamaged(&'static str);

impl ServerOptimizer {
    /// Starts at the weights `initial`, `[d]`, for a schedule of `rounds` steps.
    pub fn new(plan: &OptimizerPlan, rounds: u32, initial: &[f32]) -> Self {
        let weights: Vec<f64> = initial.iter().map(|&w| f64::from(w)).collect();
        let (first, second) = moments(plan.rule);
        Self {
            plan: *plan,
            rounds,
            steps: 0,
            average: weights.clone(),
            first_moment: vec![0.0; if first { weights.len() } else { 0 }],
            second_moment: vec![0.0; if second { weights.len() } else { 0 }],
            weights,
        }
    }

    /// Takes one step against `gradient_sum / divisor`. `gradient_sum`, `[d]`, is the decoded sum over all
    /// survivors; `divisor` is the plan's public constant.
    ///
    /// # Errors
    /// [`StepError`]; the state is then as before.
    pub fn step(&mut self, gradient_sum: &[f64], divisor: f64) -> Result<(), StepError> {
        if gradient_sum.len() != self.weights.len() {
            return Err(StepError::Dimension { expected: self.weights.len(), found: gradient_sum.len() });
        }
        if !(divisor.is_finite() && divisor > 0.0) {
            return Err(StepError::Divisor(divisor));
        }
        let mut next = self.clone();
        next.steps += 1;
        let rate = next.learning_rate();
        let t = f64::from(next.steps);
        let OptimizerPlan { rule, beta1, beta2, epsilon, averaging, .. } = self.plan;
        let (bias1, bias2) = (1.0 - beta1.powf(t), 1.0 - beta2.powf(t));
        let kept = averaging * (1.0 - averaging.powf(t - 1.0)) / (1.0 - averaging.powf(t));
        for (i, sum) in gradient_sum.iter().enumerate() {
            let gradient = sum / divisor;
            let direction = match rule {
                OptimizerRule::FedAvg => gradient,
                OptimizerRule::FedAvgM => {
                    next.first_moment[i] = beta1 * next.first_moment[i] + gradient;
                    next.first_moment[i]
                }
                OptimizerRule::FedAdam => {
                    next.first_moment[i] = beta1 * next.first_moment[i] + (1.0 - beta1) * gradient;
                    next.second_moment[i] = beta2 * next.second_moment[i] + (1.0 - beta2) * gradient * gradient;
                    (next.first_moment[i] / bias1) / ((next.second_moment[i] / bias2).sqrt() + epsilon)
                }
            };
            next.weights[i] -= rate * direction;
            next.average[i] = kept * next.average[i] + (1.0 - kept) * next.weights[i];
            // The published form is single precision: what overflows there is no weight either.
            if !(next.weights[i] as f32).is_finite() || !(next.average[i] as f32).is_finite() {
                return Err(StepError::NotFinite { index: i });
            }
        }
        *self = next;
        Ok(())
    }

    /// The weights to publish after `round` (counted from 1, abandoned rounds included), `[d]`: the average with the
    /// last round of the schedule, the weights themselves before it.
    pub fn published(&self, round: u64) -> Vec<f32> {
        let last = round >= u64::from(self.rounds);
        let values = if last { &self.average } else { &self.weights };
        values.iter().map(|&w| w as f32).collect()
    }

    /// The weights that steps move, `[d]`.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// η of the step just counted.
    fn learning_rate(&self) -> f64 {
        if !self.plan.cosine {
            return self.plan.learning_rate;
        }
        let done = f64::from(self.steps - 1) / f64::from(self.rounds.max(1));
        self.plan.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
    }

    /// The stored form: magic, steps, d, then weights, average and the moments that the rule keeps, each value
    /// as eight little-endian bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20 + 8 * 4 * self.weights.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.steps.to_le_bytes());
        bytes.extend_from_slice(&(self.weights.len() as u64).to_le_bytes());
        for values in [&self.weights, &self.average, &self.first_moment, &self.second_moment] {
            bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        }
        bytes
    }

    /// Reads a stored form back; `plan` and `rounds` are those of the federation.
    ///
    /// # Errors
    /// [`StateDamaged`] says in which way.
    pub fn from_bytes(plan: &OptimizerPlan, rounds: u32, bytes: &[u8]) -> Result<Self, StateDamaged> {
        let (head, body) = bytes.split_at_checked(20).ok_or(StateDamaged("it is cut off"))?;
        if &head[..8] != MAGIC {
            return Err(StateDamaged("it does not begin as one"));
        }
        let steps = u32::from_le_bytes(head[8..12].try_into().expect("four bytes were cut"));
        let dimension = u64::from_le_bytes(head[12..20].try_into().expect("eight bytes were cut"));
        let (first, second) = moments(plan.rule);
        let vectors = 2 + usize::from(first) + usize::from(second);
        let expected = usize::try_from(dimension).ok().and_then(|d| d.checked_mul(8 * vectors));
        if expected != Some(body.len()) {
            return Err(StateDamaged("it has another length than its header says"));
        }
        let mut values = body.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("chunks of eight")));
        let dimension = body.len() / (8 * vectors);
        let mut take =
            |wanted: bool| -> Vec<f64> { values.by_ref().take(if wanted { dimension } else { 0 }).collect() };
        let state = Self {
            plan: *plan,
            rounds,
            steps,
            weights: take(true),
            average: take(true),
            first_moment: take(first),
            second_moment: take(second),
        };
        let all = [&state.weights, &state.average, &state.first_moment, &state.second_moment];
        if all.into_iter().flatten().any(|v| !v.is_finite()) {
            return Err(StateDamaged("it holds a value that is not finite"));
        }
        Ok(state)
    }
}

/// Which moments a rule keeps.
fn moments(rule: OptimizerRule) -> (bool, bool) {
    match rule {
        OptimizerRule::FedAvg => (false, false),
        OptimizerRule::FedAvgM => (true, false),
        OptimizerRule::FedAdam => (true, true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rule: OptimizerRule) -> OptimizerPlan {
        OptimizerPlan {
            rule,
            learning_rate: 0.5,
            beta1: 0.5,
            beta2: 0.75,
            epsilon: 1e-8,
            cosine: false,
            averaging: 0.0,
        }
    }

    fn near(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-7, "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn fedavg_walks_against_the_mean_gradient() {
        let mut optimizer = ServerOptimizer::new(&plan(OptimizerRule::FedAvg), 10, &[1.0, -1.0]);
        optimizer.step(&[4.0, -2.0], 2.0).unwrap();
        // 1 − 0.5·2 and −1 + 0.5·1.
        near(optimizer.weights(), &[0.0, -0.5]);
        assert_eq!(optimizer.published(1), vec![0.0, -0.5]);
    }

    #[test]
    fn fedavgm_accumulates_momentum() {
        let mut optimizer = ServerOptimizer::new(&plan(OptimizerRule::FedAvgM), 10, &[0.0]);
        optimizer.step(&[1.0], 1.0).unwrap();
        optimizer.step(&[1.0], 1.0).unwrap();
        // m: 1, then 1.5; w: −0.5, then −0.5 − 0.75.
        near(optimizer.weights(), &[-1.25]);
    }

    #[test]
    fn fedadam_by_hand() {
        let mut optimizer = ServerOptimizer::new(&plan(OptimizerRule::FedAdam), 10, &[0.0]);
        optimizer.step(&[2.0], 1.0).unwrap();
        // Bias-corrected moments are 2 and 4: a step of exactly η.
        near(optimizer.weights(), &[-0.5]);
        optimizer.step(&[-1.0], 1.0).unwrap();
        // m = .5·1 + .5·(−1) = 0: the second step stays where it is; v = .75·1 + .25·1 = 1.
        near(optimizer.weights(), &[-0.5]);
        optimizer.step(&[3.0], 1.0).unwrap();
        // m = 1.5, corrected by 0.875; v = 0.75 + 2.25 = 3, corrected by 0.578125.
        let expected = -0.5 - 0.5 * (1.5 / 0.875) / (3.0_f64 / 0.578_125).sqrt();
        near(optimizer.weights(), &[expected]);
    }

    #[test]
    fn the_cosine_starts_at_the_full_rate_and_falls_to_zero() {
        let cosine = OptimizerPlan { cosine: true, ..plan(OptimizerRule::FedAvg) };
        let mut optimizer = ServerOptimizer::new(&cosine, 4, &[0.0]);
        let mut at = Vec::new();
        for _ in 0..5 {
            optimizer.step(&[1.0], 1.0).unwrap();
            at.push(optimizer.weights()[0]);
        }
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let rates = [0.5, 0.25 * (1.0 + half), 0.25, 0.25 * (1.0 - half), 0.0];
        let mut sum = 0.0;
        let expected: Vec<f64> = rates
            .iter()
            .map(|r| {
                sum -= r;
                sum
            })
            .collect();
        near(&at, &expected);
    }

    #[test]
    fn the_average_holds_the_weights_of_the_run_and_not_its_start() {
        let averaged = OptimizerPlan { averaging: 0.5, ..plan(OptimizerRule::FedAvg) };
        let mut optimizer = ServerOptimizer::new(&averaged, 10, &[100.0]);
        assert_eq!(optimizer.published(10), vec![100.0]);
        optimizer.step(&[2.0], 1.0).unwrap();
        // Only w₁ = 99.
        assert_eq!(optimizer.published(10), vec![99.0]);
        optimizer.step(&[2.0], 1.0).unwrap();
        // (½·99 + 98) / 1.5.
        near(&[f64::from(optimizer.published(10)[0])], &[f64::from((147.5_f64 / 1.5) as f32)]);
        near(optimizer.weights(), &[98.0]);
        assert_eq!(optimizer.published(9), vec![98.0], "before the last round the weights themselves go out");
    }

    #[test]
    fn a_state_read_back_goes_on_bit_for_bit() {
        for rule in [OptimizerRule::FedAvg, OptimizerRule::FedAvgM, OptimizerRule::FedAdam] {
            let plan = OptimizerPlan { averaging: 0.9, cosine: true, ..plan(rule) };
            let mut kept = ServerOptimizer::new(&plan, 7, &[0.25, -3.0, 1e-3]);
            kept.step(&[0.1, 0.2, -0.3], 3.0).unwrap();
            let mut read = ServerOptimizer::from_bytes(&plan, 7, &kept.to_bytes()).unwrap();
            for optimizer in [&mut kept, &mut read] {
                optimizer.step(&[1.0, -0.7, 0.0], 3.0).unwrap();
            }
            assert_eq!(kept, read);
        }
    }

    #[test]
    fn damaged_states_are_refused() {
        let plan = plan(OptimizerRule::FedAdam);
        let bytes = ServerOptimizer::new(&plan, 7, &[1.0, 2.0]).to_bytes();
        assert!(ServerOptimizer::from_bytes(&plan, 7, &bytes[..bytes.len() - 1]).is_err());
        assert!(ServerOptimizer::from_bytes(&plan, 7, &bytes[..10]).is_err());
        assert!(ServerOptimizer::from_bytes(&plan, 7, &[b"x", &bytes[1..]].concat()).is_err());
        let other = OptimizerPlan { rule: OptimizerRule::FedAvg, ..plan };
        assert!(ServerOptimizer::from_bytes(&other, 7, &bytes).is_err());
    }

    #[test]
    fn a_step_that_cannot_be_taken_changes_nothing() {
        let mut optimizer = ServerOptimizer::new(&plan(OptimizerRule::FedAvg), 10, &[1.0, 2.0]);
        let before = optimizer.clone();
        assert!(matches!(optimizer.step(&[1.0], 1.0), Err(StepError::Dimension { expected: 2, found: 1 })));
        assert!(matches!(optimizer.step(&[1.0, 1.0], 0.0), Err(StepError::Divisor(_))));
        assert_eq!(optimizer.step(&[1.0, f64::NAN], 1.0), Err(StepError::NotFinite { index: 1 }));
        assert_eq!(optimizer.step(&[1.0, 1e300], 1.0), Err(StepError::NotFinite { index: 1 }));
        assert_eq!(optimizer, before);
    }
}
