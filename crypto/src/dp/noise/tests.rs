//! Statistics of the samplers. Seeds of [`ExactSampler`] are fixed, so those tests either always pass or always fail;
//! the stated probability is that of a correct sampler failing under a random seed. OpenDP's generator cannot be
//! seeded: its tests fail with at most the stated probability on each run.

use super::*;

fn draws(source: &mut dyn NoiseSource, variance: Variance, n: usize) -> Vec<i64> {
    let mut out = vec![0; n];
    source.add_discrete_gaussian(variance, &mut out).expect("noise");
    out
}

/// Probabilities of −reach..=reach, normalised over a range wide enough to hold all but 10^-30 of the mass.
fn pmf(variance: f64, reach: i64) -> Vec<f64> {
    let weight = |x: i64| (-(x * x) as f64 / (2.0 * variance)).exp();
    let wide = (13.0 * variance.sqrt()) as i64 + 3;
    let total: f64 = (-wide..=wide).map(weight).sum();
    (-reach..=reach).map(|x| weight(x) / total).collect()
}

/// χ² of draws over cells −reach..=reach, each tail pooled into its end cell; returns (statistic, degrees).
fn chi_squared(draws: &[i64], variance: f64) -> (f64, f64) {
    let n = draws.len() as f64;
    let mut reach = 0;
    while pmf(variance, reach + 1)[0] * n >= 20.0 {
        reach += 1;
    }
    let mut expected = pmf(variance, reach);
    let tail = (1.0 - expected.iter().sum::<f64>()) / 2.0;
    *expected.first_mut().expect("cells") += tail;
    *expected.last_mut().expect("cells") += tail;
    let mut observed = vec![0.0; expected.len()];
    for &x in draws {
        observed[(x.clamp(-reach, reach) + reach) as usize] += 1.0;
    }
    let statistic = observed.iter().zip(&expected).map(|(o, p)| (o - n * p).powi(2) / (n * p)).sum();
    (statistic, (expected.len() - 1) as f64)
}

/// The 1 − 10^-6 quantile of χ² (Wilson and Hilferty 1931).
fn chi_squared_bound(degrees: f64) -> f64 {
    let z = 4.753_424_308_822_9;
    let term = 2.0 / (9.0 * degrees);
    degrees * (1.0 - term + z * term.sqrt()).powi(3)
}

#[test]
fn the_exact_sampler_has_the_discrete_gaussian_distribution() {
    // σ² below, at and above 1, a fraction, and one that needs large remainders. Failure probability 10^-6 each.
    for (seed, (a, b)) in [(9, 100), (1, 1), (25, 4), (25, 1), (1_000, 7), (40_000, 1)].into_iter().enumerate() {
        let variance = Variance::new(a, b).expect("small");
        let drawn = draws(&mut ExactSampler::danger_from_seed([seed as u8 + 1; 32]), variance, 200_000);
        let (statistic, degrees) = chi_squared(&drawn, variance.squared());
        assert!(degrees >= 1.0);
        assert!(statistic < chi_squared_bound(degrees), "σ² = {a}/{b}: χ² = {statistic} at {degrees} degrees");
    }
}

#[test]
fn a_wrong_variance_fails_the_same_test() {
    // The statistic has power: a σ² that is 5 % off is found.
    let drawn = draws(&mut ExactSampler::danger_from_seed([7; 32]), Variance::new(105, 4).expect("small"), 200_000);
    let (statistic, degrees) = chi_squared(&drawn, 25.0);
    assert!(statistic > chi_squared_bound(degrees));
}

#[test]
fn opendp_draws_from_the_same_distribution() {
    // 10^-6 for each of the two.
    for (a, b) in [(1, 1), (25, 4)] {
        let variance = Variance::new(a, b).expect("small");
        let drawn = draws(&mut OpenDpSampler::new(), variance, 20_000);
        let (statistic, degrees) = chi_squared(&drawn, variance.squared());
        assert!(statistic < chi_squared_bound(degrees), "σ² = {a}/{b}: χ² = {statistic} at {degrees} degrees");
    }
}

