//! The result of an empirical audit, as a file: what `forecastle audit-canaries` writes and `report` prints beside the
//! claim.
//!
//! One JSON object, version 1, read strictly:
//!
//! ```json
//! {
//!   "version": 1,
//!   "mode": "customer",
//!   "epsilon": 8.0,
//!   "delta": 1e-6,
//!   "epsilon_lower_bound": 0.42,
//!   "confidence": 0.95,
//!   "canaries": 1000,
//!   "guesses": 120,
//!   "correct": 83,
//!   "steps": 40,
//!   "software": "forecastle 0.1.0",
//!   "at_ms": 1795487385827
//! }
//! ```
//!
//! Invariant: a file that was read is consistent in itself. Its lower bound is not more than its own guesses can show:
//! with `correct` of `guesses` right, no ε-private mechanism is refuted at this confidence beyond the ε at which that
//! many right guesses become likely enough (Steinke, Nasr, Jagielski 2023, "Privacy auditing with one (1) training run":
//! the number of right guesses is dominated by a binomial variable with success probability e^ε/(1 + e^ε)). δ only lowers the bound.
//!
//! Left out on purpose: making canaries and guesses; that happens where training does.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::folder::{FolderError, read};

/// The version of the format.
pub const VERSION: u16 = 1;
/// The largest file read, in bytes.
const BYTES_MAX: u64 = 64 << 10;
/// The most canaries in one file: the binomial tail is summed term by term.
pub const CANARIES_MAX: u64 = 1_000_000;
/// By how much the stated bound may exceed the recomputed one: rounding.
const TOLERANCE: f64 = 1e-3;

/// The result of an empirical audit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canaries {
    /// Format, [`VERSION`].
    pub version: u16,
    /// What was inserted.
    pub mode: Mode,
    /// ε that was claimed for the run.
    pub epsilon: f64,
    /// δ that was claimed for the run.
    pub delta: f64,
    /// The smallest ε that the guesses leave possible, at this confidence.
    pub epsilon_lower_bound: f64,
    /// Confidence of the bound, above 0 and below 1.
    pub confidence: f64,
    /// Canaries, each included by a fair coin.
    pub canaries: u64,
    /// Canaries about which a guess was made.
    pub guesses: u64,
    /// Guesses that were right.
    pub correct: u64,
    /// Training steps of the run.
    pub steps: u64,
    /// Software that ran.
    pub software: String,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// What canaries stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Series made up for the purpose.
    Series,
    /// Customers made up for the purpose.
    Customer,
}

impl Mode {
    /// The name in files and words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Series => "series",
            Self::Customer => "customer",
        }
    }
}

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum CanariesError {
    /// Not readable.
    #[error(transparent)]
    File(#[from] FolderError),
    /// Not JSON of this shape.
    #[error("{} is not the result of an empirical audit: {why}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// What the parser said.
        why: String,
    },
    /// A number that cannot be.
    #[error("{}: {field}: {why}", path.display())]
    Field {
        /// Which file.
        path: PathBuf,
        /// Which field.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
}

impl Canaries {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`CanariesError`] names the field.
    pub fn open(path: &Path) -> Result<Self, CanariesError> {
        let bytes = read(path, BYTES_MAX)?;
        let canaries: Self = serde_json::from_slice(&bytes)
            .map_err(|e| CanariesError::Format { path: path.to_owned(), why: e.to_string() })?;
        match canaries.check() {
            Ok(()) => Ok(canaries),
            Err((field, why)) => Err(CanariesError::Field { path: path.to_owned(), field, why }),
        }
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let fail = |field, why: String| Err((field, why));
        if self.version != VERSION {
            return fail("version", format!("{} is not {VERSION}", self.version));
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return fail("epsilon", format!("must be zero or positive, not {}", self.epsilon));
        }
        if !(0.0..1.0).contains(&self.delta) {
            return fail("delta", format!("must be at least 0 and below 1, not {}", self.delta));
        }
        if !(self.confidence > 0.0 && self.confidence < 1.0) {
            return fail("confidence", format!("must lie between 0 and 1, not {}", self.confidence));
        }
        if !(1..=CANARIES_MAX).contains(&self.canaries) {
            return fail("canaries", format!("must lie in 1..={CANARIES_MAX}, not {}", self.canaries));
        }
        if self.guesses > self.canaries {
            return fail("guesses", format!("{} guesses about {} canaries", self.guesses, self.canaries));
        }
        if self.correct > self.guesses {
            return fail("correct", format!("{} of {} guesses", self.correct, self.guesses));
        }
        if !(self.epsilon_lower_bound.is_finite() && self.epsilon_lower_bound >= 0.0) {
            return fail("epsilon_lower_bound", format!("must be zero or positive, not {}", self.epsilon_lower_bound));
        }
        let greatest = greatest_bound(self.guesses, self.correct, self.confidence);
        if self.epsilon_lower_bound > greatest + TOLERANCE {
            return fail(
                "epsilon_lower_bound",
                format!(
                    "{} is more than {} right of {} guesses can show at {} confidence, which is {greatest:.4}",
                    self.epsilon_lower_bound, self.correct, self.guesses, self.confidence
                ),
            );
        }
        Ok(())
    }

    /// Whether the guesses refute the claim.
    pub fn refutes(&self) -> bool {
        self.epsilon_lower_bound > self.epsilon
    }
}

