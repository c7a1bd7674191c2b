//! What a plan gives for what it costs: signal against noise, bytes, and other plans beside it.

use serde::Serialize;

use crate::{
    dp::{
        plan::{NoiseMode, PlanError, PrivacyPlan},
        unit::PrivacyUnit,
    },
    secagg::threshold::ValidThreshold,
};

/// Signal over noise that a whole run needs, as [`signal_to_noise`] measures it. Found by running generated worlds of
/// several sizes: below, rounds made forecasts better with one seed and worse with another (docs/RESULTS.md, "How small
/// is too small?").
pub const SIGNAL_NEEDED: f64 = 3.0;

/// Bytes of a sealed pair of key shares, with the number of whom it is for.
const SHARES_BYTES: u64 = 83;
/// Bytes of a signed charge in the log, for names of some length (1,105 with names of two letters).
const CHARGE_BYTES: u64 = 1_130;
/// Bytes of a round's end in the log, and of each merchant in it (1,554 with four).
const CLOSED_BYTES: (u64, u64) = (960, 160);
/// Bytes that a merchant takes up in a round's offer: name, keys and signature in JSON.
const ROSTER_BYTES: u64 = 500;
/// Bytes of a parameter, where the model file is not known.
const PARAMETER_BYTES: u64 = 4;

/// Length that the sum of all contributions of a run could reach, were they all alike, over the length of its noise.
///
/// One step a round: √T·q·N/(σ√d) for N assumed series. Noise in every local step, drawn by each of n merchants on its
/// own: √(T·S)·q·N/(σ√(d·n)). Merchant unit: √T·n/(σ√d). Real gradients are not all alike, so this is an upper bound on
/// what can be learnt; it is a guide to sizes, not a forecast of accuracy.
pub fn signal_to_noise(plan: &PrivacyPlan, dimension: u32) -> f64 {
    let rounds = f64::from(plan.rounds.count);
    let noise = plan.step.noise_multiplier * f64::from(dimension).sqrt();
    let merchants = f64::from(plan.rounds.cohort_max);
    let sampled = plan.step.sampling_rate * f64::from(plan.step.assumed_series);
    match (plan.privacy.unit, plan.local) {
        (PrivacyUnit::Merchant, _) => rounds.sqrt() * merchants / noise,
        (_, Some(local)) if local.noise == NoiseMode::Local => {
            (rounds * f64::from(local.steps)).sqrt() * sampled / (noise * merchants.sqrt())
        }
        _ => rounds.sqrt() * sampled / noise,
    }
}

/// Series of the federation from which on the signal is [`SIGNAL_NEEDED`]; `None` under the merchant unit, where
/// merchants count and not series.
pub fn series_needed(plan: &PrivacyPlan, dimension: u32) -> Option<u64> {
    let signal = signal_to_noise(plan, dimension);
    (plan.privacy.unit != PrivacyUnit::Merchant)
        .then(|| (f64::from(plan.step.assumed_series) * SIGNAL_NEEDED / signal).ceil() as u64)
}

/// Bytes of one merchant in one round. The update's is exact; messages around it are rough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Traffic {
    /// The masked update: ⌈d·b/8⌉.
    pub update: u64,
    /// Everything sent.
    pub up: u64,
    /// Everything received: offer, key shares, what is new in the log, and the whole model.
    pub down: u64,
}

impl Traffic {
    /// Of a plan for `dimension` parameters in a model file of `model_bytes`; `None`: as if it held nothing else.
    ///
    /// # Errors
    /// Where the grid does not fit the dimension.
    pub fn of(plan: &PrivacyPlan, dimension: u32, model_bytes: Option<u64>) -> Result<Self, PlanError> {
        let update = plan.grid(dimension)?.packed_len() as u64;
        let merchants = u64::from(plan.rounds.cohort_max);
        let shares = (merchants - 1) * SHARES_BYTES;
        Ok(Self {
            update,
            up: update + shares + CHARGE_BYTES,
            down: shares
                + merchants * (ROSTER_BYTES + CHARGE_BYTES + CLOSED_BYTES.1)
                + CLOSED_BYTES.0
                + model_bytes.unwrap_or(u64::from(dimension) * PARAMETER_BYTES),
        })
    }
}

