//! Against numpy (`tests/peers/hierarchy.py`), and where there is little to go by.

use super::{super::tests::product, *};
use crate::data::series::Series;

struct Uniforms(u64);

impl Uniforms {
    fn next(&mut self) -> f64 {
        self.0 = (1_103_515_245 * self.0 + 12_345) % (1 << 31);
        self.0 as f64 / 2_f64.powi(31)
    }
}

fn hierarchy(categories: &[usize]) -> Hierarchy {
    let series: Vec<Series> =
        categories.iter().enumerate().map(|(i, c)| product(&format!("p{i}"), &format!("c{c}"), vec![1.0; 9])).collect();
    Hierarchy::of(&series.iter().collect::<Vec<_>>())
}

/// As in the script: `[node][step]`.
fn errors(nodes: usize, steps: usize, seed: u64) -> Vec<Vec<f32>> {
    let (mut u, mut out) = (Uniforms(seed), vec![vec![0.0; steps]; nodes]);
    for step in 0..steps {
        let common = u.next() - 0.5;
        for (node, of) in out.iter_mut().enumerate() {
            let value = 8.0 * (1 + node % 5) as f64 * (common + 2.0 * (u.next() - 0.5));
            of[step] = (value.trunc() / 8.0) as f32;
        }
    }
    out
}

fn base(nodes: usize, products: usize, seed: u64) -> Vec<f64> {
    let mut u = Uniforms(seed);
    (0..nodes).map(|i| (80.0 * u.next()).trunc() / 8.0 + if i >= products { 30.0 } else { 2.0 }).collect()
}

fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-8 * (1.0 + b.abs()), "{found:?}\n{expected:?}");
    }
}

fn adds_up(hierarchy: &Hierarchy, means: &[f64]) {
    let sums = hierarchy.sums(means[..hierarchy.products()].iter().copied());
    for (sum, total) in sums.iter().zip(&means[hierarchy.products()..]) {
        assert!((sum - total).abs() <= 1e-9 * (1.0 + sum.abs()), "{sum} {total}");
    }
}

const SIX: [usize; 6] = [0, 0, 1, 1, 1, 2];

fn moved(reconciler: &Reconciler<'_>) -> Vec<f64> {
    let mut means = base(10, 6, 5);
    reconciler.reconcile(&mut means, |_| true);
    adds_up(reconciler.hierarchy, &means);
    means
}

#[test]
fn shrunk_covariances_agree_with_numpy() {
    let six = hierarchy(&SIX);
    let reconciler = Reconciler::of_errors(&six, &errors(10, 30, 9));
    let Weighting::Shrunk(lambda) = reconciler.weighting() else { panic!("{:?}", reconciler.weighting()) };
    near(&[lambda], &[0.429_792_368_959]);
    let expected = [
        10.717_468_438,
        11.588_908_067_7,
        9.869_235_117_05,
        18.225_467_784_5,
        3.803_318_983_21,
        10.880_719_784_9,
        22.306_376_505_7,
        31.898_021_884_8,
        10.880_719_784_9,
        65.085_118_175_4,
    ];
    near(&moved(&reconciler), &expected);
}

#[test]
fn more_nodes_than_errors_agree_with_numpy() {
    let many = hierarchy(&(0..45).map(|i| i % 5).collect::<Vec<_>>());
    let reconciler = Reconciler::of_errors(&many, &errors(51, 30, 10));
    let Weighting::Shrunk(lambda) = reconciler.weighting() else { panic!("{:?}", reconciler.weighting()) };
    near(&[lambda], &[0.589_470_938_465]);
    let mut means = base(51, 45, 6);
    reconciler.reconcile(&mut means, |_| true);
    adds_up(&many, &means);
    near(&means[..5], &[-0.036_938_314_910_8, 4.895_233_465_86, 3.635_518_998_19, 4.446_210_680_85, 6.265_270_166_85]);
    let totals =
        [30.938_999_371_5, 35.193_401_209_2, 7.254_200_848_82, 0.607_375_999_911, -41.594_101_942_3, 32.399_875_487_1];
    near(&means[45..], &totals);
}

