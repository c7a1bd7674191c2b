use super::*;
use crate::dp::{
    event::NoiseDraw,
    gaussian,
    mixture::MixturePair,
    pair::LossPair,
    pld::Tails,
    releases::on_grid,
    unit::{NeighboringRelation, PrivacyUnit},
};
use proptest::prelude::*;

const TAILS: Tails = Tails { bottom: 1e-22, top: 1e-22 };

fn gaussian_mu(mu: f64) -> DpEvent {
    DpEvent::Gaussian { noise_multiplier: 1.0 / mu }
}

/// Gaussians counted through the grid instead of in closed form.
fn through_the_grid(mu: f64, count: u64, delta: f64) -> f64 {
    on_grid(&[(LossPair::Mixture(MixturePair::gaussian(mu)), count)], TAILS, &|composition| {
        Ok(vec![composition.epsilon(delta)?])
    })
    .unwrap()[0]
}

#[test]
fn composed_gaussians_on_the_grid_exceed_the_closed_form_by_little() {
    for (mu, count, delta) in [
        (1.0, 1, 1e-5),
        (0.05, 1000, 1e-6),
        (0.02, 2000, 1e-12),
        (0.01, 100_000, 1e-8),
        (2.0, 30, 1e-5),
        (5.0, 40, 1e-9),
    ] {
        let exact = gaussian::epsilon(mu * (count as f64).sqrt(), delta);
        let grid = through_the_grid(mu, count, delta);
        assert!(grid >= exact, "{mu} {count}: {grid} < {exact}");
        assert!(grid <= exact * (1.0 + 1e-4) + 2e-5, "{mu} {count}: {grid} ≫ {exact}");
    }
}

#[test]
fn large_epsilon_and_tiny_delta_stay_sound() {
    // ε of some thousands at δ = 1e-12, against the closed form.
    let exact = gaussian::epsilon(60.0, 1e-12);
    let grid = through_the_grid(6.0, 100, 1e-12);
    assert!(exact > 2000.0 && grid >= exact && grid < exact * 1.001, "{grid} {exact}");
    let step = DpEvent::step(PrivacyUnit::Customer, 0.2, 10, 0.05).unwrap().times(100);
    let spent = epsilon(&step, 1e-12).unwrap();
    assert!(spent.epsilon > 1000.0);
}

#[test]
fn sampling_with_probability_one_is_the_gaussian_exactly() {
    let delta = 1e-6;
    let with = |event: DpEvent| epsilon(&event.times(7), delta).unwrap().epsilon;
    let sigma = 3.0;
    assert_eq!(with(DpEvent::step(PrivacyUnit::Series, 1.0, 1, sigma).unwrap()), with(gaussian_mu(1.0 / sigma)));
    let replace = DpEvent::PoissonSubsampledGaussian {
        sampling_rate: 1.0,
        noise_multiplier: sigma,
        relation: NeighboringRelation::Replace,
    };
    assert!((with(replace) / with(gaussian_mu(2.0 / sigma)) - 1.0).abs() < 1e-12);
    let customer = DpEvent::step(PrivacyUnit::Customer, 1.0, 4, sigma).unwrap();
    assert!((with(customer) / with(gaussian_mu(8.0 / sigma)) - 1.0).abs() < 1e-12);
    let nearly = DpEvent::step(PrivacyUnit::Series, 1.0 - 1e-9, 1, sigma).unwrap();
    assert!((with(nearly) / with(gaussian_mu(1.0 / sigma)) - 1.0).abs() < 1e-4);
}

#[test]
fn a_customer_of_one_series_costs_what_its_replacement_costs() {
    let customer = DpEvent::step(PrivacyUnit::Customer, 0.05, 1, 2.0).unwrap().times(100);
    let replaced = DpEvent::PoissonSubsampledGaussian {
        sampling_rate: 0.05,
        noise_multiplier: 2.0,
        relation: NeighboringRelation::Replace,
    }
    .times(100);
    assert_eq!(epsilon(&customer, 1e-6), epsilon(&replaced, 1e-6));
}

#[test]
fn nothing_released_costs_nothing() {
    let none = gaussian_mu(1.0).times(0);
    assert_eq!(epsilon(&none, 1e-6).unwrap().epsilon, 0.0);
    assert_eq!(epsilon(&DpEvent::Composed { events: vec![] }, 1e-6).unwrap().epsilon, 0.0);
    assert_eq!(delta(&none, 0.0).unwrap(), 0.0);
}

