//! Everything a report says, computed from a verdict: the one source of the HTML page, the JSON and the CSV file.
//!
//! Invariant: every ε, δ and probability in here comes from the plan and the counted charges through the accountant.
//! Where merchants were charged differently, figures for "the federation" are those of the merchant that was charged
//! most, so they hold for each.

use std::collections::BTreeMap;

use forecastle_crypto::{
    dp::{
        accountant::{AccountingError, Spent},
        canaries::{CanaryRun, Look},
        event::EventError,
        plan::{ContributionBounds, Day, LocalPlan, PlanError},
        unit::{NeighboringRelation, PrivacyUnit},
    },
    identity::{Sha256Digest, VerifyingKey},
    ledger::audit::{Finding, MerchantSpending, RoundRecord, Rule, Verdict},
};
use serde::Serialize;

use super::{
    costs::Costs,
    law::{self, Mapping},
    words::{self, Remark, Seen},
};
use crate::conclusions::{Conclusions, Point};

/// The format version of the JSON report.
pub const VERSION: u16 = 1;

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Facts {
    /// Format, [`VERSION`].
    pub version: u16,
    /// When the report was made, in UTC.
    pub made_at: String,
    /// By which software.
    pub made_by: String,
    /// What the log says of itself.
    pub log: Log,
    /// What was promised.
    pub promise: Promise,
    /// What was spent against each adversary, by the merchant that was charged most.
    pub adversaries: Vec<AdversaryFacts>,
    /// By merchant.
    pub merchants: Vec<MerchantSpending>,
    /// Charged rounds on which the figures of the federation are based.
    pub rounds_charged: u32,
    /// A person who is a customer of several merchants.
    pub several_merchants: Vec<SeveralMerchants>,
    /// A person whose purchases touch several series, where the unit is the series.
    pub several_series: Vec<SeveralSeries>,
    /// The same person in several data periods, each of which costs as much.
    pub several_periods: Vec<SeveralPeriods>,
    /// ε after each number of charged rounds, up to the whole schedule.
    pub over_rounds: Vec<AfterRounds>,
    /// How rounds ended.
    pub rounds: Vec<RoundRecord>,
    /// Software and sources of noise that charges name, with the number of merchants.
    pub software: BTreeMap<String, usize>,
    /// As above.
    pub noise_sources: BTreeMap<String, usize>,
    /// The verdict's findings.
    pub findings: Vec<Finding>,
    /// How many rules were checked.
    pub rules_checked: usize,
    /// The empirical audit, if one was run.
    pub canaries: Option<Empirical>,
    /// What was not protected.
    pub not_protected: Vec<Remark>,
    /// What files alone cannot show.
    pub not_verifiable: Vec<Remark>,
    /// What the server sees.
    pub server_sees: Vec<Seen>,
    /// GDPR.
    pub gdpr: Vec<Mapping>,
    /// CCPA.
    pub ccpa: Vec<Mapping>,
    /// NIST SP 800-226.
    pub nist: Vec<Remark>,
    /// The annex for a data protection impact assessment.
    pub assessment: Vec<Mapping>,
}

/// What the log says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Log {
    /// Name of the federation.
    pub federation: String,
    /// The key that signatures were checked with.
    pub server_key: VerifyingKey,
    /// Whether that key came from the auditor, not from the folder.
    pub key_was_given: bool,
    /// A line on each witness that the auditor asked for.
    pub witnesses: Vec<String>,
    /// When the federation was founded, in UTC, by its own clock.
    pub founded_at: String,
    /// When the last round ended, in UTC, by the server's clock.
    pub last_round_at: Option<String>,
    /// Entries.
    pub entries: u64,
    /// Root of the tree.
    pub root: Sha256Digest,
    /// Merchants that enrolled.
    pub merchants: usize,
    /// Rounds that published a model.
    pub rounds_closed: u32,
    /// Rounds that did not.
    pub rounds_abandoned: u32,
    /// Rounds that the plan schedules.
    pub rounds_planned: u32,
    /// Latest model.
    pub model_version: u64,
    /// Model files compared with the log.
    pub models_compared: u32,
    /// Fewest and most merchants in the sum of a round.
    pub survivors: Option<(u32, u32)>,
    /// Fewest and most merchants invited to a round.
    pub cohorts: Option<(u32, u32)>,
}

