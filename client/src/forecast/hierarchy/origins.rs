//! Totals of series that end today, with errors from earlier origins of the same series.

use super::{Forecasts, Hierarchy, PastErrors, Totals, forecast_totals};
use crate::{data::series::Series, forecast::metrics::LEVELS_LEN};

/// Earlier origins, one horizon apart.
const ORIGINS: usize = 4;

/// Quantiles of one series, `[horizon][9]`.
pub type Quantiles = Vec<[f32; LEVELS_LEN]>;

/// Forecasts series after a cut each, in order.
pub type Serve<'s, E> = dyn FnMut(&[(&Series, usize)]) -> Result<Vec<Quantiles>, E> + 's;

/// Forecasts products and totals after the end of `series`, which all end at the same step: the hierarchy, the products'
/// quantiles as `serve` gives them, and the totals.
///
/// `serve` forecasts series after a cut; it is asked for the last origin and for four earlier ones. An earlier origin
/// counts with the series that had at least `past_min` steps before it.
///
/// # Errors
/// What `serve` says.
pub fn with_totals<E>(
    series: &[Series],
    horizon: usize,
    past_min: usize,
    serve: &mut Serve<'_, E>,
) -> Result<(Hierarchy, Vec<Quantiles>, Totals), E> {
    let mut past = PastErrors::default();
    let observed = |y: &[f32]| y.iter().any(|y| y.is_finite());
    let steps = series.iter().map(|one| one.y.len()).max().unwrap_or(0);
    for origin in (1..=ORIGINS).rev() {
        let cut = |one: &Series| one.y.len().checked_sub(origin * horizon).filter(|cut| *cut >= past_min.max(1));
        let identities: Vec<usize> = series
            .iter()
            .enumerate()
            .filter(|(_, one)| {
                cut(one).is_some_and(|cut| observed(&one.y[..cut]) && observed(&one.y[cut..cut + horizon]))
            })
            .map(|(identity, _)| identity)
            .collect();
        if identities.is_empty() {
            continue;
        }
        let at = At::new(identities.iter().map(|identity| &series[*identity]).collect());
        let behind = origin * horizon;
        let quantiles = at.serve(behind, serve)?;
        let actual: Vec<&[f32]> = at
            .nodes()
            .map(|one| {
                let cut = one.y.len() - behind;
                &one.y[cut..cut + horizon]
            })
            .collect();
        past.add(&at.hierarchy, &identities, &at.forecasts(&quantiles, behind), &actual);
    }
    let at = At::new(series.iter().collect());
    let identities: Vec<usize> = (0..series.len()).collect();
    debug_assert!(at.totals.iter().all(|total| total.y.len() == steps));
    let mut quantiles = at.serve(0, serve)?;
    let totals = forecast_totals(&at.hierarchy, &identities, &at.forecasts(&quantiles, 0), &past);
    quantiles.truncate(series.len());
    Ok((at.hierarchy, quantiles, totals))
}

/// Series of an origin with the histories of their totals.
struct At<'a> {
    hierarchy: Hierarchy,
    products: Vec<&'a Series>,
    totals: Vec<Series>,
}

impl<'a> At<'a> {
    fn new(products: Vec<&'a Series>) -> Self {
        let hierarchy = Hierarchy::of(&products);
        let totals = hierarchy.total_series(&products);
        Self { hierarchy, products, totals }
    }

    fn nodes(&self) -> impl Iterator<Item = &Series> {
        self.products.iter().copied().chain(&self.totals)
    }

    /// Forecasts of all nodes, `behind` steps before their end.
    fn serve<E>(&self, behind: usize, serve: &mut Serve<'_, E>) -> Result<Vec<Quantiles>, E> {
        serve(&self.nodes().map(|one| (one, one.y.len().saturating_sub(behind))).collect::<Vec<_>>())
    }

    fn forecasts<'q>(&self, quantiles: &'q [Quantiles], behind: usize) -> Forecasts<'q> {
        let (products, totals) = quantiles.split_at(self.products.len());
        let known = |one: &Series| one.y[..one.y.len().saturating_sub(behind)].iter().any(|y| *y < 0.0);
        Forecasts {
            products: products.iter().map(Vec::as_slice).collect(),
            totals: totals.iter().map(Vec::as_slice).collect(),
            negative: self.products.iter().map(|one| known(one)).collect(),
        }
    }
}