#[test]
fn a_customer_that_vanishes_with_its_series_costs_less_than_one_whose_series_change() {
    // Published values of the one-sided mixture (google's dp_accounting): 5 series, q = 0.01, σ = 2, T = 2000; and
    // 3 series, q = 0.05, σ = 8, T = 500; both at δ = 1e-6.
    for (touched, q, sigma, steps, published) in
        [(5, 0.01, 2.0, 2000, 6.157_564_222_889), (3, 0.05, 8.0, 500, 1.889_012_835_859)]
    {
        let worst = [MixturePair::removal, MixturePair::addition]
            .map(|order| {
                let pairs = [(LossPair::Mixture(order(touched, q, sigma, 1e-22)), steps)];
                on_grid(&pairs, TAILS, &|composition| Ok(vec![composition.epsilon(1e-6)?])).unwrap()[0]
            })
            .into_iter()
            .fold(0.0, f64::max);
        assert!((worst / published - 1.0).abs() < 1e-4, "{worst} {published}");
        let changed = DpEvent::step(PrivacyUnit::Customer, q, touched, sigma).unwrap().times(steps);
        assert!(epsilon(&changed, 1e-6).unwrap().epsilon > worst);
    }
}

#[test]
fn order_and_nesting_of_a_composition_do_not_matter() {
    let (a, b) = (
        DpEvent::step(PrivacyUnit::Series, 0.02, 1, 1.2).unwrap(),
        DpEvent::step(PrivacyUnit::Customer, 0.01, 3, 2.0).unwrap(),
    );
    let flat = DpEvent::Composed { events: vec![a.clone().times(20), gaussian_mu(0.1), b.clone().times(10)] };
    let inner = DpEvent::Composed { events: vec![b, a.clone().times(2)] }.times(10);
    let nested = DpEvent::Composed { events: vec![inner, gaussian_mu(0.1)] };
    assert_eq!(epsilon(&flat, 1e-7), epsilon(&nested, 1e-7));
}

#[test]
fn delta_and_epsilon_are_inverse_to_each_other() {
    for event in [
        DpEvent::step(PrivacyUnit::Series, 0.01, 1, 1.0).unwrap().times(1000),
        DpEvent::step(PrivacyUnit::Customer, 0.05, 3, 8.0).unwrap().times(200),
        gaussian_mu(0.8),
    ] {
        for target in [1e-3, 1e-6, 1e-12] {
            let eps = epsilon(&event, target).unwrap().epsilon;
            let back = delta(&event, eps).unwrap();
            assert!((back / target - 1.0).abs() < 1e-4, "{back} {target}");
        }
    }
}

#[test]
fn impossible_questions_are_refused() {
    let event = gaussian_mu(1.0);
    for bad in [0.0, 1.0, -1e-6, f64::NAN] {
        assert!(matches!(epsilon(&event, bad), Err(AccountingError::Delta(_))));
    }
    assert!(matches!(delta(&event, -1.0), Err(AccountingError::Epsilon(_))));
    let free = noise_multiplier_for(1.0, 1e-6, |sigma| DpEvent::Gaussian { noise_multiplier: sigma }.times(0));
    assert!(matches!(free, Err(AccountingError::Unreachable { .. })));
    let kinds =
        (0..=DISTINCT_MAX).map(|k| DpEvent::step(PrivacyUnit::Series, 0.1, 1, 1.0 + k as f64).unwrap()).collect();
    let mixed = DpEvent::Composed { events: kinds };
    assert_eq!(epsilon(&mixed, 1e-6), Err(AccountingError::TooManyDistinct(DISTINCT_MAX + 1)));
}

#[test]
fn the_planned_noise_keeps_its_target_and_hardly_less_would() {
    let event = |sigma| DpEvent::step(PrivacyUnit::Customer, 0.05, 3, sigma).unwrap().times(60);
    let sigma = noise_multiplier_for(4.0, 1e-6, event).unwrap();
    assert!(epsilon(&event(sigma), 1e-6).unwrap().epsilon <= 4.0);
    assert!(epsilon(&event(sigma * (1.0 - 1e-4)), 1e-6).unwrap().epsilon > 4.0);
}

