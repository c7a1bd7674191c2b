//! What the counted releases cost, against each observer and in other circumstances.
//!
//! Invariant: every event in here follows from the plan; only the number of rounds, of merchants or of series differs.

use forecastle_crypto::{
    dp::{
        accountant::{self, AccountingError, Spent},
        event::{DpEvent, EventError, TOUCHED_MAX},
        plan::{NoiseMode, PrivacyPlan},
        unit::PrivacyUnit,
    },
    ledger::audit::Verdict,
};

use super::{
    facts::{Adversary, AdversaryFacts, AfterRounds, FactsError, SeveralMerchants, SeveralPeriods, SeveralSeries},
    words,
};
use crate::conclusions::{Conclusions, Point};

/// Points of a curve over rounds.
const ROUND_POINTS: u32 = 16;

/// The plan's numbers and what they cost in other circumstances.
pub(super) struct Costs<'a> {
    plan: &'a PrivacyPlan,
    /// Rounds charged by the merchant that was charged most.
    pub(super) rounds: u32,
    merchants: u32,
    /// σ that counts, against each adversary.
    sigmas: [(Adversary, f64); 3],
    /// The merchants' own rows, the largest of each.
    worst: Option<[Spent; 3]>,
}

impl<'a> Costs<'a> {
    pub(super) fn of(verdict: &'a Verdict) -> Result<Self, FactsError> {
        let plan = &verdict.plan;
        let noise = plan.noise_rows(plan.effective_noise_multiplier(verdict.dimension)?);
        let rows = || verdict.merchants.iter().filter_map(|merchant| merchant.epsilon);
        let larger = |a: Spent, b: Spent| if b.epsilon > a.epsilon { b } else { a };
        Ok(Self {
            plan,
            rounds: verdict.merchants.iter().map(|merchant| merchant.charges_counted).max().unwrap_or(0),
            merchants: u32::try_from(verdict.merchants.len()).unwrap_or(u32::MAX),
            sigmas: [
                (Adversary::Published, noise.published),
                (Adversary::Server, noise.server),
                (Adversary::EveryoneElse, noise.everyone_else),
            ],
            worst: rows()
                .map(|row| [row.published, row.server, row.everyone_else])
                .reduce(|a, b| [larger(a[0], b[0]), larger(a[1], b[1]), larger(a[2], b[2])]),
        })
    }

    fn delta(&self) -> f64 {
        self.plan.privacy.delta
    }

    fn sigma(&self, adversary: Adversary) -> f64 {
        self.sigmas.iter().find(|(who, _)| *who == adversary).map_or(f64::NAN, |(_, sigma)| *sigma)
    }

    fn event(&self, adversary: Adversary, rounds: u32) -> Result<DpEvent, EventError> {
        self.plan.schedule(self.sigma(adversary), rounds)
    }

    fn spent(&self, adversary: Adversary, rounds: u32) -> Result<Spent, FactsError> {
        Ok(self.spent_on(&self.event(adversary, rounds)?)?)
    }

    pub(super) fn adversaries(&self) -> Result<Vec<AdversaryFacts>, FactsError> {
        let rounds = self.plan.rounds;
        let (m, colluders) = (rounds.survivors_min, rounds.colluders_assumed);
        let shares = |merchants: u16| match self.plan.noise_mode() {
            NoiseMode::Distributed => format!("the noise shares of at least {merchants} merchants, in every round"),
            NoiseMode::Local => "the merchant's own noise, whole in every local step".to_owned(),
        };
        let own = match self.plan.noise_mode() {
            NoiseMode::Distributed => "the merchant's own noise share only".to_owned(),
            NoiseMode::Local => shares(1),
        };
        let worst = |position: usize| self.worst.map(|rows| rows[position]);
        [
            ("anyone who reads the published models".to_owned(), shares(m)),
            (words::server_with_colluders(colluders), shares(m - colluders)),
            ("the server and every other merchant together".to_owned(), own),
        ]
        .into_iter()
        .zip(self.sigmas)
        .enumerate()
        .map(|(position, ((who, behind), (adversary, noise_multiplier)))| {
            let spent = worst(position);
            let profile = match spent {
                Some(_) => self.profile(adversary)?,
                None => Vec::new(),
            };
            let odds =
                spent.map(|spent| Conclusions::of(Point { epsilon: spent.epsilon, delta: self.delta() }, &profile));
            Ok(AdversaryFacts { adversary, who, behind, noise_multiplier, spent, odds, profile })
        })
        .collect()
    }

    /// δ at ε from 0 to where it is too small to matter.
    fn profile(&self, adversary: Adversary) -> Result<Vec<Point>, FactsError> {
        let profile = accountant::profile(&self.event(adversary, self.rounds)?)?;
        Ok(profile.into_iter().map(|point| Point { epsilon: point.epsilon, delta: point.delta }).collect())
    }

