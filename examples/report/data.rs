//! What a report says, before it has a shape. Everything here can be read from and written to JSON.

use serde::{Deserialize, Serialize};

use super::accuracy::AccuracyTable;

/// A run of the marketplace or of a data set, for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReportData {
    /// Headline, such as "Marketplace of 12 merchants".
    pub title: String,
    /// One sentence below it.
    pub subtitle: String,
    /// When the run ended, as it should read.
    pub finished_at: String,
    /// The command that reproduces the run.
    pub command: String,
    /// What was run: name and value (seed, plan, merchants, series, rounds, model, software).
    pub facts: Vec<(String, String)>,
    /// What was promised and spent.
    pub privacy: Privacy,
    /// Rounds, in order.
    pub rounds: Vec<Round>,
    /// How good the forecasts were.
    pub accuracy: AccuracyTable,
    /// Forecasts to look at.
    pub fans: Vec<Fan>,
    /// How often sales stayed below each quantile.
    pub reliability: Vec<Reliability>,
    /// What each merchant's import took and refused.
    pub imports: Vec<Import>,
    /// Whether the run was large enough for its noise, and if not, what would be; empty if nothing is to be said.
    pub size_advice: String,
}

/// What was promised and spent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Privacy {
    /// Unit in words: "customer", "series", "merchant".
    pub unit: String,
    /// Neighbouring data sets in words: "addition or removal of one customer".
    pub neighbours: String,
    /// δ.
    pub delta: f64,
    /// Largest ε that a merchant accepts.
    pub cap: f64,
    /// The guarantees, one an adversary.
    pub guarantees: Vec<Guarantee>,
    /// Charges in each merchant's ledger: name and value (mechanism, σ, q, C, steps, noise shares).
    pub charges: Vec<(String, String)>,
    /// Contribution bounds: name and value (lines K, series L, units Q a customer).
    pub bounds: Vec<(String, String)>,
    /// Order lines before and after the bounds, over all merchants' local reports; `None` without customers.
    pub bounded_lines: Option<BoundedLines>,
    /// The federation's log, as the auditor found it.
    pub ledger: Ledger,
    /// The claim in full, in the wording of the privacy documentation.
    pub claim: String,
}

/// ε against one adversary.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Guarantee {
    /// Who learns: "Anyone with the published models".
    pub adversary: String,
    /// What that adversary is assumed to have, in plain words.
    pub means: String,
    /// ε; `None` where nothing can be promised.
    pub epsilon: Option<f64>,
}

/// What the contribution bounds dropped.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct BoundedLines {
    /// Lines that count as demand.
    pub before: u64,
    /// Lines within the bounds.
    pub kept: u64,
}

/// The federation's log, as the auditor found it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ledger {
    /// Whether every check passed.
    pub verified: bool,
    /// Root hash in hexadecimal.
    pub root: String,
    /// Number of entries.
    pub entries: u64,
    /// What was checked, or what failed.
    pub detail: String,
}

/// One round.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Round {
    /// Number, from 1.
    pub number: u64,
    /// Merchants invited.
    pub invited: usize,
    /// Merchants whose update is in the sum.
    pub survivors: usize,
    /// ε spent up to and including this round; `None` for rounds without noise.
    pub epsilon: Option<f64>,
    /// Version of the model that it published, if it did.
    pub model: Option<u64>,
    /// How long it took.
    pub seconds: f64,
}

/// One product's forecast against what happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fan {
    /// Product.
    pub title: String,
    /// Merchant.
    pub merchant: String,
    /// First day of `history`, as `2025-05-05`.
    pub start: String,
    /// Days from one step to the next: 1 or 7.
    pub step_days: u32,
    /// Recent past; `None` where missing or out of stock.
    pub history: Vec<Option<f32>>,
    /// Held-back days; `None` where missing or out of stock. As long as `quantiles`.
    pub actual: Vec<Option<f32>>,
    /// Quantiles 0.1 … 0.9 of each held-back day.
    pub quantiles: Vec<[f32; 9]>,
    /// Promotion or not, for `history` and then the held-back days; may be empty.
    pub promotion: Vec<bool>,
    /// Why this product is shown.
    pub caption: String,
}

/// How often sales stayed at or below each quantile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reliability {
    /// Method.
    pub name: String,
    /// Share of held-back days at or below the quantile 0.1 … 0.9.
    pub below: [f64; 9],
}

/// What an import took and refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Import {
    /// Merchant.
    pub merchant: String,
    /// File.
    pub file: String,
    /// Rows read.
    pub rows: u64,
    /// Rows taken.
    pub imported: u64,
    /// Reasons of refused rows, with their number.
    pub rejected: Vec<(String, u64)>,
}