fn laplace(mu: f64) -> DpEvent {
    DpEvent::Laplace { noise_multiplier: 1.0 / mu }
}

fn integers(noise_units: f64, shares: u32, sensitivity_units: f64, dimension: u32) -> DpEvent {
    DpEvent::DiscreteGaussian { noise_units, shares, sensitivity_units, dimension }
}

/// E over the loss of one Laplace release of ratio `mu` of `rest(ε − loss)`: composition with anything whose
/// profile is known for all real ε.
fn beside_laplace(mu: f64, epsilon: f64, rest: impl Fn(f64) -> f64) -> f64 {
    let nodes = 40_000;
    let width = 2.0 * mu / f64::from(nodes);
    let between: f64 = (0..nodes)
        .map(|k| (f64::from(k) + 0.5) * width - mu)
        .map(|loss| 0.25 * (0.5 * (loss - mu)).exp() * width * rest(epsilon - loss))
        .sum();
    between + 0.5 * rest(epsilon - mu) + 0.5 * (-mu).exp() * rest(epsilon + mu)
}

#[test]
fn laplace_alone_is_exact() {
    for (mu, delta) in [(0.5_f64, 1e-6_f64), (3.0, 1e-2), (200.0, 1e-12)] {
        let spent = epsilon(&laplace(mu), delta).unwrap();
        assert!((spent.epsilon / (mu + 2.0 * (-delta).ln_1p()) - 1.0).abs() < 1e-10);
        assert!(spent.epsilon_rdp.unwrap() >= spent.epsilon);
        assert_eq!(basis(&laplace(mu)).unwrap(), Basis::ClosedForm);
    }
    // A probability of at least δ = 1/2 may be excluded altogether.
    assert_eq!(epsilon(&laplace(0.5), 0.6).unwrap().epsilon, 0.0);
}

#[test]
fn sums_on_vectors_cost_hardly_more_than_the_gaussian_and_coarse_ones_what_is_proven() {
    let fine = epsilon(&integers(40.0, 9, 60.0, 1000).times(50), 1e-6).unwrap();
    let gaussian = epsilon(&gaussian_mu(0.5).times(50), 1e-6).unwrap();
    assert!(fine.epsilon > gaussian.epsilon && fine.epsilon < gaussian.epsilon * 1.001, "{fine:?} {gaussian:?}");
    // A share of half a unit: integers show, and only the concentrated bound is left.
    let coarse = epsilon(&integers(0.5, 1, 1.0, 1000), 1e-6).unwrap();
    let concentrated = epsilon(&DpEvent::Concentrated { rho: 2.0 }, 1e-6).unwrap();
    assert!(coarse.epsilon >= concentrated.epsilon && coarse.epsilon < concentrated.epsilon * 1.01);
}

#[test]
fn one_wide_integer_costs_what_a_real_number_costs() {
    for event in [
        integers(200.0, 1, 100.0, 1),
        DpEvent::Skellam { variance_units: 40_000.0, sensitivity_units: 100.0, dimension: 1 },
    ] {
        let (ours, real) =
            (epsilon(&event.times(10), 1e-6).unwrap(), epsilon(&gaussian_mu(0.5).times(10), 1e-6).unwrap());
        assert!((ours.epsilon / real.epsilon - 1.0).abs() < 2e-3, "{ours:?} {real:?}");
    }
    // A change of less than a unit is none.
    assert_eq!(epsilon(&integers(1.0, 1, 0.9, 1), 1e-6).unwrap().epsilon, 0.0);
}

#[test]
fn a_vector_with_skellam_noise_rests_on_renyi_divergences_and_says_so() {
    let event = DpEvent::Skellam { variance_units: 1e6, sensitivity_units: 500.0, dimension: 1000 };
    assert_eq!(basis(&event).unwrap(), Basis::Renyi);
    let spent = epsilon(&event, 1e-6).unwrap();
    assert_eq!(Some(spent.epsilon), spent.epsilon_rdp);
    // Beside it, everything else rests on them too.
    let mixed = DpEvent::Composed { events: vec![event, gaussian_mu(0.5)] };
    assert_eq!(basis(&mixed).unwrap(), Basis::Renyi);
    let both = epsilon(&mixed, 1e-6).unwrap().epsilon;
    assert!(both > spent.epsilon && delta(&mixed, both).unwrap() <= 1e-6 * (1.0 + 1e-9));
}

