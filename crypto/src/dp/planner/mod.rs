//! From what an operator wants to a complete plan, or to the reason why there is none.
//!
//! Asked for a unit, a target (ε, δ), so many merchants with so many series each, a model, and what must be survived,
//! [`propose`] fills in every number of a [`PrivacyPlan`]: the smallest noise that keeps the target, a grid fine
//! enough for it, a modulus that does not wrap, thresholds that secure aggregation accepts.
//!
//! Invariant: every proposal passes [`PrivacyPlan::check`], its schedule costs at most the target *after* rounding is
//! paid for, and, unless [`Proposal::not_runnable`] says why not, it is [`PrivacyPlan::runnable`]. Nothing here looks at
//! data: series counts are public assumptions, made before anybody trains.
//!
//! What is worth planning at all is judged by [`signal_to_noise`]; what was measured about it is in docs/RESULTS.md.
//! Left out on purpose: learning rates and other settings that cost no privacy (usual values are filled in), and
//! choosing anything after having seen results, which would be a release of its own.

mod explain;
mod refused;
mod trade;

#[cfg(test)]
mod tests;

pub use explain::Choice;
pub use refused::Refused;
pub use trade::{Alternative, SIGNAL_NEEDED, Survival, Traffic, series_needed, signal_to_noise};

use serde::Serialize;

use super::{
    accountant::{self, AccountingError},
    filter::MerchantPolicy,
    noise::Variance,
    plan::{
        COMPLETE_GRAPH_MAX, ContributionBounds, Day, EpsilonRows, IntegerPlan, LocalPlan, NoiseMode, OptimizerPlan,
        OptimizerRule, PlanError, PrivacyPlan, PrivacyTarget, ROUNDS_MAX, RoundPlan, SHARE_UNITS_MIN, StepPlan,
    },
    unit::PrivacyUnit,
};
use crate::{quantize::Grid, secagg::threshold::ValidThreshold};

/// Rounding may widen the sensitivity by these shares; the finest grid that the sampler can noise is taken.
const ROUNDING_SHARES: [f64; 3] = [0.002, 0.005, 0.01];
/// Numbers of rounds to choose from. Fewer were never measured to be enough (docs/RESULTS.md).
const ROUNDS: [u32; 3] = [40, 80, 160];
/// Fewer rounds are preferred to so much more signal.
const ROUNDS_WORTH: f64 = 0.95;
/// Signal over noise from which on a larger set of trained parameters was measured to forecast no worse than the next
/// smaller one, and with prices and promotions better (docs/RESULTS.md, "How many parameters?").
pub const SIGNAL_PAYS: f64 = 10.0;
/// Learning rate of plain gradient steps of the server.
const FEDAVG_RATE: f64 = 1.0;
/// Sampling rate where none is asked for.
const SAMPLING_RATE: f64 = 0.25;

/// What an operator wants. Every number is public or an assumption.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Name of the plan, shown to people.
    pub name: String,
    /// Whom to protect.
    pub unit: PrivacyUnit,
    /// The most ε that the schedule may cost, against the server with the assumed colluders.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
    /// Merchants that take part in a round.
    pub merchants: u32,
    /// Series of the whole federation, an assumption.
    pub assumed_series: u32,
    /// The most series of one merchant.
    pub series_per_merchant_max: u32,
    /// d: privately trained parameters.
    pub dimension: u32,
    /// Bytes of the model's file, where it is known: every round's model is downloaded whole.
    pub model_bytes: Option<u64>,
    /// Merchants that may vanish in a round; `None`: one in six, as far as thresholds allow.
    pub drop_outs: Option<u32>,
    /// Merchants that may collude with the server; `None`: one in ten, at least one.
    pub colluders: Option<u32>,
    /// T; `None`: chosen.
    pub rounds: Option<u32>,
    /// q; `None`: a quarter, or 1 under the merchant unit.
    pub sampling_rate: Option<f64>,
    /// K, L and Q.
    pub bounds: ContributionBounds,
    /// C, or under the merchant unit the norm of a whole update.
    pub clip: f64,
    /// Where the noise is added.
    pub noise: NoiseMode,
    /// Local steps of a round, where there are any: with local noise, or under the merchant unit.
    pub local_steps: u32,
    /// μ of local steps' pull back towards the round's model (FedProx); 0 for none.
    pub proximal: f64,
    /// Rule of the server's step.
    pub optimizer: OptimizerRule,
    /// First day of training.
    pub period_start: Day,
    /// Last day of training.
    pub period_end: Day,
    /// An update leaves no sooner than this after the offer.
    pub submit_after_ms: u64,
    /// Time a phase of a round may take.
    pub phase_deadline_ms: u64,
    /// Propose although the expected signal drowns ([`SIGNAL_NEEDED`]).
    pub despite_weak_signal: bool,
    /// Not to be run by a server: more merchants than one complete graph holds are fine.
    pub simulation: bool,
}

