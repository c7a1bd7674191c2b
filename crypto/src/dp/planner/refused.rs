//! Why there is no plan, and what would work instead.

use crate::dp::{
    accountant::AccountingError,
    event::EventError,
    plan::{COMPLETE_GRAPH_MAX, PlanError},
    planner::SIGNAL_NEEDED,
};

/// Why a request has no plan.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// A number out of range.
    #[error("{field}: {why}")]
    Request {
        /// What was asked for.
        field: &'static str,
        /// What would be right.
        why: String,
    },
    /// Secure aggregation has no thresholds for it.
    #[error("{}", thresholds(*merchants, *drop_outs, *colluders, *cohort_min, *needed, *drop_outs_possible, *colluders_possible))]
    Thresholds {
        /// n.
        merchants: u32,
        /// Merchants that may vanish.
        drop_outs: u32,
        /// Merchants that may collude.
        colluders: u32,
        /// The fewest merchants in a sum that a client accepts.
        cohort_min: u32,
        /// Merchants with which the rest could be kept.
        needed: Option<u32>,
        /// Drop-outs that these merchants can bear.
        drop_outs_possible: Option<u32>,
        /// Colluders that these merchants can bear.
        colluders_possible: Option<u32>,
    },
    /// More merchants than one complete graph holds.
    #[error(
        "{merchants} merchants are more than the {COMPLETE_GRAPH_MAX} that one round of secure aggregation carries: let {COMPLETE_GRAPH_MAX} of them take part in each round (--merchants {COMPLETE_GRAPH_MAX}), or found several federations"
    )]
    TooManyMerchants {
        /// n.
        merchants: u32,
    },
    /// The signal drowns in the noise.
    #[error("{}", too_few_series(*series, *signal, *needed, *epsilon_needed))]
    TooFewSeries {
        /// Series of the federation, as assumed.
        series: u32,
        /// The signal-to-noise ratio they give.
        signal: f64,
        /// Series that would do.
        needed: u64,
        /// ε that would do, with these series.
        epsilon_needed: Option<f64>,
    },
    /// Merchant unit: the noise is longer than what all merchants together can send.
    #[error(
        "the noise in a round's sum is {norm:.0} clip norms long, and {merchants} merchants send at most {merchants}: under the merchant unit {needed} merchants would do; or protect customers or series, or train fewer parameters"
    )]
    NoiseDrownsMerchants {
        /// n.
        merchants: u32,
        /// σ√d, in clip norms.
        norm: f64,
        /// Merchants that would do.
        needed: u64,
    },
    /// No σ reaches the target.
    #[error(
        "no amount of noise brings this schedule to ε = {epsilon} at δ = {delta:e}: raise ε or δ, or plan fewer rounds"
    )]
    NoNoise {
        /// Target.
        epsilon: f64,
        /// δ.
        delta: f64,
    },
    /// The noise fits no grid that is fine enough for the model.
    #[error(
        "σ = {sigma:.3e} clip norms is more than the {most:.3e} that can be drawn exactly on a grid fine enough for {dimension} parameters: raise ε, plan fewer rounds or a smaller sampling rate, or train fewer parameters"
    )]
    NoGrid {
        /// σ needed.
        sigma: f64,
        /// The largest that can be drawn.
        most: f64,
        /// d.
        dimension: u32,
    },
    /// The plan that came out is not consistent.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The accountant refused.
    #[error(transparent)]
    Accounting(AccountingError),
    /// A number makes no event.
    #[error(transparent)]
    Event(#[from] EventError),
}

fn too_few_series(series: u32, signal: f64, needed: u64, epsilon: Option<f64>) -> String {
    let or = epsilon.map(|epsilon| format!(", or about ε = {epsilon:.1} with these")).unwrap_or_default();
    format!(
        "{series} series are too few for this noise: the expected signal-to-noise ratio over the run is {signal:.2}, and below {SIGNAL_NEEDED} the outcome is a matter of luck; about {needed} series would do{or}"
    )
}

fn thresholds(
    merchants: u32,
    drop_outs: u32,
    colluders: u32,
    cohort_min: u32,
    needed: Option<u32>,
    drop_outs_possible: Option<u32>,
    colluders_possible: Option<u32>,
) -> String {
    let mut text = format!(
        "{merchants} merchants of whom {drop_outs} may vanish and {colluders} may collude have no thresholds: more than two thirds of them, and at least {cohort_min}, must stay, and the colluders must not tip two quorums"
    );
    match needed {
        Some(needed) if needed > merchants => text += &format!("; {needed} merchants would do"),
        _ => {}
    }
    if let Some(possible) = drop_outs_possible.filter(|possible| *possible < drop_outs) {
        text += &format!("; or at most {possible} may vanish");
    }
    if let Some(possible) = colluders_possible.filter(|possible| *possible < colluders) {
        text += &format!("; or at most {possible} may collude");
    }
    text
}