#[test]
fn a_ratio_is_charged_to_both_epsilon_and_delta() {
    let event = DpEvent::WithinRatio { event: Box::new(gaussian_mu(1.0).times(4)), log_ratio: 0.01 }.times(3);
    let charged = epsilon(&event, 1e-6).unwrap();
    let plain = epsilon(&gaussian_mu(1.0).times(12), 1e-6 * (-0.03_f64).exp()).unwrap();
    assert!((charged.epsilon - plain.epsilon - 0.06).abs() < 1e-9, "{charged:?} {plain:?}");
    assert!(charged.epsilon_rdp.unwrap() >= charged.epsilon);
    assert!((delta(&event, charged.epsilon).unwrap() / 1e-6 - 1.0).abs() < 1e-6);
    assert_eq!(delta(&event, 0.05).unwrap(), 1.0, "below 2Λ nothing is proven");
}

#[test]
fn integer_steps_cost_a_little_more_than_real_ones() {
    let noise = crate::dp::integer::IntegerNoise::new(160_000.0, 9, 400).unwrap();
    // 1200 units of noise, 150 units on either side: σ = 8.
    let on_integers = DpEvent::integer_step(PrivacyUnit::Customer, 0.25, 2, 150.0, &noise).unwrap().times(40);
    let real = DpEvent::step(PrivacyUnit::Customer, 0.25, 2, 8.0).unwrap().times(40);
    let (ours, real) = (epsilon(&on_integers, 1e-6).unwrap(), epsilon(&real, 1e-6).unwrap());
    assert!(ours.epsilon > real.epsilon && ours.epsilon < real.epsilon * (1.0 + 1e-4), "{ours:?} {real:?}");
}

#[test]
fn a_person_at_several_merchants_costs_more_and_shared_noise_costs_most() {
    let cost = |event: DpEvent| epsilon(&event.times(40), 1e-6).unwrap().epsilon;
    let person = |m, draw| cost(DpEvent::person_step(m, draw, 0.1, 2, 8.0).unwrap());
    let alone = cost(DpEvent::step(PrivacyUnit::Customer, 0.1, 2, 8.0).unwrap());
    assert_eq!(person(1, NoiseDraw::Shared), alone);
    assert_eq!(person(1, NoiseDraw::PerMerchant), alone);
    assert!(person(3, NoiseDraw::PerMerchant) > alone);
    assert!(person(3, NoiseDraw::Shared) > person(3, NoiseDraw::PerMerchant));
    assert!(DpEvent::person_step(0, NoiseDraw::Shared, 0.1, 2, 8.0).is_err());
    assert!(DpEvent::person_step(u32::MAX, NoiseDraw::Shared, 0.1, 2, 8.0).is_err());
}

#[test]
fn shuffling_is_not_accounted_as_poisson_sampling() {
    // Ten epochs of a hundred batches: 1,000 steps at q = 0.01.
    let shuffled = epsilon(&DpEvent::ShuffledEpoch { noise_multiplier: 1.0 }.times(10), 1e-5).unwrap();
    assert!((shuffled.epsilon / gaussian::epsilon(2.0 * 10_f64.sqrt(), 1e-5) - 1.0).abs() < 1e-9);
    let poisson = DpEvent::PoissonSubsampledGaussian {
        sampling_rate: 0.01,
        noise_multiplier: 1.0,
        relation: NeighboringRelation::Replace,
    };
    assert!(shuffled.epsilon > 5.0 * epsilon(&poisson.times(1000), 1e-5).unwrap().epsilon);
    let fixed = DpEvent::FixedSizeSubsampledGaussian { population: 1000, batch: 10, noise_multiplier: 1.0 };
    let fixed = epsilon(&fixed.times(1000), 1e-5).unwrap();
    assert!(fixed.epsilon > epsilon(&poisson_of_replacement(), 1e-5).unwrap().epsilon);
}

fn poisson_of_replacement() -> DpEvent {
    DpEvent::PoissonSubsampledGaussian {
        sampling_rate: 0.01,
        noise_multiplier: 1.0,
        relation: NeighboringRelation::Replace,
    }
    .times(1000)
}