impl Request {
    /// Customers of `merchants` merchants, everything else as usual.
    pub fn new(merchants: u32, series_per_merchant: u32, dimension: u32, period_start: Day, period_end: Day) -> Self {
        Self {
            name: "federation".into(),
            unit: PrivacyUnit::Customer,
            epsilon: 8.0,
            delta: 1e-6,
            merchants,
            assumed_series: merchants.saturating_mul(series_per_merchant),
            series_per_merchant_max: series_per_merchant.saturating_mul(2),
            dimension,
            model_bytes: None,
            drop_outs: None,
            colluders: None,
            rounds: None,
            sampling_rate: None,
            bounds: ContributionBounds { order_lines: 8, series: 2, units: 40.0 },
            clip: 0.1,
            noise: NoiseMode::Distributed,
            local_steps: 10,
            proximal: 0.0,
            optimizer: OptimizerRule::FedAdam,
            period_start,
            period_end,
            submit_after_ms: 1_000,
            phase_deadline_ms: 60_000,
            despite_weak_signal: false,
            simulation: false,
        }
    }
}

/// A plan, and what it means.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Proposal {
    /// The plan, checked.
    pub plan: PrivacyPlan,
    /// d: parameters it was made for.
    pub dimension: u32,
    /// ε of the whole schedule against each observer.
    pub epsilon: EpsilonRows,
    /// Expected signal over noise; see [`signal_to_noise`].
    pub signal_to_noise: f64,
    /// Series of the federation from which on that would be [`SIGNAL_NEEDED`]; `None` under the merchant unit.
    pub series_needed: Option<u64>,
    /// Bytes of one merchant in one round.
    pub traffic: Traffic,
    /// Why each number is what it is.
    pub choices: Vec<Choice>,
    /// What to know before using it.
    pub notes: Vec<String>,
    /// Why no server and client of this version run it; `None` where they do.
    pub not_runnable: Option<String>,
}

/// A complete plan for a request.
///
/// # Errors
/// [`Refused`] says what cannot work, and what would.
pub fn propose(request: &Request) -> Result<Proposal, Refused> {
    let plan = chosen(request)?;
    plan.check()?;
    let dimension = request.dimension;
    let signal = signal_to_noise(&plan, dimension);
    let needed = series_needed(&plan, dimension);
    if plan.privacy.unit == PrivacyUnit::Merchant {
        // Without the cost of rounding: the smallest number that any grid could do with.
        let norm = least_noise(&plan)? * f64::from(dimension).sqrt();
        if norm > f64::from(request.merchants) {
            let needed = norm.ceil() as u64;
            return Err(Refused::NoiseDrownsMerchants { merchants: request.merchants, norm, needed });
        }
    } else if signal < SIGNAL_NEEDED && !request.despite_weak_signal {
        return Err(Refused::TooFewSeries {
            series: request.assumed_series,
            signal,
            needed: needed.unwrap_or(u64::MAX),
            epsilon_needed: epsilon_for_signal(&plan, dimension, signal),
        });
    }
    Ok(Proposal {
        epsilon: plan.epsilon_rows(dimension, plan.rounds.count)?,
        signal_to_noise: signal,
        series_needed: needed,
        traffic: Traffic::of(&plan, dimension, request.model_bytes)?,
        choices: explain::choices(request, &plan, signal)?,
        notes: explain::notes(&plan, signal),
        not_runnable: plan.runnable().err().map(|e| e.to_string()),
        dimension,
        plan,
    })
}

