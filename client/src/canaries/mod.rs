//! An empirical audit of private training: canaries in one run, and what can be told of them from what it released.
//!
//! [`shop`] makes customers or series up; a fair coin each decides which of them are among the merchant's tables. From
//! there everything is what a round does: the tables are cleaned, bounded and added up ([`prepare`]), the merchant's
//! own step trains on them and releases what follows ([`MerchantStep`], [`Release`]), the shares of the other merchants
//! are drawn, and all is added modulo 2^b. What comes out is what the server with the assumed colluders sees. The one
//! thing left out is masks, which cancel in that sum. [`recovery`] then works the coins out from the sums as well as it
//! can, knowing the model, every canary, the key of the bounds and all other data; only coins, samples and noise are
//! hidden from it. What so many right guesses refute is [`forecastle_crypto::dp::canaries`]'s to say.
//!
//! Every round offers the same model, one that a hostile server might choose ([`Model::telling`]): its gradients are long and
//! point in many directions, so that canaries are told apart well, and an unclipped one would stand out. A guarantee that
//! holds whatever models a server offers holds for that one too.
//!
//! # What a run can show
//! N right guesses refute ε up to about ln N only, so a claim of ε = 8 needs some ten thousand canaries that are all told
//! rightly. Therefore the run is made with the noise that a smaller claim needs; software that adds too little noise, does
//! not clip, or does not bound is found out there as well. That an honest run is not accused holds at any claim.
//!
//! # What the result tells
//! Of canaries alone: nothing about anybody. Beside real series the guesser knows those, so the share of right guesses
//! depends on them beyond what noise covers: such a result stays with the merchant, and says so.
//!
//! Left out on purpose: canaries in real rounds. They would spoil the federation's model by as much as the clip allows,
//! and tell everybody's run from a rehearsed one no better.

mod known;
mod recovery;
mod shop;

use forecastle_crypto::{
    dp::{
        canaries::{CONFIDENCE_MAX, CONFIDENCE_MIN, CanaryRun, Look, VERSION, lower_bound},
        noise::{NoiseError, NoiseSampler, NoiseSource},
        plan::{PlanError, PrivacyPlan, ROUNDS_MAX},
        release::{Kind, Release, ReleaseError},
        unit::PrivacyUnit,
    },
    identity::Sha256Digest,
    quantize::{GridError, QuantizeError, ResidueSum},
};

use self::{
    known::Known,
    recovery::Recovery,
    shop::{Rows, Shop},
};
use crate::{
    data::{
        order::Catalogue,
        prepare::{self, PrepareError, SeriesChoice, Tables},
        pseudonym::ContributionKey,
        series::{Series, SeriesKey},
    },
    model::{Model, ModelError},
    round::driver::LocalStep,
    train::{
        EntropyError, GradientError, PrivateStep, PrivateStepError, RoundTraining, Sampling, TrainingSeries,
        merchant::{MerchantStep, training_series},
    },
};