#[test]
fn profiles_are_convex_monotone_and_no_lower_than_their_points() {
    for event in [
        DpEvent::step(PrivacyUnit::Series, 0.01, 1, 1.0).unwrap().times(1000),
        DpEvent::step(PrivacyUnit::Customer, 0.05, 3, 8.0).unwrap().times(200),
        gaussian_mu(30.0),
        laplace(2.0).times(3),
        DpEvent::Concentrated { rho: 0.3 },
        integers(2.0, 1, 1.0, 1).times(5),
    ] {
        let points = profile(&event).unwrap();
        assert!(points[0].epsilon == 0.0 && points.last().unwrap().delta <= PROFILE_DELTA);
        for pair in points.windows(2) {
            assert!(pair[0].epsilon < pair[1].epsilon && pair[0].delta >= pair[1].delta, "{event:?} {pair:?}");
        }
        for three in points.windows(3) {
            let at = |k: usize| (three[k].epsilon - three[2].epsilon).exp();
            let share = (at(1) - at(0)) / (at(2) - at(0));
            let chord = three[0].delta + (three[2].delta - three[0].delta) * share;
            assert!(three[1].delta <= chord * (1.0 + 1e-11), "{event:?} {three:?}");
        }
        for point in points.iter().step_by(7) {
            let alone = delta(&event, point.epsilon).unwrap();
            assert!(point.delta <= alone * (1.0 + 1e-3) + 1e-300, "{event:?} {point:?} {alone:e}");
            assert!(point.delta >= alone * 0.98, "lowered by more than looseness explains: {point:?} {alone:e}");
        }
    }
}

#[test]
fn tiny_delta_and_huge_epsilon_of_every_mechanism_are_finite_and_ordered() {
    for event in [
        laplace(4.0).times(100),
        integers(0.5, 1, 2.0, 1).times(20),
        DpEvent::Skellam { variance_units: 1.0, sensitivity_units: 3.0, dimension: 1 }.times(30),
        DpEvent::GroupStep { sampling_rate: 0.2, touched: 6, noise_multiplier: 0.3 }.times(30),
        DpEvent::ShuffledEpoch { noise_multiplier: 0.3 }.times(20),
    ] {
        let (small, tiny) = (epsilon(&event, 1e-6).unwrap(), epsilon(&event, 1e-12).unwrap());
        assert!(tiny.epsilon > 100.0 && tiny.epsilon.is_finite(), "{event:?} {tiny:?}");
        assert!(tiny.epsilon >= small.epsilon);
        assert!(tiny.epsilon_rdp.is_none_or(|rdp| rdp >= tiny.epsilon * (1.0 - 1e-9)), "{event:?} {tiny:?}");
        assert!(delta(&event, tiny.epsilon).unwrap() <= 1e-12 * (1.0 + 1e-3));
    }
}