/// Other numbers of rounds, sampling rates and targets for the same request, the proposal's own first. What cannot be
/// planned is left out.
///
/// # Errors
/// [`Refused`] where not even the request itself can be planned.
pub fn alternatives(request: &Request, proposal: &Proposal) -> Result<Vec<Alternative>, Refused> {
    let (rounds, rate) = (proposal.plan.rounds.count, proposal.plan.step.sampling_rate);
    let mut table = vec![Alternative::of(&proposal.plan, request.dimension, request.model_bytes)?];
    let merchant = request.unit == PrivacyUnit::Merchant;
    let variations = [
        ((rounds / 2).max(1), rate, request.epsilon),
        (rounds.saturating_mul(2), rate, request.epsilon),
        (rounds.saturating_mul(4), rate, request.epsilon),
        (rounds, if merchant { rate } else { rate / 4.0 }, request.epsilon),
        (rounds, if merchant { rate } else { (rate * 4.0).min(1.0) }, request.epsilon),
        (rounds, rate, request.epsilon / 2.0),
        (rounds, rate, request.epsilon * 2.0),
    ];
    for (rounds, rate, epsilon) in variations {
        let other = Request { rounds: Some(rounds), sampling_rate: Some(rate), epsilon, ..request.clone() };
        if let Ok(plan) = chosen(&other) {
            let row = Alternative::of(&plan, request.dimension, request.model_bytes)?;
            if !table.contains(&row) {
                table.push(row);
            }
        }
    }
    Ok(table)
}

/// What tolerating fewer or more drop-outs and colluders does to the noise, the proposal's own first.
pub fn survivals(proposal: &Proposal) -> Vec<Survival> {
    Survival::table(&proposal.plan, proposal.dimension)
}

/// The plan with the number of rounds asked for, or the smallest that hardly loses any signal.
fn chosen(request: &Request) -> Result<PrivacyPlan, Refused> {
    if let Some(rounds) = request.rounds {
        return draft(request, rounds);
    }
    let plans = ROUNDS.iter().map(|rounds| draft(request, *rounds)).collect::<Result<Vec<_>, _>>()?;
    let signals: Vec<f64> = plans.iter().map(|plan| signal_to_noise(plan, request.dimension)).collect();
    let best = signals.iter().copied().fold(0.0, f64::max);
    let at = signals.iter().position(|signal| *signal >= ROUNDS_WORTH * best).unwrap_or(0);
    Ok(plans.into_iter().nth(at).expect("invariant: the position is one of the plans'"))
}

/// Everything but the number of rounds.
fn draft(request: &Request, rounds: u32) -> Result<PrivacyPlan, Refused> {
    check(request, rounds)?;
    let (survivors_min, colluders_assumed) = thresholds(request)?;
    let cohort_max = u16::try_from(request.merchants).map_err(|_| too_many(request))?;
    let merchant = request.unit == PrivacyUnit::Merchant;
    let local = (merchant || request.noise == NoiseMode::Local).then_some(LocalPlan {
        noise: request.noise,
        steps: request.local_steps,
        learning_rate: 0.5,
        update_clip: if merchant { request.clip } else { 1.0 },
        proximal: request.proximal,
    });
    let mut plan = PrivacyPlan {
        version: if local.is_some() { 2 } else { 1 },
        name: request.name.clone(),
        privacy: PrivacyTarget { unit: request.unit, delta: request.delta, epsilon_cap: request.epsilon },
        bounds: request.bounds,
        step: StepPlan {
            clip: request.clip,
            noise_multiplier: 1.0,
            sampling_rate: request.sampling_rate.unwrap_or(if merchant { 1.0 } else { SAMPLING_RATE }),
            windows_per_series: 4,
            assumed_series: request.assumed_series,
            series_per_merchant_max: request.series_per_merchant_max,
        },
        local,
        rounds: RoundPlan {
            count: rounds,
            cohort_max,
            survivors_min,
            colluders_assumed,
            period_start: request.period_start,
            period_end: request.period_end,
            submit_after_ms: request.submit_after_ms,
            phase_deadline_ms: request.phase_deadline_ms,
        },
        integers: IntegerPlan { units_per_clip: 1, bits: Grid::MAX_BITS },
        optimizer: OptimizerPlan {
            rule: request.optimizer,
            learning_rate: server_rate(request),
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            cosine: true,
            averaging: 0.9,
        },
    };
    let sigma = least_noise(&plan)?;
    let root_d = f64::from(request.dimension).sqrt();
    for share in ROUNDING_SHARES {
        // At least so fine that a merchant's noise is one of integers, and one that the sampler draws.
        let finest = (SHARE_UNITS_MIN * plan.shares().sqrt() / sigma).ceil();
        plan.integers.units_per_clip = (root_d / share).ceil().max(finest).min(f64::from(1u32 << 30)) as u32;
        let cost = plan.grid(request.dimension).map_err(PlanError::Grid)?.rounding_cost();
        plan.step.noise_multiplier = plan.noise_multiplier_for(sigma, request.dimension)?;
        if cost > 1.0 + ROUNDING_SHARES[ROUNDING_SHARES.len() - 1] || plan.local_variance().is_err() {
            continue;
        }
        plan.integers.bits = plan.bits_needed(request.dimension)?;
        plan.local = plan.local.map(|local| LocalPlan { learning_rate: local_rate(&plan, local, root_d), ..local });
        return Ok(plan);
    }
    Err(Refused::NoGrid {
        sigma,
        most: largest_noise(&plan, root_d / ROUNDING_SHARES[ROUNDING_SHARES.len() - 1]),
        dimension: request.dimension,
    })
}