#[test]
fn moments_are_right_at_large_sigma() {
    // σ = 1e3 and 1e5 through the f64 door. With n draws the mean has standard error σ/√n and the mean square
    // σ²·√(2/n); 6 standard errors are left by a correct sampler with probability 4·10^-9.
    for (seed, sigma) in [(1u8, 1e3), (2, 1e5), (3, 4.5)] {
        let variance = Variance::from_sigma_ceil(sigma).expect("in range");
        let drawn = draws(&mut ExactSampler::danger_from_seed([seed; 32]), variance, 100_000);
        let n = drawn.len() as f64;
        let mean = drawn.iter().map(|&x| x as f64).sum::<f64>() / n;
        let square = drawn.iter().map(|&x| (x as f64).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 6.0 * sigma / n.sqrt(), "σ = {sigma}: mean {mean}");
        assert!((square / (sigma * sigma) - 1.0).abs() < 6.0 * (2.0 / n).sqrt(), "σ = {sigma}: mean square {square}");
    }
}

#[test]
fn published_probabilities_and_variances_hold() {
    // OpenDP-independent reference values: P(0) and the variance at three σ. Standard errors as above, 6 of them.
    let path = std::env::var_os("FORECASTLE_SHARED").map_or_else(
        || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        std::path::PathBuf::from,
    );
    let Ok(text) = std::fs::read_to_string(path.join("reference/dp-vectors.json")) else {
        println!("skipped: no data");
        return;
    };
    let vectors: serde_json::Value = serde_json::from_str(&text).expect("json");
    for row in vectors["discrete_gaussian_pmf"].as_array().expect("a list") {
        let number = |key: &str| row[key].as_f64().expect("a number");
        let (sigma, pmf0, expected) = (number("sigma"), number("pmf0"), number("variance"));
        // Decimal fractions of one digit: σ² = (10σ)²/100 exactly.
        let variance = Variance::new((sigma * 10.0).round().powi(2) as u64, 100).expect("small");
        assert!((pmf(variance.squared(), 0)[0] - pmf0).abs() < 1e-12);
        let n = 400_000;
        let drawn = draws(&mut ExactSampler::danger_from_seed([9; 32]), variance, n);
        let n = n as f64;
        let zeros = drawn.iter().filter(|&&x| x == 0).count() as f64 / n;
        assert!((zeros - pmf0).abs() < 6.0 * (pmf0 * (1.0 - pmf0) / n).sqrt(), "σ = {sigma}: P(0) {zeros}, not {pmf0}");
        let square = drawn.iter().map(|&x| (x * x) as f64).sum::<f64>() / n;
        let fourth: f64 = pmf(variance.squared(), 60).iter().zip(-60i64..).map(|(p, x)| p * (x.pow(4)) as f64).sum();
        assert!((square - expected).abs() < 6.0 * ((fourth - expected * expected) / n).sqrt(), "σ = {sigma}: {square}");
    }
}

#[test]
fn noise_is_added_and_seeds_replay() {
    let variance = Variance::new(100, 1).expect("small");
    let bare = draws(&mut ExactSampler::danger_from_seed([1; 32]), variance, 100);
    let mut onto = vec![1_000_000; 100];
    ExactSampler::danger_from_seed([1; 32]).add_discrete_gaussian(variance, &mut onto).expect("noise");
    assert!(onto.iter().zip(&bare).all(|(sum, noise)| sum - noise == 1_000_000));
    let system = draws(&mut ExactSampler::new().expect("entropy"), variance, 100);
    assert_ne!(system, bare); // equal with probability below 10^-100
}

