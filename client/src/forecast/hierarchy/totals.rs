//! From forecasts of all nodes and their past errors to forecasts of totals.

use std::collections::BTreeMap;

use super::{
    Hierarchy, QuantileFunction, Reconciler, Total, Weighting, copula::Copula, mint::VARIANCE_MIN, two_steps::TwoSteps,
};
use crate::forecast::metrics::{LEVELS, LEVELS_LEN};

/// Past steps that are remembered: four horizons of four weeks.
const STEPS_MAX: usize = 112;

/// Quantiles of every node of a hierarchy, `[horizon][9]` each.
pub struct Forecasts<'a> {
    /// One a product.
    pub products: Vec<&'a [[f32; LEVELS_LEN]]>,
    /// One a total, made from the total's own history.
    pub totals: Vec<&'a [[f32; LEVELS_LEN]]>,
    /// Of each product, whether its past has negative values.
    pub negative: Vec<bool>,
}

/// Forecasts of totals.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Quantiles of each total from sums of the products' joint samples, `[total][horizon][9]`.
    pub bottom_up: Vec<Vec<[f32; LEVELS_LEN]>>,
    /// Quantiles of each total from reconciled joint samples, `[total][horizon][9]`.
    pub reconciled: Vec<Vec<[f32; LEVELS_LEN]>>,
    /// Reconciled means of every node, `[node][horizon]`: those of totals are the sums of their products'.
    pub means: Vec<Vec<f64>>,
    /// How errors were weighed.
    pub weighting: Weighting,
    /// Whether past steps were enough to say who moves with whom.
    pub joined: bool,
}

/// What a way's earlier forecasts of nodes were worth: errors of their means, and levels of what came.
///
/// All nodes share the same steps; those where a node was not forecast, or nothing was observed, are missing.
#[derive(Clone, Debug, Default)]
pub struct PastErrors {
    steps: usize,
    products: BTreeMap<usize, Vec<(f32, f32)>>,
    totals: BTreeMap<Total, Vec<(f32, f32)>>,
    /// Moves on with every level that is spread over a flat place.
    shares: u32,
}

impl PastErrors {
    /// Steps remembered.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Remembers one earlier origin: `identities` say which product stands at which place of `forecasts`; `actual` is what
    /// came, `[node][horizon]`, `NaN` where missing.
    pub fn add(&mut self, hierarchy: &Hierarchy, identities: &[usize], forecasts: &Forecasts<'_>, actual: &[&[f32]]) {
        let horizon = forecasts.products.first().map_or(0, |forecast| forecast.len());
        let before = self.steps;
        for (place, (forecast, actual)) in forecasts.products.iter().zip(actual).enumerate() {
            let cells = self.cells(forecast, actual);
            padded(self.products.entry(identities[place]).or_default(), before).extend(cells);
        }
        let totals = hierarchy.totals().iter().zip(&forecasts.totals).zip(&actual[hierarchy.products()..]);
        for ((total, forecast), actual) in totals {
            let cells = self.cells(forecast, actual);
            padded(self.totals.entry(total.clone()).or_default(), before).extend(cells);
        }
        self.steps += horizon;
        let excess = self.steps.saturating_sub(STEPS_MAX);
        for of in self.products.values_mut().chain(self.totals.values_mut()) {
            padded(of, before + horizon).drain(..excess);
        }
        self.steps -= excess;
    }

    fn cells(&mut self, forecast: &[[f32; LEVELS_LEN]], actual: &[f32]) -> Vec<(f32, f32)> {
        let cell = |(quantiles, y): (&[f32; LEVELS_LEN], &f32)| {
            if !y.is_finite() {
                return (f32::NAN, f32::NAN);
            }
            // The golden ratio's multiples spread evenly and depend on nothing.
            self.shares = self.shares.wrapping_add(0x9e37_79b9);
            let share = f64::from(self.shares) / f64::from(u32::MAX);
            let (function, y) = (QuantileFunction::new(quantiles), f64::from(*y));
            ((y - function.mean()) as f32, function.level(y, share) as f32)
        };
        forecast.iter().zip(actual).map(cell).collect()
    }

    /// Errors and levels of a hierarchy's nodes, `[node][steps]` each.
    pub(super) fn of(&self, hierarchy: &Hierarchy, identities: &[usize]) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
        let missing = vec![(f32::NAN, f32::NAN); self.steps];
        let products = identities.iter().map(|identity| self.products.get(identity));
        let totals = hierarchy.totals().iter().map(|total| self.totals.get(total));
        products.chain(totals).map(|found| found.unwrap_or(&missing).iter().copied().unzip()).unzip()
    }
}

fn padded(of: &mut Vec<(f32, f32)>, steps: usize) -> &mut Vec<(f32, f32)> {
    of.resize(steps.max(of.len()), (f32::NAN, f32::NAN));
    of
}

