//! Means that add up: ỹ = ŷ − W Cᵀ (C W Cᵀ)⁻¹ C ŷ, where C ŷ is by how much each total differs from its products' sum.
//!
//! This is the minimum-trace reconciliation of Wickramasuriya, Athanasopoulos and Hyndman (2019) in its constraint form:
//! the matrix to solve has the size of the totals, not of the products. W is the covariance of base errors:
//!
//! * *shrunk*: the sample covariance, correlations shrunk towards 0 as Schäfer and Strimmer (2005) say. It is a
//!   diagonal plus RRᵀ/T with R the errors, and stays in that form. Their sums over all pairs of nodes are taken from the
//!   T × T products: Σᵢⱼ rᵢⱼ² = ‖XᵀX‖²/T².
//! * *variance*: its diagonal alone, where errors are too few for correlations.
//! * *structural*: the number of products under a node, where nothing is known (Athanasopoulos et al. 2017).
//!
//! Negative means are set to 0 and totals summed again (Di Fonzo and Girolimetto 2023), where the past knows none.

use super::Hierarchy;

/// Past errors from which on correlations are believed, shrunk.
const SHRUNK_MIN: usize = 24;
/// Past errors of a node from which on its variance is believed.
pub(super) const VARIANCE_MIN: usize = 8;
/// Least variance of a node, in means of all of its kind.
const VARIANCE_FLOOR: f64 = 1e-6;

/// Which W is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weighting {
    /// The identity: ordinary least squares.
    Identity,
    /// Products under a node.
    Structural,
    /// Variances of errors.
    Variance,
    /// Covariances of errors, shrunk by the intensity λ in 0..=1.
    Shrunk(f64),
}

/// Makes means of one hierarchy add up.
#[derive(Clone, Debug)]
pub struct Reconciler<'a> {
    hierarchy: &'a Hierarchy,
    weighting: Weighting,
    /// Diagonal part of W, one a node.
    diagonal: Vec<f64>,
    /// Other part: `factor` · R Rᵀ, R `[node][T]`.
    errors: Vec<Vec<f64>>,
    factor: f64,
    /// C R, `[total][T]`.
    gaps: Vec<Vec<f64>>,
    /// Lower triangle of the Cholesky factor of C W Cᵀ, `[total][total]`.
    cholesky: Vec<Vec<f64>>,
}

impl<'a> Reconciler<'a> {
    /// With ordinary least squares.
    pub fn identity(hierarchy: &'a Hierarchy) -> Self {
        Self::diagonal(hierarchy, Weighting::Identity, vec![1.0; hierarchy.nodes()])
    }

    /// With structural scaling.
    pub fn structural(hierarchy: &'a Hierarchy) -> Self {
        let products = hierarchy.products();
        let mut diagonal = vec![1.0; products];
        diagonal.extend(hierarchy.sums(std::iter::repeat_n(1.0, products)).into_iter().map(|sum| sum.max(1.0)));
        Self::diagonal(hierarchy, Weighting::Structural, diagonal)
    }

    /// With what past errors allow: `errors[node][T]`, `NaN` where there is none, all equally long.
    pub fn of_errors(hierarchy: &'a Hierarchy, errors: &[Vec<f32>]) -> Self {
        let Some(variances) = variances(hierarchy, errors) else { return Self::structural(hierarchy) };
        let steps = errors.first().map_or(0, Vec::len);
        if steps >= SHRUNK_MIN
            && let Some(shrunk) = Self::shrunk(hierarchy, errors, &variances)
        {
            return shrunk;
        }
        Self::diagonal(hierarchy, Weighting::Variance, variances)
    }

