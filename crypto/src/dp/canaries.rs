//! What guesses about canaries refute: an empirical audit from one run, and the file that tells of it.
//!
//! Canaries are units made up for the purpose: customers or series. Each is put into training or left out by a fair
//! coin of its own. From what was released somebody then guesses the coins, of as many canaries as they like. If the
//! release is (ε, δ)-private for one unit, no way of guessing is right too often (Steinke, Nasr, Jagielski 2023,
//! "Privacy auditing with one (1) training run", the theorem for approximate privacy and its appendix D):
//!
//! * δ = 0. Whatever the other coins and the release say, the odds of one canary's coin stay within e^±ε. So with r
//!   guesses the number of right ones is stochastically at most B ~ Bin(r, e^ε/(1 + e^ε)).
//! * δ > 0. It is at most B + F, where F is a whole number between 0 and the number m of canaries, of mean at most
//!   2mδ, in any way dependent on B. So it reaches v with probability at most
//!   Pr[B ≥ v] + 2mδ · max over i ≥ 1 of Pr[v − i ≤ B < v] / i: mass moved by F = i costs i of F's mean.
//!
//! Several ways of guessing ([`Look`]s) fixed in advance share the error probability evenly (union bound), so the best
//! of them may be reported.
//!
//! Invariant: a [`CanaryRun`] that was read is consistent in itself; its lower bound is what its own guesses show, no more
//! and no less. A bound below a claim proves nothing; one above it refutes the claim, wrongly with probability at most one
//! less the confidence.
//!
//! Left out on purpose: making canaries and guesses, which happens where training does; files and clocks.

use serde::{Deserialize, Serialize};

use super::unit::PrivacyUnit;

/// The version of the file.
pub const VERSION: u16 = 1;
/// The most canaries of one run: binomial tails are summed term by term.
pub const CANARIES_MAX: u64 = 100_000;
/// The least confidence of a bound. The greatest is [`CONFIDENCE_MAX`].
pub const CONFIDENCE_MIN: f64 = 0.5;
/// The greatest confidence of a bound: beyond it, rounding errors of the sums would count.
pub const CONFIDENCE_MAX: f64 = 1.0 - 1e-7;
/// The most ways of guessing of one run.
pub const LOOKS_MAX: usize = 16;
/// No ε beyond this is told apart: so many right guesses fit into no run.
const EPSILON_MAX: f64 = 100.0;
/// Logarithm of a probability that adds nothing to a float near 10⁻⁸, however many follow.
const NEGLIGIBLE: f64 = -100.0;
/// By how much a file's bound may differ from the recomputed one: it was printed and read again.
const TOLERANCE: f64 = 1e-6;

/// One way of guessing, fixed before the coins were looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// r: canaries about which a guess was made.
    pub guesses: u64,
    /// v: guesses that were right.
    pub correct: u64,
}

/// What happened in one run with canaries: the content of the file that `forecastle audit-canaries` writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryRun {
    /// Format, [`VERSION`].
    pub version: u16,
    /// What a canary is.
    pub unit: PrivacyUnit,
    /// ε that the accountant gives this run against the server with the assumed colluders: the claim under test.
    pub epsilon: f64,
    /// δ of the claim.
    pub delta: f64,
    /// The largest ε that the guesses refute at this confidence; 0 where they refute none.
    pub epsilon_lower_bound: f64,
    /// Confidence of the bound, [`CONFIDENCE_MIN`] to [`CONFIDENCE_MAX`].
    pub confidence: f64,
    /// m: canaries, each in training by a fair coin.
    pub canaries: u64,
    /// The ways of guessing.
    pub looks: Vec<Look>,
    /// Rounds of the run.
    pub rounds: u64,
    /// σ of the run, as planned.
    pub noise_multiplier: f64,
    /// σ of the plan that the run was made from.
    pub plan_noise_multiplier: f64,
    /// Digest of that plan's file, 64 hexadecimal digits.
    pub plan_sha256: crate::identity::Sha256Digest,
    /// Real series of the merchant's that trained beside the canaries. With any, this file tells something of them
    /// that no noise covers.
    pub own_series: u64,
    /// Software that ran.
    pub software: String,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// A number of a file that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct CanaryError {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// Why bytes are no file of a canary run.
