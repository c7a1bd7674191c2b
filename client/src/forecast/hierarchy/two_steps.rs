//! Reconciliation where nodes outnumber past errors: totals first, then products.
//!
//! Correlations of thousands of products cannot be had from a hundred errors. Shrunk towards 0 they make the sum of the
//! products look far more certain than it ever was, and [`Reconciler`] would trust it. What such a sum was worth can be
//! measured, though. So each category's sum of products is taken for one forecast beside the category's own and the
//! shop's, and these few are reconciled by their errors (a coherent combination of two forecasts of the same total;
//! Girolimetto and Di Fonzo 2024). Then the products of each category are moved to the sum that was found, each in
//! proportion to the variance of its errors (the same minimum of the trace, with the totals given).
//!
//! A product that would fall below 0 stays at 0, and the others of its category carry its part.

use super::{
    Hierarchy,
    mint::{Reconciler, Weighting, variances},
};

/// Rounds in which what products at 0 cannot carry is passed on.
const PASSES: usize = 20;

impl Hierarchy {
    /// The same totals over one node a category, or over one alone.
    pub(super) fn of_sums(&self) -> Self {
        let categories = self.totals.len() - 1;
        Self { category_of: (0..categories).collect(), products: categories.max(1), totals: self.totals.clone() }
    }

    /// Position of a product's sum among the products of [`Hierarchy::of_sums`].
    fn sum_of(&self, product: usize) -> usize {
        self.category_of.get(product).copied().unwrap_or(0)
    }
}

/// Makes means of a large hierarchy add up.
pub(super) struct TwoSteps<'a> {
    hierarchy: &'a Hierarchy,
    totals: Reconciler<'a>,
    /// Variances of the products' errors.
    variances: Vec<f64>,
}

impl<'a> TwoSteps<'a> {
    /// With past errors, `[node][T]`; `sums` is [`Hierarchy::of_sums`]. `None` where nothing is known of any product.
    pub(super) fn of_errors(hierarchy: &'a Hierarchy, sums: &'a Hierarchy, errors: &[Vec<f32>]) -> Option<Self> {
        let variances = variances(hierarchy, errors)?;
        let steps = errors.first().map_or(0, Vec::len);
        let mut few = vec![vec![f32::NAN; steps]; sums.products];
        for (product, of) in errors[..hierarchy.products].iter().enumerate() {
            for (sum, error) in few[hierarchy.sum_of(product)].iter_mut().zip(of).filter(|(_, error)| error.is_finite())
            {
                *sum = if sum.is_finite() { *sum + error } else { *error };
            }
        }
        few.extend_from_slice(&errors[hierarchy.products..]);
        Some(Self { hierarchy, totals: Reconciler::of_errors(sums, &few), variances })
    }

    pub(super) fn weighting(&self) -> Weighting {
        self.totals.weighting()
    }

    /// As [`Reconciler::movement`].
    pub(super) fn movement(&self) -> Vec<Vec<f64>> {
        self.totals.movement()
    }

    /// As [`Reconciler::reconcile`].
    pub(super) fn reconcile(&self, means: &mut [f64], negative: impl Fn(usize) -> bool) {
        let products = self.hierarchy.products;
        let (below, totals) = means.split_at_mut(products);
        let mut few = vec![0.0; self.totals.hierarchy().products];
        let mut may_fall = vec![false; few.len()];
        for (product, mean) in below.iter().enumerate() {
            few[self.hierarchy.sum_of(product)] += mean;
            may_fall[self.hierarchy.sum_of(product)] |= negative(product);
        }
        let count = few.len();
        few.extend_from_slice(totals);
        self.totals.reconcile(&mut few, |sum| may_fall[sum]);
        let mut at_zero = vec![false; products];
        for _ in 0..PASSES {
            let (mut missing, mut weight) = (few[..count].to_vec(), vec![0.0; count]);
            for (product, mean) in below.iter().enumerate() {
                let sum = self.hierarchy.sum_of(product);
                missing[sum] -= mean;
                weight[sum] += if at_zero[product] { 0.0 } else { self.variances[product] };
            }
            let mut again = false;
            for (product, mean) in below.iter_mut().enumerate() {
                if at_zero[product] {
                    continue;
                }
                let sum = self.hierarchy.sum_of(product);
                *mean += missing[sum] * self.variances[product] / weight[sum];
                if *mean < 0.0 && !negative(product) {
                    (*mean, at_zero[product], again) = (0.0, true, true);
                }
            }
            if !again {
                break;
            }
        }
        totals.copy_from_slice(&self.hierarchy.sums(below.iter().copied()));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::product, *};
    use crate::data::series::Series;