    /// A customer of k merchants changes up to kL series in one step, under one draw of the summed noise. Each
    /// merchant's sum is rounded on its own, and each rounding is paid for by that merchant's changed series, so the σ
    /// that counts is the same (`crypto/src/dp/mod.rs`, "What is proven"). Where every merchant adds all of its noise in
    /// steps of its own, the merchants' releases are composed.
    pub(super) fn several_merchants(&self) -> Result<Vec<SeveralMerchants>, FactsError> {
        if self.rounds == 0 || self.plan.privacy.unit != PrivacyUnit::Customer {
            return Ok(Vec::new());
        }
        let limit = self.merchants.min(TOUCHED_MAX / self.plan.bounds.series.max(1));
        [1, 2, 3, 4, 5, 8, 12, 20]
            .into_iter()
            .filter(|merchants| *merchants <= limit)
            .map(|merchants| {
                let series = merchants * self.plan.bounds.series;
                let against = |adversary| match self.plan.noise_mode() {
                    NoiseMode::Distributed => self.touching(series, self.sigma(adversary)),
                    NoiseMode::Local => self.event(adversary, self.rounds.saturating_mul(merchants)),
                };
                let published = against(Adversary::Published)?;
                Ok(SeveralMerchants {
                    merchants,
                    series,
                    published: self.spent_on(&published)?,
                    server: self.spent_on(&against(Adversary::Server)?)?,
                    published_right_guesses: right_guesses(&published)?,
                })
            })
            .collect()
    }

    /// Where the unit is the series: a person's purchases replace the vectors of the series they lie in, so the customer
    /// step applies; rounding costs the same.
    pub(super) fn several_series(&self) -> Result<Vec<SeveralSeries>, FactsError> {
        if self.rounds == 0 || self.plan.privacy.unit != PrivacyUnit::Series {
            return Ok(Vec::new());
        }
        [1, 2, 5, 10, 20]
            .into_iter()
            .map(|series| {
                let against = |adversary| self.touching(series, self.sigma(adversary));
                let published = against(Adversary::Published)?;
                Ok(SeveralSeries {
                    series,
                    published: self.spent_on(&published)?,
                    server: self.spent_on(&against(Adversary::Server)?)?,
                    published_right_guesses: right_guesses(&published)?,
                })
            })
            .collect()
    }

    fn touching(&self, series: u32, sigma: f64) -> Result<DpEvent, EventError> {
        let step = DpEvent::step(PrivacyUnit::Customer, self.plan.step.sampling_rate, series, sigma)?;
        let steps = match (self.plan.noise_mode(), self.plan.local) {
            (NoiseMode::Local, Some(local)) => u64::from(local.steps),
            _ => 1,
        };
        Ok(step.times(u64::from(self.rounds).saturating_mul(steps)))
    }

    fn spent_on(&self, event: &DpEvent) -> Result<Spent, AccountingError> {
        accountant::epsilon(event, self.delta())
    }

    pub(super) fn several_periods(&self) -> Result<Vec<SeveralPeriods>, FactsError> {
        if self.rounds == 0 {
            return Ok(Vec::new());
        }
        [1, 2, 3, 5, 10]
            .into_iter()
            .map(|periods| {
                let rounds = self.rounds.saturating_mul(periods);
                Ok(SeveralPeriods {
                    periods,
                    published: self.spent(Adversary::Published, rounds)?,
                    server: self.spent(Adversary::Server, rounds)?,
                    everyone_else: self.spent(Adversary::EveryoneElse, rounds)?,
                    published_right_guesses: right_guesses(&self.event(Adversary::Published, rounds)?)?,
                })
            })
            .collect()
    }

    pub(super) fn over_rounds(&self) -> Result<Vec<AfterRounds>, FactsError> {
        let planned = self.plan.rounds.count.max(self.rounds);
        let mut counts: Vec<u32> = (1..=ROUND_POINTS)
            .map(|k| (u64::from(planned) * u64::from(k)).div_ceil(u64::from(ROUND_POINTS)))
            .filter_map(|count| u32::try_from(count).ok())
            .chain([1, self.rounds])
            .filter(|count| *count > 0)
            .collect();
        counts.sort_unstable();
        counts.dedup();
        counts
            .into_iter()
            .map(|rounds| {
                let against = |adversary| self.spent(adversary, rounds).map(|spent| spent.epsilon);
                Ok(AfterRounds {
                    rounds,
                    published: against(Adversary::Published)?,
                    server: against(Adversary::Server)?,
                    everyone_else: against(Adversary::EveryoneElse)?,
                })
            })
            .collect()
    }
}

/// Of guesses at even odds, the share that can be right at best: half of one more than the total variation distance,
/// which is δ at ε = 0.
fn right_guesses(event: &DpEvent) -> Result<f64, AccountingError> {
    Ok((0.5 * (1.0 + accountant::delta(event, 0.0)?)).min(1.0))
}
