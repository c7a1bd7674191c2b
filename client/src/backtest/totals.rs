//! What a backtest says of totals: each row's forecasts of categories and of the shop, made in three ways.
//!
//! A window's totals are those of the products that it judges, so that all three ways face the same sums. Errors of earlier
//! windows are all that reconciliation knows. The first window has none before it: it teaches, and is not judged where there
//! are others.

use super::report::{LevelReport, LevelRow};
use crate::{
    data::series::Series,
    forecast::{
        hierarchy::{Forecasts, Hierarchy, Level, PastErrors, Quantiles, forecast_totals},
        metrics::{ScoreError, ScoredForecast, Scores, Tally},
    },
};

/// Scores from a total's own history, from the products' sum, and reconciled.
type Kinds = [Option<Scores>; 3];

/// What is kept from window to window.
pub(super) struct TotalsState {
    rows: Vec<PastErrors>,
    /// By window and row, with the number of totals.
    categories: Vec<(usize, Vec<Kinds>)>,
    shop: Vec<(usize, Vec<Kinds>)>,
}

/// The totals of one window's products.
pub(super) struct WindowTotals<'a> {
    hierarchy: Hierarchy,
    products: Vec<(&'a Series, usize)>,
    identities: Vec<usize>,
    series: Vec<Series>,
    horizon: usize,
}

impl<'a> WindowTotals<'a> {
    /// Of the products cut at the window's origin; `None` where there is nothing to add up.
    pub(super) fn of(series: &'a [Series], items: &[(usize, usize)], horizon: usize) -> Option<Self> {
        if items.len() < 2 {
            return None;
        }
        let products: Vec<(&Series, usize)> = items.iter().map(|(position, cut)| (&series[*position], *cut)).collect();
        let whole: Vec<&Series> = products.iter().map(|(one, _)| *one).collect();
        let hierarchy = Hierarchy::of(&whole);
        let series = hierarchy.total_series(&whole);
        Some(Self {
            identities: items.iter().map(|(position, _)| *position).collect(),
            hierarchy,
            products,
            series,
            horizon,
        })
    }

    /// The histories of the totals with their cut.
    pub(super) fn items(&self) -> Vec<(&Series, usize)> {
        // All series end together: what lies behind the cut is equally long in each.
        let behind = self.products.first().map_or(0, |(one, cut)| one.y.len() - cut);
        self.series.iter().map(|one| (one, one.y.len() - behind)).collect()
    }
}

impl TotalsState {
    pub(super) fn new(rows: usize) -> Self {
        Self { rows: vec![PastErrors::default(); rows], categories: Vec::new(), shop: Vec::new() }
    }

    /// Forecasts and scores the totals of a window: `forecasts[row]` are the products' and the totals' quantiles.
    ///
    /// # Errors
    /// [`ScoreError`] where a forecast is not finite.
    pub(super) fn judge(
        &mut self,
        window: &WindowTotals<'_>,
        forecasts: &[(Vec<Quantiles>, Vec<Quantiles>)],
    ) -> Result<(), ScoreError> {
        let (totals, horizon) = (window.items(), window.horizon);
        let nodes = window.products.iter().chain(&totals);
        let actual: Vec<&[f32]> = nodes.map(|(one, cut)| &one.y[*cut..cut + horizon]).collect();
        let negative: Vec<bool> =
            window.products.iter().map(|(one, cut)| one.y[..*cut].iter().any(|y| *y < 0.0)).collect();
        let (mut categories, mut shop) = (Vec::new(), Vec::new());
        for (past, (products, own)) in self.rows.iter_mut().zip(forecasts) {
            let base = Forecasts {
                products: products.iter().map(Vec::as_slice).collect(),
                totals: own.iter().map(Vec::as_slice).collect(),
                negative: negative.clone(),
            };
            let found = forecast_totals(&window.hierarchy, &window.identities, &base, past);
            past.add(&window.hierarchy, &window.identities, &base, &actual);
            let mut tallies = [[Tally::default(); 3]; 2];
            for (total, (one, cut)) in totals.iter().enumerate() {
                let level = usize::from(window.hierarchy.totals()[total].level == Level::Shop);
                let kinds = [&own[total], &found.bottom_up[total], &found.reconciled[total]];
                for (tally, quantiles) in tallies[level].iter_mut().zip(kinds) {
                    let scored =
                        ScoredForecast { past: &one.y[..*cut], actual: &one.y[*cut..cut + horizon], quantiles };
                    tally.add(one.season(), total, &scored)?;
                }
            }
            categories.push(tallies[0].map(|tally| tally.scores()));
            shop.push(tallies[1].map(|tally| tally.scores()));
        }
        self.categories.push((totals.len() - 1, categories));
        self.shop.push((1, shop));
        Ok(())
    }

    /// Means over the windows after the first, level by level; levels without a total are left out.
    pub(super) fn report(&self, names: &[String]) -> Vec<LevelReport> {
        let of = |level: Level, windows: &[(usize, Vec<Kinds>)]| {
            let windows = if windows.len() > 1 { &windows[1..] } else { windows };
            let totals = windows.iter().map(|(totals, _)| *totals).max().filter(|totals| *totals > 0)?;
            let mean = |row: usize, kind: usize| {
                Scores::mean(&windows.iter().filter_map(|(_, rows)| rows[row][kind]).collect::<Vec<_>>())
            };
            let rows = names.iter().enumerate().map(|(row, name)| LevelRow {
                name: name.clone(),
                own: mean(row, 0),
                bottom_up: mean(row, 1),
                reconciled: mean(row, 2),
            });
            Some(LevelReport { level, totals, rows: rows.collect() })
        };
        [of(Level::Category, &self.categories), of(Level::Shop, &self.shop)].into_iter().flatten().collect()
    }
}