    /// Six products of two categories; errors of which the products' are alike, so that their sum errs three times as much.
    fn alike() -> (Hierarchy, Vec<Vec<f32>>) {
        let shop: Vec<Series> =
            (0..6).map(|i| product(&format!("p{i}"), if i < 3 { "a" } else { "b" }, vec![1.0; 9])).collect();
        let wave = |t: usize, phase: usize| ((t * (7 + phase) + phase * t * t) % 13) as f32 - 6.0;
        let errors = (0..9)
            .map(|node| {
                (0..40)
                    .map(|t| match node {
                        0..3 => wave(t, 1),
                        3..6 => wave(t, 2),
                        _ => 0.1 * wave(t, node),
                    })
                    .collect()
            })
            .collect();
        (Hierarchy::of(&shop.iter().collect::<Vec<_>>()), errors)
    }

    #[test]
    fn totals_that_erred_less_than_the_sums_of_products_are_followed() {
        let (hierarchy, errors) = alike();
        let sums = hierarchy.of_sums();
        let steps = TwoSteps::of_errors(&hierarchy, &sums, &errors).unwrap();
        let mut means = vec![10., 20., 30., 4., 4., 4., 90., 18., 108.];
        steps.reconcile(&mut means, |_| false);
        let [a, b, shop] = [means[6], means[7], means[8]];
        assert!((a - 90.0).abs() < 1.0 && (b - 18.0).abs() < 1.0, "{means:?}");
        assert!((means[..3].iter().sum::<f64>() - a).abs() < 1e-9 && (a + b - shop).abs() < 1e-9);
        // Alike in variance, alike in movement.
        assert!((means[0] - 10.0 - (means[2] - 30.0)).abs() < 1e-9);
        // Samples' totals move as means do.
        let gap = [90.0 - 60.0, 18.0 - 12.0, 108.0 - 72.0];
        let moved = 90.0 - steps.movement()[0].iter().zip(gap).map(|(row, gap)| row * gap).sum::<f64>();
        assert!((moved - a).abs() < 1e-9, "{moved} {a}");
    }

    #[test]
    fn what_a_product_at_zero_cannot_carry_the_others_carry() {
        let (hierarchy, errors) = alike();
        let sums = hierarchy.of_sums();
        let steps = TwoSteps::of_errors(&hierarchy, &sums, &errors).unwrap();
        let mut means = vec![1., 20., 30., 4., 4., 4., 30., 12., 42.];
        steps.reconcile(&mut means, |_| false);
        assert_eq!(means[0], 0.0);
        assert!((means[1] - (means[2] - 10.0)).abs() < 1e-9 && (means[6] - 30.0).abs() < 1.0, "{means:?}");
        assert!((means[1] + means[2] - means[6]).abs() < 1e-9);
        let mut none = vec![1., 2., 3., 1., 1., 1., 0., 0., 0.];
        steps.reconcile(&mut none, |_| false);
        assert!(none.iter().all(|mean| *mean >= 0.0 && *mean < 1.5), "{none:?}");
    }

    #[test]
    fn one_level_alone_has_one_sum() {
        let shop: Vec<Series> = (0..60).map(|i| product(&format!("p{i}"), "", vec![1.0; 9])).collect();
        let hierarchy = Hierarchy::of(&shop.iter().collect::<Vec<_>>());
        let sums = hierarchy.of_sums();
        assert_eq!((sums.products(), sums.nodes()), (1, 2));
        let wave = |t: usize, node: usize| if node == 60 { (t % 5) as f32 - 2.0 } else { (t * 3 % 7) as f32 - 3.0 };
        let errors: Vec<Vec<f32>> = (0..61).map(|node| (0..35).map(|t| wave(t, node)).collect()).collect();
        let steps = TwoSteps::of_errors(&hierarchy, &sums, &errors).unwrap();
        let mut means = vec![1.0; 61];
        means[60] = 90.0;
        steps.reconcile(&mut means, |_| false);
        assert!(
            (means[..60].iter().sum::<f64>() - means[60]).abs() < 1e-9 && (means[60] - 90.0).abs() < 1.0,
            "{means:?}"
        );
        assert!(TwoSteps::of_errors(&hierarchy, &sums, &vec![Vec::new(); 61]).is_none());
    }
}