/// Learning rate of the server's step. Adam's steps have the length of the rate; those of the other rules that of the clip
/// times the rate, or with momentum 1 / (1 − β₁) times that.
fn server_rate(request: &Request) -> f64 {
    let noised_locally = request.noise == NoiseMode::Local;
    match request.optimizer {
        // Noise in every local step drowns more of each round: smaller server steps were measured to lose less.
        OptimizerRule::FedAdam => {
            if noised_locally {
                0.002
            } else {
                0.01
            }
        }
        // Whole updates are taken as they are, sums of gradients need a rate.
        OptimizerRule::FedAvg if noised_locally || request.unit == PrivacyUnit::Merchant => 1.0,
        OptimizerRule::FedAvg => FEDAVG_RATE,
        OptimizerRule::FedAvgM if noised_locally || request.unit == PrivacyUnit::Merchant => 0.1,
        OptimizerRule::FedAvgM => FEDAVG_RATE / 10.0,
    }
}

/// Which of several sets of trained parameters a federation can pay for, from their numbers, ascending: the largest whose
/// signal over noise is [`SIGNAL_PAYS`], else the smallest. With each set's signal.
///
/// # Errors
/// [`Refused`] where a plan for one of them cannot be drafted at all.
pub fn affordable(request: &Request, dimensions: &[u32]) -> Result<(usize, Vec<f64>), Refused> {
    let signals = dimensions
        .iter()
        .map(|&dimension| {
            let request = Request { dimension, ..request.clone() };
            Ok(signal_to_noise(&chosen(&request)?, dimension))
        })
        .collect::<Result<Vec<f64>, Refused>>()?;
    Ok((signals.iter().rposition(|signal| *signal >= SIGNAL_PAYS).unwrap_or(0), signals))
}

/// Learning rate of noised local steps: so small that the noise in a round's update is half the update's clip, which then
/// rarely cuts. Without noise in the steps, the usual one.
fn local_rate(plan: &PrivacyPlan, local: LocalPlan, root_d: f64) -> f64 {
    if local.noise == NoiseMode::Distributed {
        return local.learning_rate;
    }
    let noise = plan.step.noise_multiplier * plan.step.clip * root_d * f64::from(local.steps).sqrt();
    let rate = 0.5 * local.update_clip * plan.local_divisor() / noise;
    // Two digits, downwards.
    let digit = 10f64.powi(rate.log10().floor() as i32 - 1);
    ((rate / digit).floor() * digit).max(f64::MIN_POSITIVE)
}

/// Ranges that the plan's own check would name less well, or only after long computation.
fn check(request: &Request, rounds: u32) -> Result<(), Refused> {
    let refuse = |field, why: &str| Err(Refused::Request { field, why: why.into() });
    if !(request.epsilon > 0.0 && request.epsilon <= 1e3) {
        return refuse("epsilon", "must lie above 0 and at most at 1000; 1 is strong, 8 is usual for training");
    }
    if !(request.delta > 0.0 && request.delta < 1e-2) {
        return refuse(
            "delta",
            "must lie between 0 and 0.01, and well below one over the number of people (1e-6 is usual)",
        );
    }
    if !(1..=Grid::MAX_DIMENSION).contains(&request.dimension) {
        return refuse("parameters", "must be positive and at most 2^28");
    }
    if request.assumed_series == 0 || request.series_per_merchant_max == 0 {
        return refuse("series", "there must be at least one series");
    }
    if !(1..=ROUNDS_MAX).contains(&rounds) {
        return Err(Refused::Request { field: "rounds", why: format!("must lie in 1..={ROUNDS_MAX}") });
    }
    if request.sampling_rate.is_some_and(|q| !(q > 0.0 && q <= 1.0)) {
        return refuse("sampling-rate", "must lie above 0 and at most at 1");
    }
    if !(request.clip.is_finite() && request.clip > 0.0) {
        return refuse("clip", "must be positive");
    }
    if request.period_start > request.period_end {
        return refuse("period", "begins after it ends");
    }
    Ok(())
}