#[derive(Debug, thiserror::Error)]
pub enum CanaryFileError {
    /// Not JSON of this shape.
    #[error("not the result of an empirical audit: {0}")]
    Format(#[from] serde_json::Error),
    /// A number that cannot be.
    #[error(transparent)]
    Field(#[from] CanaryError),
}

impl CanaryRun {
    /// Reads and checks a file's bytes.
    ///
    /// # Errors
    /// [`CanaryFileError`] names the field.
    pub fn from_json(bytes: &[u8]) -> Result<Self, CanaryFileError> {
        let run: Self = serde_json::from_slice(bytes)?;
        run.check()?;
        Ok(run)
    }

    /// Refuses what cannot be, a bound beyond what the guesses show included.
    ///
    /// # Errors
    /// [`CanaryError`] names the field.
    pub fn check(&self) -> Result<(), CanaryError> {
        let fail = |field, why: String| Err(CanaryError { field, why });
        if self.version != VERSION {
            return fail("version", format!("{} is not {VERSION}", self.version));
        }
        if self.unit == PrivacyUnit::Merchant {
            return fail("unit", "a merchant is no canary: its whole contribution is one unit".into());
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return fail("epsilon", format!("must be zero or positive, not {}", self.epsilon));
        }
        if !(0.0..1.0).contains(&self.delta) {
            return fail("delta", format!("must be at least 0 and below 1, not {}", self.delta));
        }
        if !(CONFIDENCE_MIN..=CONFIDENCE_MAX).contains(&self.confidence) {
            return fail(
                "confidence",
                format!("must lie in {CONFIDENCE_MIN}..={CONFIDENCE_MAX}, not {}", self.confidence),
            );
        }
        for (field, sigma) in
            [("noise_multiplier", self.noise_multiplier), ("plan_noise_multiplier", self.plan_noise_multiplier)]
        {
            if !(sigma.is_finite() && sigma > 0.0) {
                return fail(field, format!("must be positive, not {sigma}"));
            }
        }
        if !(1..=CANARIES_MAX).contains(&self.canaries) {
            return fail("canaries", format!("must lie in 1..={CANARIES_MAX}, not {}", self.canaries));
        }
        if !(1..=LOOKS_MAX).contains(&self.looks.len()) {
            return fail("looks", format!("there must be 1 to {LOOKS_MAX}, not {}", self.looks.len()));
        }
        for &Look { guesses, correct } in &self.looks {
            if guesses > self.canaries || correct > guesses {
                let why = format!("{correct} of {guesses} guesses about {} canaries", self.canaries);
                return fail("looks", why);
            }
        }
        let shown = lower_bound(self.canaries, &self.looks, self.delta, self.confidence);
        let as_shown = (self.epsilon_lower_bound - shown).abs() <= TOLERANCE;
        if !as_shown {
            let why = format!(
                "{} is not what these guesses show at {} confidence, which is {shown:.7}",
                self.epsilon_lower_bound, self.confidence
            );
            return fail("epsilon_lower_bound", why);
        }
        Ok(())
    }

    /// The way of guessing that gives the bound; the first of equals.
    pub fn best(&self) -> Look {
        let share = (1.0 - self.confidence) / self.looks.len().max(1) as f64;
        let mut best = (Look { guesses: 0, correct: 0 }, -1.0);
        for &look in &self.looks {
            let bound = refuted(self.canaries, look, self.delta, share);
            if bound > best.1 {
                best = (look, bound);
            }
        }
        best.0
    }

    /// The bound that the same guesses would give, were all of them right: no run of this size refutes more.
    pub fn greatest_bound(&self) -> f64 {
        let right: Vec<Look> = self.looks.iter().map(|look| Look { correct: look.guesses, ..*look }).collect();
        lower_bound(self.canaries, &right, self.delta, self.confidence)
    }

    /// Whether the guesses refute the claim.
    pub fn refutes(&self) -> bool {
        self.epsilon_lower_bound > self.epsilon
    }
}

/// The largest ε that `looks` at `canaries` refute at `confidence`, whatever ε up to it a mechanism of this δ had; 0
/// where they refute none.
///
/// # Panics
/// Where there are no looks, or one of more guesses than canaries or more right than guessed.
pub fn lower_bound(canaries: u64, looks: &[Look], delta: f64, confidence: f64) -> f64 {
    assert!(!looks.is_empty(), "at least one way of guessing");
    let share = (1.0 - confidence) / looks.len() as f64;
    looks.iter().map(|&look| refuted(canaries, look, delta, share)).fold(0.0, f64::max)
}

/// The largest ε at which so many right guesses have a probability of at most `error`.
fn refuted(canaries: u64, look: Look, delta: f64, error: f64) -> f64 {
    let refutes = |epsilon: f64| chance(canaries, look, epsilon, delta) <= error;
    if !refutes(0.0) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, EPSILON_MAX);
    while high - low > 1e-8 {
        let middle = 0.5 * (low + high);
        if refutes(middle) { low = middle } else { high = middle }
    }
    low
}

/// An upper bound on the probability that a mechanism of (ε, δ) lets anyone guess so well.
///
/// # Panics
/// Where there are more guesses than canaries or more right than guessed.
pub fn chance(canaries: u64, look: Look, epsilon: f64, delta: f64) -> f64 {
    let Look { guesses, correct } = look;
    assert!(correct <= guesses && guesses <= canaries, "as many guesses as canaries at most, and of them some right");
    if correct == 0 {
        return 1.0;
    }
    // From one right guess too few downwards: mass within reach of a shift by i, over the price i of that shift.
    let (mut reached, mut within, mut dearest) = (0.0_f64, 0.0_f64, 0.0_f64);
    each_mass(guesses, epsilon, |right, mass| {
        if right >= correct {
            reached += mass;
        } else {
            within += mass;
            dearest = dearest.max(within / (correct - right) as f64);
        }
    });
    (reached + 2.0 * canaries as f64 * delta * dearest).min(1.0)
}

/// The probabilities of Bin(n, e^ε/(1 + e^ε)), from n right ones downwards, to where hardly any is left.
fn each_mass(n: u64, epsilon: f64, mut take: impl FnMut(u64, f64)) {
    // ln p and ln(1 − p), neither rounded to 0 too early.
    let ln_p = -(-epsilon).exp().ln_1p();
    let ln_q = ln_p - epsilon;
    // Neighbouring terms have the ratio i/(n − i + 1)·(1 − p)/p; C(n, n) = 1.
    let mut ln_mass = n as f64 * ln_p;
    let mean = n as f64 * ln_p.exp();
    for right in (0..=n).rev() {
        take(right, ln_mass.exp());
        if ln_mass < NEGLIGIBLE && (right as f64) < mean {
            break;
        }
        if right > 0 {
            ln_mass += (right as f64).ln() - ((n - right + 1) as f64).ln() + ln_q - ln_p;
        }
    }
}

#[cfg(test)]
#[path = "canaries_tests.rs"]
mod tests;