/// What was promised.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Promise {
    /// The sentence.
    pub wording: String,
    /// What the unit means.
    pub unit_means: String,
    /// Whom the guarantee protects.
    pub unit: PrivacyUnit,
    /// Which data sets are neighbours.
    pub relation: NeighboringRelation,
    /// δ.
    pub delta: f64,
    /// Cap on ε, against the server with the assumed colluders.
    pub epsilon_cap: f64,
    /// K, L and Q.
    pub bounds: ContributionBounds,
    /// First day of the data period.
    pub period_start: Day,
    /// Last day of the data period.
    pub period_end: Day,
    /// q.
    pub sampling_rate: f64,
    /// Local steps of a round, where it has more than one step.
    pub local: Option<LocalPlan>,
    /// C, of which σ is a multiple.
    pub clip: f64,
    /// σ as planned.
    pub noise_multiplier: f64,
    /// σ that counts: rounding to the grid and the narrower noise of integers paid for.
    pub noise_multiplier_effective: f64,
    /// s.
    pub units_per_clip: u32,
    /// b.
    pub bits: u8,
    /// d.
    pub dimension: u32,
    /// m.
    pub survivors_min: u16,
    /// n_C.
    pub colluders_assumed: u16,
    /// Most merchants in a round.
    pub cohort_max: u16,
    /// SHA-256 of the plan file.
    pub plan_sha256: Sha256Digest,
}

/// An observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adversary {
    /// Anyone who reads the published models.
    Published,
    /// The server with the assumed colluders.
    Server,
    /// The server with every other merchant.
    EveryoneElse,
}

/// What was spent against one adversary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AdversaryFacts {
    /// Who.
    pub adversary: Adversary,
    /// In words.
    pub who: String,
    /// What noise stands in its way.
    pub behind: String,
    /// σ that counts, as a multiple of C.
    pub noise_multiplier: f64,
    /// ε at the promised δ, by both accountants; none where nothing was charged.
    pub spent: Option<Spent>,
    /// What that allows, from the whole profile.
    pub odds: Option<Conclusions>,
    /// δ at every ε.
    pub profile: Vec<Point>,
}

/// A person who is a customer of several merchants of the federation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeveralMerchants {
    /// Of how many.
    pub merchants: u32,
    /// Series that change at most, over all of them.
    pub series: u32,
    /// Against readers of the published models.
    pub published: Spent,
    /// Against the server and its assumed colluders, none of whom is one of these merchants.
    pub server: Spent,
    /// Of guesses at even odds, the share that readers of the published models can get right at best.
    pub published_right_guesses: f64,
}

/// A person whose purchases lie in several series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeveralSeries {
    /// In how many.
    pub series: u32,
    /// Against readers of the published models.
    pub published: Spent,
    /// Against the server and its assumed colluders.
    pub server: Spent,
    /// Of guesses at even odds, the share that readers of the published models can get right at best.
    pub published_right_guesses: f64,
}

/// Several periods, each costing what this one cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeveralPeriods {
    /// How many.
    pub periods: u32,
    /// Against readers of the published models.
    pub published: Spent,
    /// Against the server and its assumed colluders.
    pub server: Spent,
    /// Against everyone else.
    pub everyone_else: Spent,
    /// Of guesses at even odds, the share that readers of the published models can get right at best.
    pub published_right_guesses: f64,
}

/// ε after some rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AfterRounds {
    /// Charged rounds.
    pub rounds: u32,
    /// Against readers of the published models.
    pub published: f64,
    /// Against the server and its assumed colluders.
    pub server: f64,
    /// Against everyone else.
    pub everyone_else: f64,
}

/// An empirical audit beside the claim.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Empirical {
    /// The file.
    #[serde(flatten)]
    pub result: CanaryRun,
    /// The way of guessing that gives the bound.
    pub best: Look,
    /// What the bound would be, had all guesses been right.
    pub greatest_bound: f64,
    /// Whether it was run for the plan that this log was kept under.
    pub this_plan: bool,
    /// Whether it refutes the claim it was made for.
    pub refutes_own_claim: bool,
}

/// Why facts could not be worked out.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The accountant refused.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
    /// A number of the plan makes no event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The plan does not fit the model.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// Where a report comes from, beside the log.
#[derive(Clone, Debug)]
pub struct Origin {
    /// When it is made, in UTC.
    pub made_at: String,
    /// Whether the auditor brought the federation's key.
    pub key_was_given: bool,
    /// A line on each witness that the auditor asked for.
    pub witnesses: Vec<String>,
    /// The empirical audit.
    pub canaries: Option<CanaryRun>,
}

