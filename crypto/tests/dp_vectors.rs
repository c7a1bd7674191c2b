//! The accountant against values that google's `dp_accounting` and Microsoft's `prv_accountant` computed.
//!
//! The values are no part of this repository: they are read from `reference/dp-vectors.json` of the shared folder,
//! and where that folder is absent the tests say so and pass.

use std::path::PathBuf;

use forecastle_crypto::dp::{
    accountant::{self, Spent},
    event::DpEvent,
    noise,
    unit::{NeighboringRelation, PrivacyUnit},
};
use serde_json::Value;

/// One section of the reference file.
fn section(name: &str) -> Option<Value> {
    let shared = std::env::var_os("FORECASTLE_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let path = shared.join("reference/dp-vectors.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no data ({})", path.display());
        return None;
    };
    let mut all: Value = serde_json::from_str(&text).expect("the reference file is JSON");
    Some(all.get_mut(name).unwrap_or_else(|| panic!("section {name}")).take())
}

fn rows(value: &Value) -> &[Value] {
    let rows = value.as_array().expect("a section is a list");
    assert!(!rows.is_empty(), "a section without rows tests nothing");
    rows
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"))
}

fn count(row: &Value, key: &str) -> u64 {
    row[key].as_u64().unwrap_or_else(|| panic!("{key} in {row}"))
}

fn cost(event: &DpEvent, row: &Value) -> Spent {
    accountant::epsilon(event, number(row, "delta")).expect("reference events are valid")
}

/// PRV estimate − 1e-4 ≤ ε ≤ reference PLD + max(2e-3, 0.1 %).
fn assert_accepted(epsilon: f64, reference: f64, below: Option<f64>, row: &Value) {
    let least = below.unwrap_or(reference - 1e-3 * reference.max(0.1)) - 1e-4;
    assert!(epsilon >= least, "ε = {epsilon} claims too much, at least {least}: {row}");
    assert!(epsilon <= reference + (1e-3 * reference).max(2e-3), "ε = {epsilon} is loose: {row}");
}

fn subsampled(q: f64, sigma: f64) -> DpEvent {
    DpEvent::step(PrivacyUnit::Series, q, 1, sigma).expect("valid")
}

#[test]
fn subsampled_gaussian_under_add_or_remove() {
    let Some(section) = section("poisson_subsampled_gaussian_add_remove") else { return };
    for row in rows(&section) {
        let event = subsampled(number(row, "q"), number(row, "sigma")).times(count(row, "steps"));
        let spent = cost(&event, row);
        let prv = row["prv_lower_est_upper"].get(1).and_then(Value::as_f64);
        assert_accepted(spent.epsilon, number(row, "eps_pld_pessimistic_h1e-4"), prv, row);
        // Never below the finer reference grid either, up to that grid's own discretisation.
        if let Some(fine) = row["eps_pld_pessimistic_h1e-5"].as_f64() {
            assert!(spent.epsilon >= fine - 1e-5, "{} {row}", spent.epsilon);
        }
        let (rdp, reference) = (spent.epsilon_rdp.expect("feasible"), number(row, "eps_rdp_default_orders"));
        assert!(rdp >= spent.epsilon && rdp <= reference * (1.0 + 1e-6), "{rdp} {row}");
        // The reference drops orders whose series fails to converge; where it did not, both are the same number.
        assert!(rdp >= reference * 0.98, "{rdp} {row}");
    }
}

#[test]
fn subsampled_gaussian_under_replacement() {
    let Some(section) = section("poisson_subsampled_gaussian_replace_one_pld") else { return };
    for row in rows(&section) {
        let event = DpEvent::PoissonSubsampledGaussian {
            sampling_rate: number(row, "q"),
            noise_multiplier: number(row, "sigma"),
            relation: NeighboringRelation::Replace,
        };
        let spent = cost(&event.times(count(row, "steps")), row);
        assert_accepted(spent.epsilon, number(row, "eps_pld_replace_one"), None, row);
    }
}