/// The fewest canaries of a run: fewer refute next to nothing.
pub const CANARIES_MIN: usize = 16;
/// The most: candidates, their lines and their gradients are held in memory.
pub const CANARIES_MAX: usize = 1_000;
/// Shares of the canaries that are guessed about, the surest first; fixed beforehand.
const GUESSED: [f64; 3] = [0.75, 0.5, 0.25];
/// How many series' worth a merchant's sum may reach in a run.
const REACH: u32 = 1 << 16;
/// Candidates for each canary.
const CANDIDATES: usize = 4;
/// Samples of windows over which what a canary adds is averaged.
const WINDOW_SAMPLES: usize = 8;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// How many canaries.
    pub canaries: usize,
    /// ε of the run, against the server with colluders.
    pub epsilon: f64,
    /// Rounds of the run.
    pub rounds: u32,
    /// Confidence of the bound.
    pub confidence: f64,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum CanaryAuditError {
    /// A number that cannot be.
    #[error("{field}: {why}")]
    Request {
        /// Which option.
        field: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// Nothing to put in or leave out.
    #[error(
        "the plan protects a whole merchant, of which there is one here: canaries stand for customers or series, and \
         need a plan whose unit is one of these"
    )]
    MerchantUnit,
    /// The plan cannot be run with that noise.
    #[error("the plan with the noise for ε = {epsilon}: {source}")]
    Plan {
        /// The claim asked for.
        epsilon: f64,
        /// Why not.
        source: PlanError,
    },
    /// The merchant's own data do not fit.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Nothing of the canaries is left to train on.
    #[error("the plan's period {0} is too short for the model: no canary gives a training window")]
    TooShort(String),
    /// The merchant's step.
    #[error("round {round}: {why}")]
    Step {
        /// Which round.
        round: u32,
        /// What it said.
        why: String,
    },
    /// Gradients by which canaries are recognised.
    #[error(transparent)]
    Gradient(#[from] GradientError),
    /// Sampling.
    #[error(transparent)]
    Sampling(#[from] PrivateStepError),
    /// No entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Another merchant's share.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// No noise.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// The grid.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// Adding up.
    #[error(transparent)]
    Sum(#[from] QuantizeError),
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// What a run is made of.
///
/// What is claimed and what runs come from one plan, as in a round. That they are two fields is for tests, which take
/// them apart to see that a difference is found.
pub struct CanaryAudit<'a> {
    /// The plan whose noise and ε are claimed.
    claimed: PrivacyPlan,
    /// The plan by which data are bounded and gradients clipped.
    run: PrivacyPlan,
    noise: Box<dyn Fn() -> Result<Box<dyn NoiseSource + Send>, NoiseError> + 'a>,
    model: Model,
    candidates: Shop,
    canaries: usize,
    choice: SeriesChoice,
    confidence: f64,
    plan_noise_multiplier: f64,
    plan_sha256: Sha256Digest,
}

/// What a round did, for the screen.
#[derive(Clone, Copy, Debug)]
pub struct RoundDone {
    /// Number, from 1.
    pub round: u32,
    /// How many there are.
    pub rounds: u32,
}

impl<'a> CanaryAudit<'a> {
    /// An audit of what `plan` (of digest `plan_sha256`) makes of `model`.
    ///
    /// # Errors
    /// [`CanaryAuditError`] names what does not fit.
    pub fn new(
        plan: &PrivacyPlan,
        plan_sha256: Sha256Digest,
        model: &Model,
        choice: SeriesChoice,
        sampler: NoiseSampler,
        request: &Request,
    ) -> Result<Self, CanaryAuditError> {
        let refuse = |field, why: String| Err(CanaryAuditError::Request { field, why });
        if plan.privacy.unit == PrivacyUnit::Merchant {
            return Err(CanaryAuditError::MerchantUnit);
        }
        if !(CANARIES_MIN..=CANARIES_MAX).contains(&request.canaries) {
            return refuse("canaries", format!("there must be {CANARIES_MIN} to {CANARIES_MAX}"));
        }
        if !(CONFIDENCE_MIN..=CONFIDENCE_MAX).contains(&request.confidence) {
            return refuse("confidence", format!("must lie in {CONFIDENCE_MIN}..={CONFIDENCE_MAX}; 0.95 is usual"));
        }
        if !(request.epsilon > 0.0 && request.epsilon.is_finite()) {
            return refuse("epsilon", "must be a positive number; 1 tests the software well".into());
        }
        if !(1..=ROUNDS_MAX).contains(&request.rounds) {
            return refuse("rounds", format!("there must be 1 to {ROUNDS_MAX}"));
        }
        let dimension = dimension(model)?;
        let mut tested = plan.clone();
        // Not a bound of the guarantee, and it would hide from a test what a missing one lets through.
        tested.step.series_per_merchant_max = plan.step.series_per_merchant_max.max(REACH);
        let claimed = tested
            .renoised(request.epsilon, request.rounds, dimension)
            .map_err(|source| CanaryAuditError::Plan { epsilon: request.epsilon, source })?;
        // Canaries need series of their own.
        let by = if choice.by == SeriesKey::Merchant { SeriesKey::Product } else { choice.by };
        let shop = Shop::new(&claimed, model.config(), CANDIDATES * request.canaries)?;
        Ok(Self {
            run: claimed.clone(),
            claimed,
            noise: Box::new(move || sampler.source()),
            // Local steps would leave such a model at once, and with it what is known of its gradients.
            model: if plan.local.is_some() { model.clone() } else { model.telling() },
            candidates: shop,
            canaries: request.canaries,
            choice: SeriesChoice { by, ..choice },
            confidence: request.confidence,
            plan_noise_multiplier: plan.step.noise_multiplier,
            plan_sha256,
        })
    }

    /// Makes the run, beside `own` tables where there are any, and guesses.
    ///
    /// # Errors
    /// [`CanaryAuditError`]; nothing is kept then.
    pub fn run(
        &self,
        own: Option<&Tables<'_>>,
        software: &str,
        at_ms: u64,
        observe: &mut dyn FnMut(RoundDone),
    ) -> Result<CanaryRun, CanaryAuditError> {
        let key = own.map_or_else(ContributionKey::ephemeral, |tables| Some(tables.key.clone()));
        let key = key.ok_or(EntropyError)?;
        // Of the merchant's tables the canaries' series need what is everybody's: the holidays.
        let holidays = own.map(|tables| tables.catalogue.holidays.clone()).unwrap_or_default();
        let catalogue = Catalogue { holidays, ..Catalogue::default() };
        let bare = Tables { orders: &[], sales: &[], catalogue: &catalogue, signals: None, key };
        // Where a merchant has order lines, series are made from those alone.
        let kind = match own.is_some_and(|tables| !tables.orders.is_empty()) {
            true => Rows::OrderLines,
            false => Rows::of(self.claimed.privacy.unit),
        };
        let own_series = match own {
            Some(tables) => self.series(tables)?,
            None => Vec::new(),
        };
        let training = self.training_step();
        let shop = self.choose(&bare, kind, &training)?;
        let mut coins = Sampling::from_system();
        let inside: Vec<bool> =
            (0..shop.len()).map(|_| Ok(coins.below(2)? == 1)).collect::<Result<_, EntropyError>>()?;
        let trained = shop.among(own.unwrap_or(&bare), kind, &inside, |tables| self.series(tables))?;
        let known = self.known(&shop, &bare, kind, &own_series)?;
        let directions = known.expected(&self.model, &training, training.rate * self.scale(), WINDOW_SAMPLES)?;
        let mut recovery = Recovery::new(directions, known.owners, shop.len(), training.rate);
        let mut step = MerchantStep::over(trained, &self.run);
        let rounds = self.claimed.rounds.count;
        for round in 1..=rounds {
            recovery.add(&self.round(&mut step, round)?);
            observe(RoundDone { round, rounds });
        }
        // Once as if the noise were what is claimed, once as if there were none.
        let looks: Vec<Look> = [self.claimed_variance(), 0.0]
            .into_iter()
            .flat_map(|noise| looks(&recovery.scores(noise), &inside))
            .collect();
        let canaries = shop.len() as u64;
        let delta = self.claimed.privacy.delta;
        let rows = self.claimed.epsilon_rows(dimension(&self.model)?, rounds);
        let rows =
            rows.map_err(|source| CanaryAuditError::Plan { epsilon: self.claimed.privacy.epsilon_cap, source })?;
        Ok(CanaryRun {
            version: VERSION,
            unit: self.claimed.privacy.unit,
            epsilon: rows.server.epsilon,
            delta,
            epsilon_lower_bound: lower_bound(canaries, &looks, delta, self.confidence),
            confidence: self.confidence,
            canaries,
            looks,
            rounds: u64::from(rounds),
            noise_multiplier: self.claimed.step.noise_multiplier,
            plan_noise_multiplier: self.plan_noise_multiplier,
            plan_sha256: self.plan_sha256,
            own_series: own_series.len() as u64,
            software: software.to_owned(),
            at_ms,
        })
    }

    /// Of the candidates those that are least like one another. Made before any coin is tossed.
    fn choose(&self, bare: &Tables<'_>, kind: Rows, training: &PrivateStep) -> Result<Shop, CanaryAuditError> {
        let known = self.known(&self.candidates, bare, kind, &[])?;
        let directions = known.expected(&self.model, training, 1.0, 1)?;
        Ok(self.candidates.only(&known.least_alike(&directions, self.candidates.len(), self.canaries)))
    }

    /// What is known beforehand of the canaries of `shop` and of a merchant's own series.
    fn known(
        &self,
        shop: &Shop,
        bare: &Tables<'_>,
        kind: Rows,
        own: &[TrainingSeries],
    ) -> Result<Known, CanaryAuditError> {
        let canaries = shop.among(bare, kind, &vec![true; shop.len()], |tables| self.series(tables))?;
        Known::new(shop, canaries, own)
    }

    /// A round: this merchant's release, and the noise of as many others as the claim counts on, whose data are zero.
    fn round(&self, step: &mut MerchantStep, round: u32) -> Result<Vec<f64>, CanaryAuditError> {
        let dimension = dimension(&self.model)?;
        let mut noise = (self.noise)()?;
        let release = Release::new(&self.claimed, dimension, noise.as_mut())?;
        let update =
            step.contribute(&self.model.snapshot(), release).map_err(|why| CanaryAuditError::Step { round, why })?;
        let mut sum = ResidueSum::new(self.claimed.grid(dimension)?);
        sum.add(&update)?;
        if Kind::of(&self.claimed) == Kind::GradientSum {
            let nothing = vec![0.0; dimension as usize];
            for _ in 1..self.claimed.rounds.survivors_min - self.claimed.rounds.colluders_assumed {
                sum.add(&Release::new(&self.claimed, dimension, noise.as_mut())?.gradient_sum(&nothing)?)?;
            }
        }
        Ok(sum.dequantize())
    }

    /// What a round's sum of clipped gradients is multiplied by on its way into an update: by nothing, or by the local
    /// steps' learning rate over their divisor, once a step.
    fn scale(&self) -> f64 {
        self.run.local.map_or(1.0, |local| f64::from(local.steps) * local.learning_rate / self.run.local_divisor())
    }

    /// Variance of the claimed noise in each coordinate of a round's released vector.
    fn claimed_variance(&self) -> f64 {
        let plan = &self.claimed;
        let steps = plan.local.map_or(1.0, |local| f64::from(local.steps));
        (plan.step.noise_multiplier * plan.noise_clip() * self.scale()).powi(2) / steps
    }

    fn training_step(&self) -> PrivateStep {
        match RoundTraining::of(&self.run) {
            RoundTraining::GradientSum(step) => step,
            RoundTraining::NoisedSteps(steps) | RoundTraining::WholeUpdate(steps) => steps.step,
        }
    }

    /// The way of a merchant's tables to training series.
    fn series(&self, tables: &Tables<'_>) -> Result<Vec<TrainingSeries>, CanaryAuditError> {
        let config = self.model.config();
        let choice = self.choice.for_inputs(config.inputs());
        let series: Vec<Series> = match prepare::bounded_series(tables, choice, config.frequency, &self.run) {
            Ok(prepared) => prepared.series,
            Err(PrepareError::Empty | PrepareError::NothingInPeriod { .. }) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        Ok(training_series(series, config))
    }
}

/// Guesses from scores, and how many are right: of those guessed about, the higher half are guessed to be inside.
fn looks(scores: &[f64], inside: &[bool]) -> Vec<Look> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    GUESSED
        .map(|share| {
            let half = ((scores.len() as f64 * share / 2.0) as usize).max(1);
            let (highest, lowest) = (&order[..half], &order[order.len() - half..]);
            let right = highest.iter().filter(|&&i| inside[i]).count() + lowest.iter().filter(|&&i| !inside[i]).count();
            Look { guesses: 2 * half as u64, correct: right as u64 }
        })
        .to_vec()
}

fn dimension(model: &Model) -> Result<u32, GridError> {
    u32::try_from(model.federated_len()).map_err(|_| GridError::Dimension(u32::MAX))
}

#[cfg(test)]
mod tests;