impl Facts {
    /// Works out a report.
    ///
    /// # Errors
    /// [`FactsError`] where the accountant refuses the plan's numbers.
    pub fn of(verdict: &Verdict, origin: Origin) -> Result<Self, FactsError> {
        let costs = Costs::of(verdict)?;
        let adversaries = costs.adversaries()?;
        let promise = Promise::of(verdict)?;
        let log = Log::of(verdict, origin.key_was_given, origin.witnesses);
        let canaries = origin.canaries.map(|result| Empirical {
            best: result.best(),
            greatest_bound: result.greatest_bound(),
            this_plan: result.plan_sha256 == verdict.plan_sha256,
            refutes_own_claim: result.refutes(),
            result,
        });
        let named = |of: fn(&MerchantSpending) -> &std::collections::BTreeSet<String>| {
            let mut counted: BTreeMap<String, usize> = BTreeMap::new();
            for name in verdict.merchants.iter().flat_map(of) {
                *counted.entry(name.clone()).or_default() += 1;
            }
            counted
        };
        Ok(Self {
            version: VERSION,
            made_at: origin.made_at,
            made_by: concat!("forecastle-audit ", env!("CARGO_PKG_VERSION")).to_owned(),
            rounds_charged: costs.rounds,
            several_merchants: costs.several_merchants()?,
            several_series: costs.several_series()?,
            several_periods: costs.several_periods()?,
            over_rounds: costs.over_rounds()?,
            rounds: verdict.rounds.clone(),
            software: named(|m| &m.software),
            noise_sources: named(|m| &m.noise_sources),
            findings: verdict.findings.clone(),
            rules_checked: Rule::ALL.len(),
            not_protected: words::not_protected(&promise),
            not_verifiable: words::not_verifiable(&log),
            server_sees: words::server_sees(),
            gdpr: law::gdpr(&promise, &log),
            ccpa: law::ccpa(&promise),
            nist: words::nist(&promise, &log),
            assessment: law::assessment(&promise, &log, &adversaries),
            merchants: verdict.merchants.clone(),
            canaries,
            adversaries,
            promise,
            log,
        })
    }
}

impl Log {
    fn of(verdict: &Verdict, key_was_given: bool, witnesses: Vec<String>) -> Self {
        use forecastle_crypto::ledger::audit::RoundOutcome;
        let published = || {
            verdict.rounds.iter().filter_map(|round| match round.outcome {
                RoundOutcome::Published { cohort, survivors, .. } => Some((cohort, survivors)),
                RoundOutcome::Abandoned { .. } => None,
            })
        };
        let range = |of: fn((u32, u32)) -> u32| published().map(of).min().zip(published().map(of).max());
        Self {
            federation: verdict.federation.clone(),
            server_key: verdict.server_key,
            key_was_given,
            witnesses,
            founded_at: words::utc(verdict.founded_at_ms),
            last_round_at: verdict.rounds.iter().map(|round| round.at_ms).max().map(words::utc),
            entries: verdict.entries,
            root: verdict.root,
            merchants: verdict.merchants.len(),
            rounds_closed: verdict.rounds_closed,
            rounds_abandoned: verdict.rounds_abandoned,
            rounds_planned: verdict.plan.rounds.count,
            model_version: verdict.model_version,
            models_compared: verdict.models_compared,
            survivors: range(|(_, survivors)| survivors),
            cohorts: range(|(cohort, _)| cohort),
        }
    }
}

impl Promise {
    fn of(verdict: &Verdict) -> Result<Self, FactsError> {
        let plan = &verdict.plan;
        Ok(Self {
            wording: words::promise(plan.privacy.unit),
            unit_means: words::unit_means(plan),
            unit: plan.privacy.unit,
            relation: plan.relation(),
            delta: plan.privacy.delta,
            epsilon_cap: plan.privacy.epsilon_cap,
            bounds: plan.bounds,
            period_start: plan.rounds.period_start,
            period_end: plan.rounds.period_end,
            sampling_rate: plan.step.sampling_rate,
            local: plan.local,
            clip: plan.noise_clip(),
            noise_multiplier: plan.step.noise_multiplier,
            noise_multiplier_effective: plan.effective_noise_multiplier(verdict.dimension)?,
            units_per_clip: plan.integers.units_per_clip,
            bits: plan.integers.bits,
            dimension: verdict.dimension,
            survivors_min: plan.rounds.survivors_min,
            colluders_assumed: plan.rounds.colluders_assumed,
            cohort_max: plan.rounds.cohort_max,
            plan_sha256: verdict.plan_sha256,
        })
    }
}