#[test]
fn gaussians_in_closed_form() {
    let Some(section) = section("gaussian_composition") else { return };
    for row in rows(&section) {
        let sigma = number(row, "sigma");
        let steps = count(row, "steps");
        let spent = cost(&DpEvent::Gaussian { noise_multiplier: sigma }.times(steps), row);
        let exact = number(row, "eps_exact_gdp");
        assert!((spent.epsilon / exact - 1.0).abs() < 1e-10, "{} {row}", spent.epsilon);
        let rdp = spent.epsilon_rdp.expect("closed form");
        assert!((rdp / number(row, "eps_rdp_default_orders") - 1.0).abs() < 1e-6, "{rdp} {row}");
        let replaced = DpEvent::PoissonSubsampledGaussian {
            sampling_rate: 1.0,
            noise_multiplier: sigma,
            relation: NeighboringRelation::Replace,
        };
        let replaced = cost(&replaced.times(steps), row).epsilon;
        assert!((replaced / number(row, "eps_replace_one_exact") - 1.0).abs() < 1e-10, "{replaced} {row}");
    }
}

#[test]
fn heterogeneous_composition() {
    let Some(section) = section("heterogeneous_composition") else { return };
    for row in rows(&section) {
        let segments = rows(&row["segments_q_sigma_steps"])
            .iter()
            .map(|s| {
                let (q, sigma) = (s[0].as_f64().expect("q"), s[1].as_f64().expect("σ"));
                subsampled(q, sigma).times(s[2].as_u64().expect("steps"))
            })
            .collect();
        let spent = cost(&DpEvent::Composed { events: segments }, row);
        assert_accepted(spent.epsilon, number(row, "eps_pld"), None, row);
        let rdp = spent.epsilon_rdp.expect("feasible");
        assert!((rdp / number(row, "eps_rdp") - 1.0).abs() < 1e-6, "{rdp} {row}");
    }
}

#[test]
fn a_customer_that_touches_several_series() {
    let Some(section) = section("structured_k_touched_units") else { return };
    for (list, touched) in [("windows", "touched_windows_k"), ("series_clipped", "touched_series_k")] {
        for row in rows(&section[list]) {
            let touched = u32::try_from(count(row, touched)).expect("small");
            let step = DpEvent::step(PrivacyUnit::Customer, number(row, "q"), touched, number(row, "sigma"));
            let spent = cost(&step.expect("valid").times(count(row, "steps")), row);
            assert_accepted(spent.epsilon, number(row, "eps_substitute_double_mixture_pld"), None, row);
            assert!(spent.epsilon_rdp.expect("feasible") >= spent.epsilon, "{spent:?} {row}");
        }
    }
}

#[test]
fn one_step_against_its_closed_form() {
    let Some(section) = section("single_step_closed_form_delta") else { return };
    for row in rows(&section) {
        let event = subsampled(number(row, "q"), number(row, "sigma"));
        let delta = accountant::delta(&event, number(row, "eps")).expect("valid");
        let exact = number(row, "delta_remove").max(number(row, "delta_add"));
        assert!(delta >= exact * (1.0 - 1e-12) && delta <= exact * (1.0 + 1e-5), "{delta} {row}");
    }
}

#[test]
fn noise_for_a_target() {
    let Some(section) = section("analytic_gaussian_calibration") else { return };
    for row in rows(&section) {
        let event = |sigma| DpEvent::Gaussian { noise_multiplier: sigma };
        let sigma =
            accountant::noise_multiplier_for(number(row, "eps"), number(row, "delta"), event).expect("reachable");
        assert!((sigma / number(row, "sigma") - 1.0).abs() < 2e-6, "{sigma} {row}");
    }
}

#[test]
fn noise_lost_to_colluders_and_drop_outs_is_charged() {
    let Some(section) = section("dropout_noise_deficit") else { return };
    for row in rows(&section) {
        let event =
            |sigma: &str| DpEvent::Gaussian { noise_multiplier: number(row, sigma) }.times(count(row, "rounds"));
        for (sigma, epsilon) in [("sigma_planned", "eps_planned"), ("sigma_effective", "eps_actual")] {
            let spent = cost(&event(sigma), row);
            assert!((spent.epsilon / number(row, epsilon) - 1.0).abs() < 1e-9, "{spent:?} {row}");
        }
    }
}

