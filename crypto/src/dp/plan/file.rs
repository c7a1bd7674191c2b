//! The plan as a TOML file: read at the door, written bare or with a line on what each field says.

use super::{PLAN_BYTES_MAX, PlanError, PrivacyPlan};
use crate::identity::{Sha256Digest, sha256};

/// What each field says, by section, for plans that are written to be read.
const COMMENTS: [(&str, &str, &str); 36] = [
    ("", "version", "Version of the format."),
    ("", "name", "Name shown to people."),
    ("privacy", "unit", "Whom the guarantee protects: a customer, a series, or a whole merchant."),
    ("privacy", "delta", "δ of the guarantee."),
    (
        "privacy",
        "epsilon-cap",
        "The whole schedule may cost at most this ε, against the server with the assumed colluders.",
    ),
    (
        "bounds",
        "order-lines",
        "K: order lines that one customer may contribute. Without a meaning under other units, as L and Q.",
    ),
    ("bounds", "series", "L: series that one customer may touch."),
    ("bounds", "units", "Q: units of one customer over all its lines."),
    ("step", "clip", "C: the gradient of each series is clipped to this Euclidean norm."),
    ("step", "noise-multiplier", "σ: standard deviation of the noise, as a multiple of C. Smaller breaks the cap."),
    ("step", "sampling-rate", "q: the probability with which each series enters a round."),
    ("step", "windows-per-series", "Windows of a sampled series that are averaged before the one clip."),
    (
        "step",
        "assumed-series",
        "Public assumption on the number of series of the federation; q times it divides the sum.",
    ),
    ("step", "series-per-merchant-max", "A merchant's sum reaches no further than so many series would, all alike."),
    ("local", "noise", "Where the noise is added: in every local step, or a share to the update."),
    ("local", "steps", "Local steps of a round."),
    ("local", "learning-rate", "Step size of the local steps."),
    ("local", "update-clip", "The update of a round is clipped to this Euclidean norm."),
    ("local", "proximal", "μ: how strongly each local step is drawn back to the round's model (FedProx)."),
    ("rounds", "count", "T: rounds that may be charged, abandoned ones included."),
    ("rounds", "cohort-max", "n: the most merchants in one round."),
    ("rounds", "survivors-min", "m: the fewest survivors with which a round goes on."),
    ("rounds", "colluders-assumed", "n_C: merchants assumed to collude; the shares of m − n_C others make σ."),
    ("rounds", "period-start", "First day of training."),
    ("rounds", "period-end", "Last day of training."),
    ("rounds", "submit-after-ms", "An update leaves no sooner than this, so that the time it took stays unseen."),
    ("rounds", "phase-deadline-ms", "Time a phase of a round may take."),
    (
        "integers",
        "units-per-clip",
        "s: grid units per clip norm. So fine that rounding costs less than one per cent of σ.",
    ),
    ("integers", "bits", "b: bits of a coordinate; a sum of the run wraps around with probability 2⁻⁴⁰ at most."),
    ("optimizer", "rule", "Rule of the server's step (post-processing: it costs no privacy)."),
    ("optimizer", "learning-rate", "Step size at the first round."),
    ("optimizer", "beta1", "Decay of the first moment."),
    ("optimizer", "beta2", "Decay of the second moment."),
    ("optimizer", "epsilon", "Added to the root of the second moment."),
    ("optimizer", "cosine", "Step size follows half a cosine to zero."),
    ("optimizer", "averaging", "Decay of the average of the weights that is published; 0 publishes the last."),
];

impl PrivacyPlan {
    /// Parses and checks a plan file.
    ///
    /// # Errors
    /// [`PlanError`] names the field and what would be right.
    pub fn parse(bytes: &[u8]) -> Result<Self, PlanError> {
        if bytes.len() > PLAN_BYTES_MAX {
            return Err(PlanError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| PlanError::Format(e.to_string()))?;
        let plan: Self = toml::from_str(text).map_err(|e| PlanError::Format(e.to_string()))?;
        plan.check()?;
        Ok(plan)
    }

    /// The plan as a TOML file. [`Self::digest_of`] is taken over the file as distributed.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a plan always serialises")
    }

    /// The plan as a TOML file under a heading, with a line on what each field says. Parses to the same plan.
    pub fn to_documented_toml(&self, heading: &str) -> String {
        let mut text: String = heading.lines().map(|line| format!("{}\n", format!("# {line}").trim_end())).collect();
        let mut section = String::new();
        for line in self.to_toml().lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            }
            let key = line.split('=').next().unwrap_or_default().trim();
            if let Some((_, _, comment)) = COMMENTS.iter().find(|(of, name, _)| *of == section && *name == key) {
                text += &format!("# {comment}\n");
            }
            text += &format!("{line}\n");
        }
        text
    }

    /// The digest that offers and charges name: SHA-256 of the file's bytes.
    pub fn digest_of(bytes: &[u8]) -> Sha256Digest {
        sha256(bytes)
    }
}