    /// What is reconciled.
    pub(super) fn hierarchy(&self) -> &'a Hierarchy {
        self.hierarchy
    }

    /// What W is.
    pub fn weighting(&self) -> Weighting {
        self.weighting
    }

    fn diagonal(hierarchy: &'a Hierarchy, weighting: Weighting, diagonal: Vec<f64>) -> Self {
        let gaps = vec![Vec::new(); hierarchy.totals().len()];
        let errors = vec![Vec::new(); hierarchy.nodes()];
        let matrix = constraint_matrix(hierarchy, &diagonal, &gaps, 0.0);
        // A positive diagonal makes it positive definite.
        let cholesky = cholesky(matrix).unwrap_or_default();
        Self { hierarchy, weighting, diagonal, errors, factor: 0.0, gaps, cholesky }
    }

    fn shrunk(hierarchy: &'a Hierarchy, errors: &[Vec<f32>], variances: &[f64]) -> Option<Self> {
        let steps = errors.first()?.len();
        // A missing error tells nothing about correlations: 0.
        let errors: Vec<Vec<f64>> = errors
            .iter()
            .map(|of| of.iter().map(|e| if e.is_finite() { f64::from(*e) } else { 0.0 }).collect())
            .collect();
        let lambda = intensity(&errors, variances)?;
        let factor = (1.0 - lambda) / steps as f64;
        // Whatever the second part lacks of a node's variance, by shrinkage or by missing errors, the diagonal holds.
        let diagonal: Vec<f64> =
            errors.iter().zip(variances).map(|(of, v)| (v - factor * square(of)).max(VARIANCE_FLOOR * v)).collect();
        let products = hierarchy.products();
        let gaps: Vec<Vec<f64>> = {
            let mut gaps = errors[products..].to_vec();
            for (product, of) in errors[..products].iter().enumerate() {
                for total in hierarchy.above(product) {
                    gaps[total].iter_mut().zip(of).for_each(|(gap, e)| *gap -= e);
                }
            }
            gaps
        };
        let cholesky = cholesky(constraint_matrix(hierarchy, &diagonal, &gaps, factor))?;
        Some(Self { hierarchy, weighting: Weighting::Shrunk(lambda), diagonal, errors, factor, gaps, cholesky })
    }

    /// Moves `[node]` means until they add up. `negative` says of each product whether it may fall below 0.
    pub fn reconcile(&self, means: &mut [f64], negative: impl Fn(usize) -> bool) {
        let products = self.hierarchy.products();
        let (below, totals) = means.split_at_mut(products);
        let sums = self.hierarchy.sums(below.iter().copied());
        let pull = self.solve(totals.iter().zip(sums).map(|(total, sum)| total - sum).collect());
        // RᵀCᵀv = (CR)ᵀv, `[T]`.
        let common: Vec<f64> = (0..self.gaps.first().map_or(0, Vec::len))
            .map(|step| self.gaps.iter().zip(&pull).map(|(gap, pull)| gap[step] * pull).sum())
            .collect();
        for (product, mean) in below.iter_mut().enumerate() {
            let against: f64 = self.hierarchy.above(product).map(|total| pull[total]).sum();
            *mean += self.diagonal[product] * against - self.factor * dot(&self.errors[product], &common);
            if *mean < 0.0 && !negative(product) {
                *mean = 0.0;
            }
        }
        totals.copy_from_slice(&self.hierarchy.sums(below.iter().copied()));
    }

    /// How totals move, `[total][total]`: reconciled = total − this · (total − sum of its products). For many samples.
    pub(super) fn movement(&self) -> Vec<Vec<f64>> {
        let products = self.hierarchy.products();
        (0..self.gaps.len())
            .map(|total| {
                // A row of W Cᵀ; (C W Cᵀ)⁻¹ is symmetric, so the row is solved from the right as from the left.
                let across = self.gaps.iter().map(|gap| self.factor * dot(&self.errors[products + total], gap));
                let mut row: Vec<f64> = across.collect();
                row[total] += self.diagonal[products + total];
                self.solve(row)
            })
            .collect()
    }

    /// (C W Cᵀ)⁻¹ times a vector.
    fn solve(&self, mut x: Vec<f64>) -> Vec<f64> {
        let l = &self.cholesky;
        for i in 0..l.len() {
            let known = dot(&l[i][..i], &x[..i]);
            x[i] = (x[i] - known) / l[i][i];
        }
        for i in (0..l.len()).rev() {
            let known: f64 = (i + 1..l.len()).map(|j| l[j][i] * x[j]).sum();
            x[i] = (x[i] - known) / l[i][i];
        }
        x
    }
}