#[test]
fn a_group_that_disappears_with_all_its_records() {
    let Some(section) = section("structured_k_touched_units") else { return };
    for (list, touched) in [("windows", "touched_windows_k"), ("series_clipped", "touched_series_k")] {
        for row in rows(&section[list]) {
            let step = DpEvent::GroupStep {
                sampling_rate: number(row, "q"),
                touched: u32::try_from(count(row, touched)).expect("small"),
                noise_multiplier: number(row, "sigma"),
            };
            let spent = cost(&step.times(count(row, "steps")), row);
            assert_accepted(spent.epsilon, number(row, "eps_zero_out_mog_pld"), None, row);
            assert!(spent.epsilon_rdp.expect("feasible") >= spent.epsilon, "{spent:?} {row}");
        }
    }
}

#[test]
fn training_inside_one_silo() {
    let Some(section) = section("in_silo_examples") else { return };
    for row in rows(&section) {
        let spent = cost(&subsampled(number(row, "q"), number(row, "sigma")).times(count(row, "steps")), row);
        assert_accepted(spent.epsilon, number(row, "eps_pld"), None, row);
    }
}

#[test]
fn noise_for_whole_merchants() {
    let Some(section) = section("client_level_scaling") else { return };
    for row in rows(&section) {
        let rounds = count(row, "rounds");
        let sigma_for = |sensitivity: f64| {
            let event = |sigma| DpEvent::Gaussian { noise_multiplier: sigma / sensitivity }.times(rounds);
            accountant::noise_multiplier_for(number(row, "eps"), number(row, "delta"), event).expect("reachable")
        };
        assert!((sigma_for(1.0) / number(row, "sigma_zero_out") - 1.0).abs() < 2e-6, "{row}");
        assert!((sigma_for(2.0) / number(row, "sigma_replace") - 1.0).abs() < 2e-6, "{row}");
        for (dimension, merchants) in row["N_for_noise_norm_eq_clip"].as_object().expect("a table") {
            let dimension: f64 = dimension.parse().expect("a number");
            let wanted = (sigma_for(1.0) * dimension.sqrt()).ceil();
            assert!((wanted - merchants.as_f64().expect("a number")).abs() <= 1.0, "{wanted} {row}");
        }
    }
}

#[test]
fn noise_for_perturbed_inputs() {
    let Some(section) = section("input_perturbation_series") else { return };
    for row in rows(&section) {
        let event = |sigma| DpEvent::Gaussian { noise_multiplier: sigma };
        let sigma =
            accountant::noise_multiplier_for(number(row, "eps"), number(row, "delta"), event).expect("reachable");
        let deviation = sigma * number(row, "l2_sensitivity");
        assert!((deviation / number(row, "noise_sd_units") - 1.0).abs() < 2e-6, "{deviation} {row}");
    }
}

#[test]
fn concentrated_differential_privacy() {
    let Some(section) = section("zcdp_to_approxdp") else { return };
    for row in rows(&section) {
        let epsilon = cost(&DpEvent::Concentrated { rho: number(row, "rho") }, row).epsilon;
        assert!((epsilon / number(row, "eps_cks20") - 1.0).abs() < 1e-9, "{epsilon} {row}");
        assert!(epsilon < number(row, "eps_simple"), "{epsilon} {row}");
    }
}

#[test]
fn concentrated_bounds_of_composed_gaussians() {
    let Some(section) = section("gaussian_composition") else { return };
    for row in rows(&section) {
        let epsilon = cost(&DpEvent::Concentrated { rho: number(row, "rho_zcdp") }, row).epsilon;
        assert!((epsilon / number(row, "eps_zcdp_cks20") - 1.0).abs() < 1e-9, "{epsilon} {row}");
    }
}