#[test]
fn diagonal_weights_agree_with_numpy() {
    let six = hierarchy(&SIX);
    let variances = variances(&six, &errors(10, 30, 9)).unwrap();
    let variance = [
        9.999_456_604_73,
        11.771_240_165_6,
        6.126_624_075_02,
        13.444_037_28,
        8.994_419_853_62,
        10.706_915_535_7,
        21.770_696_770_4,
        28.565_081_208_7,
        10.706_915_535_7,
        61.042_693_514_8,
    ];
    near(&moved(&Reconciler::diagonal(&six, Weighting::Variance, variances)), &variance);
    let structural = [
        11.121_527_777_8,
        7.996_527_777_78,
        5.340_277_777_78,
        11.840_277_777_8,
        5.215_277_777_78,
        22.527_777_777_8,
        19.118_055_555_6,
        22.395_833_333_3,
        22.527_777_777_8,
        64.041_666_666_7,
    ];
    near(&moved(&Reconciler::structural(&six)), &structural);
    let least_squares = [
        9.703_571_428_57,
        6.578_571_428_57,
        4.683_928_571_43,
        11.183_928_571_4,
        4.558_928_571_43,
        16.305_357_142_9,
        16.282_142_857_1,
        20.426_785_714_3,
        16.305_357_142_9,
        53.014_285_714_3,
    ];
    near(&moved(&Reconciler::identity(&six)), &least_squares);
}

#[test]
fn totals_move_alone_as_they_move_with_all() {
    let six = hierarchy(&SIX);
    let reconciler = Reconciler::of_errors(&six, &errors(10, 30, 9));
    let base = base(10, 6, 5);
    let gap: Vec<f64> =
        six.sums(base[..6].iter().copied()).iter().zip(&base[6..]).map(|(sum, own)| own - sum).collect();
    let alone: Vec<f64> = reconciler.movement().iter().zip(&base[6..]).map(|(row, own)| own - dot(row, &gap)).collect();
    near(&alone, &moved(&reconciler)[6..]);
}

#[test]
fn means_that_add_up_already_stay_and_none_falls_below_zero_unasked() {
    let six = hierarchy(&SIX);
    let reconciler = Reconciler::of_errors(&six, &errors(10, 30, 9));
    let mut means = vec![1., 2., 3., 4., 5., 6., 3., 12., 6., 21.];
    let before = means.clone();
    reconciler.reconcile(&mut means, |_| false);
    near(&means, &before);
    let mut means = vec![1., 2., 3., 4., 5., 6., 0., 0., 0., 0.];
    reconciler.reconcile(&mut means, |product| product == 1);
    assert!(means.iter().enumerate().all(|(i, mean)| *mean >= 0.0 || [1, 6, 9].contains(&i)), "{means:?}");
    adds_up(&six, &means);
}

#[test]
fn few_errors_give_variances_and_none_give_the_structure() {
    let six = hierarchy(&SIX);
    assert_eq!(Reconciler::of_errors(&six, &errors(10, SHRUNK_MIN - 1, 9)).weighting(), Weighting::Variance);
    assert_eq!(Reconciler::of_errors(&six, &errors(10, VARIANCE_MIN - 1, 9)).weighting(), Weighting::Structural);
    assert_eq!(Reconciler::of_errors(&six, &vec![Vec::new(); 10]).weighting(), Weighting::Structural);
    assert_eq!(Reconciler::of_errors(&six, &vec![vec![0.0; 40]; 10]).weighting(), Weighting::Structural);
    assert_eq!(Reconciler::of_errors(&six, &vec![vec![f32::NAN; 40]; 10]).weighting(), Weighting::Structural);
}

#[test]
fn a_product_or_category_that_never_errs_and_one_without_errors_do_no_harm() {
    let six = hierarchy(&SIX);
    let mut errors = errors(10, 40, 9);
    // Category c2 is one product of zeros, forecast as zeros.
    errors[5].fill(0.0);
    errors[8].fill(0.0);
    errors[1].fill(f32::NAN);
    let reconciler = Reconciler::of_errors(&six, &errors);
    assert!(matches!(reconciler.weighting(), Weighting::Shrunk(_)));
    let mut means = base(10, 6, 5);
    (means[5], means[8]) = (0.0, 0.0);
    reconciler.reconcile(&mut means, |_| false);
    adds_up(&six, &means);
    assert!(means[5].abs() < 0.01 && means.iter().all(|mean| mean.is_finite()), "{means:?}");
}

#[test]
fn one_product_alone_meets_its_shop_in_between() {
    let one = hierarchy(&[0]);
    assert_eq!(one.totals().len(), 1);
    let mut means = vec![4.0, 8.0];
    Reconciler::identity(&one).reconcile(&mut means, |_| false);
    near(&means, &[6.0, 6.0]);
    let mut means = vec![4.0, 8.0];
    Reconciler::of_errors(&one, &errors(2, 30, 1)).reconcile(&mut means, |_| false);
    adds_up(&one, &means);
}