/// Mean squares of errors, one a node, none 0; `None` where nothing is known of any product.
///
/// A product with few errors gets the median of those that have more, a total with few the sum of its products'.
pub(super) fn variances(hierarchy: &Hierarchy, errors: &[Vec<f32>]) -> Option<Vec<f64>> {
    let mean_square = |of: &Vec<f32>| {
        let known: Vec<f64> = of.iter().filter(|e| e.is_finite()).map(|e| f64::from(*e)).collect();
        (known.len() >= VARIANCE_MIN).then(|| square(&known) / known.len() as f64)
    };
    let found: Vec<Option<f64>> = errors.iter().map(mean_square).collect();
    let products = hierarchy.products();
    let mut known: Vec<f64> = found[..products].iter().flatten().copied().collect();
    known.sort_by(f64::total_cmp);
    let typical = *known.get(known.len() / 2)?;
    let mut below: Vec<f64> = found[..products].iter().map(|v| v.unwrap_or(typical)).collect();
    let sums = hierarchy.sums(below.iter().copied());
    let mut totals: Vec<f64> = found[products..].iter().zip(sums).map(|(v, sum)| v.unwrap_or(sum)).collect();
    for kind in [&mut below, &mut totals] {
        let floor = VARIANCE_FLOOR * kind.iter().sum::<f64>() / kind.len() as f64;
        if floor == 0.0 || !floor.is_finite() {
            return None;
        }
        kind.iter_mut().for_each(|v| *v = v.max(floor));
    }
    below.extend(totals);
    Some(below)
}

/// Shrinkage intensity λ of the correlations, in 0..=1: Σ var(rᵢⱼ) / Σ rᵢⱼ² over pairs of different nodes.
///
/// Errors have mean 0, as base forecasts are taken to be unbiased. `None` below two steps.
fn intensity(errors: &[Vec<f64>], variances: &[f64]) -> Option<f64> {
    let steps = errors.first()?.len();
    if steps < 2 {
        return None;
    }
    let count = steps as f64;
    // X: errors over their deviations. XᵀX, `[T][T]`, its lower triangle.
    let mut gram: Vec<Vec<f64>> = (0..steps).map(|step| vec![0.0; step + 1]).collect();
    let (mut own_fourth, mut own_square) = (0.0, 0.0);
    let mut x = vec![0.0; steps];
    for (of, variance) in errors.iter().zip(variances) {
        let deviation = variance.sqrt();
        x.iter_mut().zip(of).for_each(|(x, e)| *x = e / deviation);
        for (step, row) in gram.iter_mut().enumerate() {
            let own = x[step];
            if own != 0.0 {
                row.iter_mut().zip(&x).for_each(|(cell, x)| *cell += own * x);
            }
        }
        own_fourth += x.iter().map(|x| x.powi(4)).sum::<f64>();
        own_square += square(&x).powi(2);
    }
    let mut all_squares = 0.0;
    for (step, row) in gram.iter().enumerate() {
        all_squares += 2.0 * square(&row[..step]) + row[step] * row[step];
    }
    let fourth = gram.iter().enumerate().map(|(step, row)| row[step] * row[step]).sum::<f64>() - own_fourth;
    let squares = all_squares - own_square;
    let variance = (fourth - squares / count) / (count * (count - 1.0));
    let correlation = squares / (count * count);
    if !(variance.is_finite() && correlation.is_finite()) {
        return None;
    }
    Some(if correlation > 0.0 { (variance / correlation).clamp(0.0, 1.0) } else { 1.0 })
}

/// C W Cᵀ, its lower triangle.
fn constraint_matrix(hierarchy: &Hierarchy, diagonal: &[f64], gaps: &[Vec<f64>], factor: f64) -> Vec<Vec<f64>> {
    let products = hierarchy.products();
    let below = hierarchy.sums(diagonal[..products].iter().copied());
    let shop = below.len() - 1;
    (0..below.len())
        .map(|a| {
            (0..=a)
                .map(|b| {
                    // Categories share no product; each lies in the shop.
                    let shared = if a == b {
                        below[a] + diagonal[products + a]
                    } else if a == shop {
                        below[b]
                    } else {
                        0.0
                    };
                    shared + factor * dot(&gaps[a], &gaps[b])
                })
                .collect()
        })
        .collect()
}

/// Cholesky factor of a symmetric matrix given by its lower triangle; `None` where it is not positive definite.
fn cholesky(mut lower: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    for i in 0..lower.len() {
        let (above, rest) = lower.split_at_mut(i);
        let row = &mut rest[0];
        for (j, other) in above.iter().enumerate() {
            row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
        }
        let left = row[i] - square(&row[..i]);
        if !(left.is_finite() && left > 1e-12 * row[i]) {
            return None;
        }
        row[i] = left.sqrt();
    }
    Some(lower)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn square(a: &[f64]) -> f64 {
    dot(a, a)
}

#[cfg(test)]
#[path = "mint_tests.rs"]
mod tests;