#[test]
fn a_ceiling_variance_is_never_smaller_than_asked() {
    for sigma in [0.01, 0.3, 1.0, 3.7, 1e3 / 7.0, 12_345.678, 300_000.5] {
        let variance = Variance::from_sigma_ceil(sigma).expect("in range");
        assert!(variance.squared() >= sigma * sigma, "{sigma}");
        assert!(variance.sigma() / sigma < 1.01, "{sigma} became {}", variance.sigma());
    }
    for sigma in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e30] {
        assert!(Variance::from_sigma_ceil(sigma).is_err(), "{sigma}");
    }
    assert!(Variance::new(0, 1).is_err());
    assert!(Variance::new(1, 0).is_err());
    assert!(Variance::new(u64::MAX, 1).is_err());
    assert!(serde_json::from_str::<Variance>(r#"{"numerator":1,"denominator":0}"#).is_err());
}

#[test]
fn tau_is_what_the_formula_gives() {
    // n = 2: one term, k = 1: 10·exp(−π²σ²).
    let expected = 10.0 * (-std::f64::consts::PI.powi(2)).exp();
    assert!((tau(1.0, 2) - expected).abs() < 1e-15);
    assert_eq!(tau(1.0, 1), 0.0);
    assert!(tau(4.0, 255) < 1e-65);
}

/// χ² of draws against `expected`, the probabilities of −reach..=reach for reach = (len − 1)/2; cells of fewer than 20
/// expected draws are pooled into the ends.
fn chi_squared_of(draws: &[i64], expected: &[f64]) -> (f64, f64) {
    let n = draws.len() as f64;
    let middle = (expected.len() - 1) / 2;
    let reach = (0..=middle).rev().find(|k| expected[middle + k] * n >= 20.0).expect("some cell is full");
    let mut cells = expected[middle - reach..=middle + reach].to_vec();
    let tail = (1.0 - cells.iter().sum::<f64>()) / 2.0;
    *cells.first_mut().expect("cells") += tail;
    *cells.last_mut().expect("cells") += tail;
    let mut observed = vec![0.0; cells.len()];
    let reach = reach as i64;
    for &x in draws {
        observed[(x.clamp(-reach, reach) + reach) as usize] += 1.0;
    }
    let statistic = observed.iter().zip(&cells).map(|(o, p)| (o - n * p).powi(2) / (n * p)).sum();
    (statistic, (cells.len() - 1) as f64)
}

fn skellam_draws(seed: u8, variance: SkellamVariance, n: usize) -> Vec<i64> {
    let mut out = vec![0; n];
    ExactSampler::danger_from_seed([seed; 32]).add_skellam(variance, &mut out).expect("noise");
    out
}

#[test]
fn skellam_noise_has_the_distribution_that_the_accountant_lists() {
    // Probabilities by the accountant's recurrence, which is checked against the Poisson sums elsewhere. Failure
    // probability of a correct sampler 10^-6 each.
    for (seed, variance) in [2.0, 4.0, 30.0, 1000.0, 60_000.0].into_iter().enumerate() {
        let variance = SkellamVariance::ceil(variance).expect("in range");
        let drawn = skellam_draws(seed as u8, variance, 200_000);
        let expected = crate::dp::lattice::LatticePair::skellam(variance.squared(), 1, 1e-20).masses();
        let (statistic, degrees) = chi_squared_of(&drawn, &expected);
        assert!(degrees >= 4.0);
        assert!(statistic < chi_squared_bound(degrees), "{variance:?}: χ² = {statistic} at {degrees} degrees");
    }
}

#[test]
fn skellam_noise_of_a_wrong_variance_fails_the_same_test() {
    let drawn = skellam_draws(1, SkellamVariance::ceil(32.0).expect("in range"), 200_000);
    let expected = crate::dp::lattice::LatticePair::skellam(30.0, 1, 1e-20).masses();
    let (statistic, degrees) = chi_squared_of(&drawn, &expected);
    assert!(statistic > chi_squared_bound(degrees));
}

#[test]
fn skellam_moments_are_right_at_large_variance() {
    // As for the discrete Gaussian; the fourth moment of Skellam noise is 3μ² + μ.
    for (seed, variance) in [(1_u8, 1e6), (2, 2e9)] {
        let variance = SkellamVariance::ceil(variance).expect("in range");
        let (drawn, mu) = (skellam_draws(seed, variance, 100_000), variance.squared());
        let n = drawn.len() as f64;
        let mean = drawn.iter().map(|&x| x as f64).sum::<f64>() / n;
        let square = drawn.iter().map(|&x| (x as f64).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 6.0 * (mu / n).sqrt(), "{variance:?}: mean {mean}");
        assert!((square / mu - 1.0).abs() < 6.0 * (2.1 / n).sqrt(), "{variance:?}: mean square {square}");
    }
}

#[test]
fn samplers_are_chosen_by_name() {
    for sampler in [NoiseSampler::Exact, NoiseSampler::OpenDp] {
        assert_eq!(sampler.name().parse(), Ok(sampler));
        let mut out = vec![0; 8];
        let mut source = sampler.source().expect("entropy");
        // σ = 1000: eight zeros have probability below 10^-27.
        source.add_discrete_gaussian(Variance::new(1_000_000, 1).expect("small"), &mut out).expect("noise");
        assert!(out.iter().any(|x| *x != 0));
    }
    assert_ne!(NoiseSampler::Exact.source().expect("entropy").name(), OpenDpSampler::new().name());
    assert!("laplace".parse::<NoiseSampler>().is_err());
}