/// Forecasts the totals; `identities` as in [`PastErrors::add`].
pub fn forecast_totals(
    hierarchy: &Hierarchy,
    identities: &[usize],
    forecasts: &Forecasts<'_>,
    past: &PastErrors,
) -> Totals {
    let horizon = forecasts.products.iter().chain(&forecasts.totals).map(|forecast| forecast.len()).min().unwrap_or(0);
    let (errors, levels) = past.of(hierarchy, identities);
    let few = hierarchy.of_sums();
    let large = past.steps() >= VARIANCE_MIN && hierarchy.nodes() > past.steps();
    let two_steps = if large { TwoSteps::of_errors(hierarchy, &few, &errors) } else { None };
    let reconciler = match two_steps {
        Some(steps) => Way::TwoSteps(steps),
        None => Way::Whole(Reconciler::of_errors(hierarchy, &errors)),
    };
    let mut copula = Copula::new(past.steps());
    let samples = copula.samples();
    let count = hierarchy.totals().len();
    let negative = forecasts.negative.iter().any(|negative| *negative);
    let mut means = vec![vec![0.0; horizon]; hierarchy.nodes()];
    // `[step][total][sample]`: sums of the products, and the totals' own.
    let mut sums = vec![vec![vec![0.0_f64; samples]; count]; horizon];
    let mut own = sums.clone();
    for (product, forecast) in forecasts.products.iter().enumerate() {
        let drawn = copula.levels(&levels[product]);
        for step in 0..horizon {
            let function = QuantileFunction::new(&forecast[step]);
            means[product][step] = function.mean();
            let values: Vec<f64> = drawn.iter().map(|level| function.value(*level)).collect();
            for total in hierarchy.above(product) {
                sums[step][total].iter_mut().zip(&values).for_each(|(sum, value)| *sum += value);
            }
        }
    }
    for (total, forecast) in forecasts.totals.iter().enumerate() {
        let node = hierarchy.products() + total;
        let drawn = copula.levels(&levels[node]);
        for step in 0..horizon {
            let function = QuantileFunction::new(&forecast[step]);
            means[node][step] = function.mean();
            own[step][total].iter_mut().zip(&drawn).for_each(|(cell, level)| *cell = function.value(*level));
        }
    }
    let movement = reconciler.movement();
    let mut column = vec![0.0; hierarchy.nodes()];
    let (mut bottom_up, mut reconciled) =
        (vec![Vec::with_capacity(horizon); count], vec![Vec::with_capacity(horizon); count]);
    for step in 0..horizon {
        column.iter_mut().zip(&means).for_each(|(cell, mean)| *cell = mean[step]);
        reconciler.reconcile(&mut column, |product| forecasts.negative[product]);
        means.iter_mut().zip(&column).for_each(|(mean, cell)| mean[step] = *cell);
        reconcile_samples(hierarchy, &movement, &sums[step], &mut own[step], negative);
        for total in 0..count {
            bottom_up[total].push(quantiles(&mut sums[step][total]));
            reconciled[total].push(quantiles(&mut own[step][total]));
        }
    }
    Totals { bottom_up, reconciled, means, weighting: reconciler.weighting(), joined: copula.joins() }
}

/// How means are made to add up.
enum Way<'a> {
    Whole(Reconciler<'a>),
    TwoSteps(TwoSteps<'a>),
}

impl Way<'_> {
    fn weighting(&self) -> Weighting {
        match self {
            Self::Whole(reconciler) => reconciler.weighting(),
            Self::TwoSteps(steps) => steps.weighting(),
        }
    }

    fn movement(&self) -> Vec<Vec<f64>> {
        match self {
            Self::Whole(reconciler) => reconciler.movement(),
            Self::TwoSteps(steps) => steps.movement(),
        }
    }

    fn reconcile(&self, means: &mut [f64], negative: impl Fn(usize) -> bool) {
        match self {
            Self::Whole(reconciler) => reconciler.reconcile(means, negative),
            Self::TwoSteps(steps) => steps.reconcile(means, negative),
        }
    }
}

/// Moves the totals' own samples, `[total][sample]`, towards their products' sums.
fn reconcile_samples(
    hierarchy: &Hierarchy,
    movement: &[Vec<f64>],
    sums: &[Vec<f64>],
    own: &mut [Vec<f64>],
    negative: bool,
) {
    let count = own.len();
    let samples = own.first().map_or(0, Vec::len);
    let mut gap = vec![0.0; count];
    for sample in 0..samples {
        for total in 0..count {
            gap[total] = own[total][sample] - sums[total][sample];
        }
        for total in 0..count {
            let moved: f64 = movement[total].iter().zip(&gap).map(|(row, gap)| row * gap).sum();
            own[total][sample] -= moved;
        }
        if negative {
            continue;
        }
        // As with means: what falls below 0 is 0, and the shop is the sum of its categories.
        own.iter_mut().for_each(|of| of[sample] = of[sample].max(0.0));
        if !hierarchy.category_of.is_empty() {
            own[count - 1][sample] = own[..count - 1].iter().map(|of| of[sample]).sum();
        }
    }
}

/// Quantiles of a sample, interpolated linearly between order statistics.
fn quantiles(sample: &mut [f64]) -> [f32; LEVELS_LEN] {
    sample.sort_by(f64::total_cmp);
    LEVELS.map(|level| {
        let position = level * (sample.len() - 1) as f64;
        let below = position.floor() as usize;
        let above = (below + 1).min(sample.len() - 1);
        (sample[below] + (sample[above] - sample[below]) * (position - below as f64)) as f32
    })
}