#[test]
fn opendp_converts_concentrated_privacy_alike() {
    let Some(section) = section("opendp_exact_test_values") else { return };
    for row in rows(&section["rows"]) {
        let event = DpEvent::Concentrated { rho: number(row, "rho") };
        let (epsilon, delta) = (number(row, "eps"), number(row, "delta"));
        let ours = accountant::delta(&event, epsilon).expect("valid");
        assert!((ours / delta - 1.0).abs() < 1e-6, "{ours} {row}");
    }
}

#[test]
fn discrete_gaussians_on_one_integer() {
    let Some(section) = section("discrete_gaussian") else { return };
    for row in rows(&section) {
        let event = DpEvent::DiscreteGaussian {
            noise_units: number(row, "sigma"),
            shares: 1,
            sensitivity_units: number(row, "sensitivity"),
            dimension: 1,
        };
        let spent = cost(&event.times(count(row, "steps")), row);
        assert_accepted(spent.epsilon, number(row, "eps_pld_pessimistic_h1e_4"), None, row);
        let (rdp, zcdp) = (spent.epsilon_rdp.expect("known"), number(row, "eps_zcdp_cks20"));
        // The second opinion tries a list of orders, the reference the best one.
        assert!(rdp >= zcdp * (1.0 - 1e-9) && rdp <= zcdp * 1.001, "{rdp} {row}");
        let concentrated = cost(&DpEvent::Concentrated { rho: number(row, "rho_zcdp") }, row).epsilon;
        assert!((concentrated / zcdp - 1.0).abs() < 1e-9, "{concentrated} {row}");
    }
}

#[test]
fn sums_of_discrete_gaussians() {
    let Some(section) = section("distributed_discrete_gaussian_KLS21") else { return };
    for row in rows(&section["rows"]) {
        let (clients, sigma) = (u32::try_from(count(row, "n_clients")).expect("small"), number(row, "local_sigma_int"));
        let (ours, tau) = (noise::tau(sigma, clients), number(row, "tau"));
        assert!((ours / tau - 1.0).abs() < 1e-10, "{ours:e} {row}");
        let event = DpEvent::DiscreteGaussian {
            noise_units: sigma,
            shares: clients,
            sensitivity_units: number(row, "rounded_l2"),
            dimension: u32::try_from(count(row, "dim")).expect("small"),
        };
        let spent = cost(&event.times(count(row, "steps")), row);
        let reference = number(row, "eps_rdp");
        // Never looser than the published bound; and never below what a Gaussian of that width would cost.
        assert!(spent.epsilon <= reference * (1.0 + 1e-6), "{spent:?} {row}");
        let width = sigma * f64::from(clients).sqrt();
        let gaussian = DpEvent::Gaussian { noise_multiplier: width / number(row, "rounded_l2") };
        let least = cost(&gaussian.times(count(row, "steps")), row).epsilon;
        assert!(spent.epsilon > least * 0.9, "{spent:?} {least} {row}");
    }
}

#[test]
fn skellam_noise() {
    let Some(section) = section("skellam_AKL21") else { return };
    for row in rows(&section["rows"]) {
        let event = DpEvent::Skellam {
            variance_units: number(row, "total_variance_mu"),
            sensitivity_units: number(row, "rounded_l2"),
            dimension: u32::try_from(count(row, "dim")).expect("small"),
        };
        let spent = cost(&event.times(count(row, "steps")), row);
        let reference = number(row, "eps_rdp");
        assert!((spent.epsilon / reference - 1.0).abs() < 1e-6, "{spent:?} {row}");
    }
}

#[test]
fn batches_of_a_fixed_size() {
    let Some(section) = section("fixed_size_without_replacement_replace_one_rdp") else { return };
    for row in rows(&section) {
        // The reference counts noise in units of the sensitivity to replacement, which is two clip norms.
        let event = DpEvent::FixedSizeSubsampledGaussian {
            population: count(row, "N"),
            batch: count(row, "B"),
            noise_multiplier: 2.0 * number(row, "sigma"),
        };
        let spent = cost(&event.times(count(row, "steps")), row);
        let reference = number(row, "eps_rdp");
        assert!((spent.epsilon / reference - 1.0).abs() < 1e-6, "{spent:?} {row}");
    }
}