/// m and n_C for the request.
fn thresholds(request: &Request) -> Result<(u16, u16), Refused> {
    let n = request.merchants;
    let cohort_min = u32::from(MerchantPolicy::default().cohort_min);
    // The merchant unit mostly needs more merchants than one graph holds: planned for the federation that may come.
    let planned_only = request.simulation || request.unit == PrivacyUnit::Merchant;
    if n > COMPLETE_GRAPH_MAX as u32 && !planned_only || n > u32::from(u16::MAX) {
        return Err(too_many(request));
    }
    let shares = n * 2 / 3 + 1;
    let colluders = request.colluders.unwrap_or_else(|| (n / 10).max(1));
    let drop_outs = request.drop_outs.unwrap_or_else(|| (n / 6).min(n.saturating_sub(shares.max(cohort_min))));
    let survivors = n.saturating_sub(drop_outs);
    let fits = |n: u32, m: u32| {
        let shares = n * 2 / 3 + 1;
        m >= cohort_min && m >= shares && m > colluders && m <= n && 2 * shares > n + colluders
    };
    let fail = || Refused::Thresholds {
        merchants: n,
        drop_outs,
        colluders,
        cohort_min,
        needed: (n..=COMPLETE_GRAPH_MAX as u32).find(|more| fits(*more, more.saturating_sub(drop_outs))),
        drop_outs_possible: n.checked_sub(shares.max(cohort_min).max(colluders + 1)),
        colluders_possible: (2 * shares).checked_sub(n + 1).map(|most| most.min(survivors.saturating_sub(1))),
    };
    if !fits(n, survivors) {
        return Err(fail());
    }
    let (Ok(m), Ok(c)) = (u16::try_from(survivors), u16::try_from(colluders)) else { return Err(fail()) };
    // The formula above is the one of secure aggregation; where that differs, it decides.
    if let (Ok(n), true) = (u16::try_from(n), n <= COMPLETE_GRAPH_MAX as u32)
        && ValidThreshold::new(n, m, ValidThreshold::propose_shares(n), c).is_err()
    {
        return Err(fail());
    }
    Ok((m, c))
}

fn too_many(request: &Request) -> Refused {
    Refused::TooManyMerchants { merchants: request.merchants }
}

/// The smallest σ that keeps the plan's target, before rounding is paid for.
fn least_noise(plan: &PrivacyPlan) -> Result<f64, Refused> {
    plan.least_noise().map_err(|error| match error {
        PlanError::Accounting(AccountingError::Unreachable { .. } | AccountingError::TooLittleNoise) => {
            Refused::NoNoise { epsilon: plan.privacy.epsilon_cap, delta: plan.privacy.delta }
        }
        PlanError::Accounting(other) => Refused::Accounting(other),
        PlanError::Event(other) => Refused::Event(other),
        other => Refused::Plan(other),
    })
}

/// The largest σ that the sampler draws on a grid of `units` per clip norm.
fn largest_noise(plan: &PrivacyPlan, units: f64) -> f64 {
    let (mut fits, mut fails) = (0.0, 1e12);
    for _ in 0..60 {
        let at = f64::midpoint(fits, fails);
        if Variance::from_sigma_ceil(at).is_ok() { fits = at } else { fails = at }
    }
    fits * plan.shares().sqrt() / units
}

/// ε at which the signal would be as strong as needed, all else being equal; `None` where the accountant has none.
fn epsilon_for_signal(plan: &PrivacyPlan, dimension: u32, signal: f64) -> Option<f64> {
    let sigma = plan.effective_noise_multiplier(dimension).ok()? * signal / SIGNAL_NEEDED;
    let schedule = plan.schedule(sigma, plan.rounds.count).ok()?;
    accountant::epsilon(&schedule, plan.privacy.delta).ok().map(|spent| spent.epsilon)
}