/// One line of a table of plans.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Alternative {
    /// T.
    pub rounds: u32,
    /// q.
    pub sampling_rate: f64,
    /// Target ε.
    pub epsilon: f64,
    /// σ.
    pub noise_multiplier: f64,
    /// Expected signal over noise.
    pub signal_to_noise: f64,
    /// Series that would make it [`SIGNAL_NEEDED`]; `None` under the merchant unit.
    pub series_needed: Option<u64>,
    /// Bytes that a merchant sends over the run.
    pub up: u64,
    /// Bytes that it receives.
    pub down: u64,
    /// Seconds that the run takes at least, waiting for the fixed time of submission alone.
    pub seconds_min: u64,
}

impl Alternative {
    /// Of a plan for `dimension` parameters.
    ///
    /// # Errors
    /// As [`Traffic::of`].
    pub fn of(plan: &PrivacyPlan, dimension: u32, model_bytes: Option<u64>) -> Result<Self, PlanError> {
        let rounds = u64::from(plan.rounds.count);
        let traffic = Traffic::of(plan, dimension, model_bytes)?;
        Ok(Self {
            rounds: plan.rounds.count,
            sampling_rate: plan.step.sampling_rate,
            epsilon: plan.privacy.epsilon_cap,
            noise_multiplier: plan.step.noise_multiplier,
            signal_to_noise: signal_to_noise(plan, dimension),
            series_needed: series_needed(plan, dimension),
            up: rounds * traffic.up,
            down: rounds * traffic.down,
            seconds_min: (rounds * plan.rounds.submit_after_ms).div_ceil(1000),
        })
    }
}

/// What tolerating drop-outs and colluders costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Survival {
    /// n − m: merchants that may vanish.
    pub drop_outs: u16,
    /// m.
    pub survivors_min: u16,
    /// n_C.
    pub colluders: u16,
    /// Noise in the sum when nobody vanishes, over the noise that ε counts: √(n/(m − n_C)).
    pub excess: f64,
    /// Signal over that noise.
    pub signal_to_noise: f64,
}

impl Survival {
    /// The plan's own values, none tolerated at all, and as many as the thresholds allow. One line only where every
    /// merchant adds the whole noise: there it does not depend on survivors.
    pub fn table(plan: &PrivacyPlan, dimension: u32) -> Vec<Self> {
        let (n, m, c) = (plan.rounds.cohort_max, plan.rounds.survivors_min, plan.rounds.colluders_assumed);
        let signal = signal_to_noise(plan, dimension);
        if plan.noise_mode() == NoiseMode::Local {
            return vec![Self {
                drop_outs: n - m,
                survivors_min: m,
                colluders: c,
                excess: 1.0,
                signal_to_noise: signal,
            }];
        }
        let shares =
            if n <= ValidThreshold::MAX_PARTICIPANTS { ValidThreshold::propose_shares(n) } else { n / 3 * 2 + 1 };
        let most = (2 * u32::from(shares)).saturating_sub(u32::from(n) + 1);
        let most = u16::try_from(most).unwrap_or(u16::MAX).min(m.saturating_sub(1));
        let mut table: Vec<Self> = Vec::new();
        for (m, c) in [(m, c), (n, 0), (shares.max(c + 1).min(n), c), (m, most)] {
            let excess = (f64::from(n) / f64::from(m - c)).sqrt();
            let row =
                Self { drop_outs: n - m, survivors_min: m, colluders: c, excess, signal_to_noise: signal / excess };
            if !table.contains(&row) {
                table.push(row);
            }
        }
        table
    }
}