/// The largest ε at which a binomial variable of `guesses` trials with success probability e^ε/(1 + e^ε) still reaches
/// `correct` with probability at most 1 − `confidence`; 0 where there is none.
fn greatest_bound(guesses: u64, correct: u64, confidence: f64) -> f64 {
    let refuted = |epsilon: f64| tail(guesses, correct, epsilon) <= 1.0 - confidence;
    if !refuted(0.0) {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, 100.0);
    while high - low > 1e-9 {
        let middle = 0.5 * (low + high);
        if refuted(middle) { low = middle } else { high = middle }
    }
    high
}

/// Pr[Bin(n, p) ≥ k] at p = e^ε/(1 + e^ε).
fn tail(n: u64, k: u64, epsilon: f64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    // ln p and ln(1 − p), neither rounded to 0 too early.
    let (ln_p, ln_q) = (-(-epsilon).exp().ln_1p(), -epsilon.exp().ln_1p());
    // Terms from n downwards: their ratio is i/(n − i + 1)·(1 − p)/p. ln C(n, n) = 0.
    let mut ln_term = n as f64 * ln_p;
    let mut sum = 0.0;
    let mut i = n;
    loop {
        sum += ln_term.exp();
        if i == k {
            return sum.min(1.0);
        }
        ln_term += (i as f64).ln() - ((n - i + 1) as f64).ln() + ln_q - ln_p;
        i -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    pub(crate) const HONEST: &str = r#"{
        "version": 1, "mode": "customer", "epsilon": 8.0, "delta": 1e-6, "epsilon_lower_bound": 0.4,
        "confidence": 0.95, "canaries": 1000, "guesses": 120, "correct": 83, "steps": 40,
        "software": "forecastle 0.1.0", "at_ms": 1795487385827
    }"#;

    fn open(text: &str) -> Result<Canaries, CanariesError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Canaries::open(file.path())
    }

    #[test]
    fn the_binomial_tail_is_exact() {
        assert!((tail(10, 10, 0.0) - 1.0 / 1024.0).abs() < 1e-15);
        assert!((tail(10, 5, 0.0) - 638.0 / 1024.0).abs() < 1e-12);
        // p = 3/4: Pr[Bin(4, 3/4) ≥ 3] = 4·27/256 + 81/256.
        assert!((tail(4, 3, 3f64.ln()) - 189.0 / 256.0).abs() < 1e-12);
        assert_eq!(tail(7, 0, 1.0), 1.0);
    }

    #[test]
    fn all_right_guesses_bound_epsilon_as_expected() {
        // 0.05 = p^n gives p = 0.05^{1/n}.
        let p: f64 = 0.05_f64.powf(0.01);
        let expected = (p / (1.0 - p)).ln();
        assert!((greatest_bound(100, 100, 0.95) - expected).abs() < 1e-6);
        assert_eq!(greatest_bound(100, 50, 0.95), 0.0);
        assert_eq!(greatest_bound(0, 0, 0.95), 0.0);
    }

    #[test]
    fn an_honest_file_is_read() {
        let canaries = open(HONEST).unwrap();
        assert!(!canaries.refutes() && canaries.mode == Mode::Customer);
        let text = serde_json::to_string(&canaries).unwrap();
        assert_eq!(open(&text).unwrap(), canaries);
    }

    #[test]
    fn every_wrong_number_is_refused_by_name() {
        for (from, to, name) in [
            ("\"version\": 1", "\"version\": 2", "version"),
            ("\"epsilon\": 8.0", "\"epsilon\": -1.0", "epsilon"),
            ("1e-6", "1.0", "delta"),
            ("0.95", "1.0", "confidence"),
            ("\"canaries\": 1000", "\"canaries\": 0", "canaries"),
            ("\"guesses\": 120", "\"guesses\": 1200", "guesses"),
            ("\"correct\": 83", "\"correct\": 121", "correct"),
            ("\"epsilon_lower_bound\": 0.4", "\"epsilon_lower_bound\": 4.0", "epsilon_lower_bound"),
        ] {
            let error = open(&HONEST.replacen(from, to, 1)).unwrap_err();
            let CanariesError::Field { field, .. } = error else { panic!("{name}: {error}") };
            assert_eq!(field, name);
        }
        for text in ["{}", "", "[]", &HONEST.replacen("\"steps\"", "\"step\"", 1)] {
            assert!(matches!(open(text), Err(CanariesError::Format { .. })), "{text}");
        }
        assert!(matches!(Canaries::open(Path::new("/nowhere/at/all")), Err(CanariesError::File(_))));
    }
}