#[test]
fn numbers_that_are_none_are_refused_by_name() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0] {
        let refused = |event: DpEvent| match epsilon(&event, 1e-6) {
            Err(AccountingError::Event(why)) => why.to_string(),
            other => panic!("{event:?}: {other:?}"),
        };
        assert!(refused(DpEvent::Laplace { noise_multiplier: bad }).contains("noise multiplier"));
        assert!(refused(DpEvent::ShuffledEpoch { noise_multiplier: bad }).contains("noise multiplier"));
        assert!(refused(integers(bad, 1, 1.0, 1)).contains("noise"));
        assert!(refused(integers(1.0, 1, bad, 1)).contains("sensitivity"));
        assert!(refused(DpEvent::Concentrated { rho: bad }).contains("ρ"));
        let group = DpEvent::GroupStep { sampling_rate: bad, touched: 2, noise_multiplier: 1.0 };
        assert!(refused(group).contains("sampling rate"));
        let skellam =
            |variance_units, sensitivity_units| DpEvent::Skellam { variance_units, sensitivity_units, dimension: 2 };
        assert!(refused(skellam(bad, 1.0)).contains("noise"));
        assert!(refused(skellam(1.0, bad)).contains("sensitivity"));
        if bad != 0.0 {
            let near = DpEvent::WithinRatio { event: Box::new(gaussian_mu(1.0)), log_ratio: bad };
            assert!(refused(near).contains("ratio"));
            assert!(matches!(delta(&gaussian_mu(1.0), bad), Err(AccountingError::Epsilon(_))));
        }
    }
    let fixed = DpEvent::FixedSizeSubsampledGaussian { population: 10, batch: 11, noise_multiplier: 1.0 };
    assert!(matches!(epsilon(&fixed, 1e-6), Err(AccountingError::Event(EventError::Batch { .. }))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn gaussians_beside_laplace_meet_their_integral(
        mu in 0.05_f64..4.0, nu in 0.1_f64..3.0, count in 1_u64..40, at in 0.05_f64..1.0,
    ) {
        // One Laplace release and `count` Gaussians that make a ratio ν together.
        let event = DpEvent::Composed {
            events: vec![laplace(mu), gaussian_mu(nu / (count as f64).sqrt()).times(count)],
        };
        let target = at * (mu + 2.0 * nu);
        let normal = |z: f64| 0.5 * libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2);
        let gauss = |e: f64| normal(e / nu - 0.5 * nu) - e.exp() * normal(e / nu + 0.5 * nu);
        let truth = beside_laplace(mu, target, gauss);
        let ours = delta(&event, target).unwrap();
        prop_assert!(ours >= truth * (1.0 - 1e-6) - 1e-15, "{ours:e} < {truth:e}");
        prop_assert!(ours <= truth * (1.0 + 1e-3) + 1e-13, "{ours:e} ≫ {truth:e}");
    }

    #[test]
    fn two_laplace_releases_meet_their_integral(mu in 0.05_f64..4.0, at in 0.0_f64..0.99) {
        let event = laplace(mu).times(2);
        let one = |e: f64| {
            if e <= -mu { -e.exp_m1() } else if e >= mu { 0.0 } else { -(0.5 * (e - mu)).exp_m1() }
        };
        let target = 2.0 * mu * at;
        let truth = beside_laplace(mu, target, one);
        let ours = delta(&event, target).unwrap();
        prop_assert!(ours >= truth - 1e-7 && ours <= truth * (1.0 + 1e-3) + 1e-6, "{ours:e} {truth:e}");
        prop_assert!(epsilon(&event, 1e-9).unwrap().epsilon <= 2.0 * mu * (1.0 + 1e-12) + 1e-3);
    }

    #[test]
    fn renyi_divergences_never_claim_less_than_loss_distributions(
        q in 0.005_f64..0.3, sigma in 0.8_f64..6.0, touched in 1_u32..5, steps in 1_u64..100, mu in 0.05_f64..1.0,
        ln_delta in -28.0_f64..-7.0,
    ) {
        let event = DpEvent::Composed { events: vec![
            DpEvent::GroupStep { sampling_rate: q, touched, noise_multiplier: sigma }.times(steps),
            laplace(mu),
            integers(3.0 * sigma, 1, 2.0, 1),
            DpEvent::Skellam { variance_units: 9.0 * sigma, sensitivity_units: 1.0, dimension: 1 },
        ] };
        let spent = epsilon(&event, ln_delta.exp()).unwrap();
        prop_assert!(spent.epsilon_rdp.is_none_or(|rdp| rdp >= spent.epsilon * (1.0 - 1e-6)), "{spent:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]
    #[test]
    fn privacy_only_degrades_with_more_steps_sampling_or_series_and_less_noise(
        q in 0.002_f64..0.3, sigma in 0.8_f64..6.0, touched in 1_u32..6, steps in 1_u64..300,
    ) {
        let cost = |q: f64, sigma: f64, touched: u32, steps: u64| {
            let event = DpEvent::step(PrivacyUnit::Customer, q, touched, sigma).unwrap().times(steps);
            epsilon(&event, 1e-6).unwrap()
        };
        let base = cost(q, sigma, touched, steps);
        let above = base.epsilon * (1.0 - 1e-3) - 1e-6;
        prop_assert!(cost(q * 1.1, sigma, touched, steps).epsilon >= above);
        prop_assert!(cost(q, sigma / 1.1, touched, steps).epsilon >= above);
        prop_assert!(cost(q, sigma, touched + 1, steps).epsilon >= above);
        prop_assert!(cost(q, sigma, touched, steps + 10).epsilon >= above);
        prop_assert!(base.epsilon_rdp.is_none_or(|rdp| rdp >= base.epsilon * (1.0 - 1e-4)));
    }
}
