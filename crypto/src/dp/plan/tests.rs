//! Claims about plans: consistency, files, thresholds.

use super::*;
use crate::dp::{accountant, event::DpEvent};
pub(crate) const PLAN: &str = r#"
version = 1
name = "test"
[privacy]
unit = "customer"
delta = 1e-6
epsilon-cap = 8.0
[bounds]
order-lines = 8
series = 2
units = 40.0
[step]
clip = 0.1
noise-multiplier = 8.0
sampling-rate = 0.25
windows-per-series = 4
assumed-series = 1000
series-per-merchant-max = 200
[rounds]
count = 40
cohort-max = 12
survivors-min = 10
colluders-assumed = 1
period-start = "2024-01-01"
period-end = "2025-06-30"
submit-after-ms = 0
phase-deadline-ms = 60000
[integers]
units-per-clip = 4096
bits = 30
[optimizer]
rule = "fedadam"
learning-rate = 0.01
beta1 = 0.9
beta2 = 0.99
epsilon = 1e-8
cosine = true
averaging = 0.9
"#;

#[test]
fn a_plan_round_trips_through_its_file() {
    let plan = PrivacyPlan::parse(PLAN.as_bytes()).unwrap();
    assert_eq!(PrivacyPlan::parse(plan.to_toml().as_bytes()).unwrap(), plan);
}

#[test]
fn a_schedule_over_its_cap_is_refused_with_the_noise_that_would_do() {
    let cheap = PLAN.replace("noise-multiplier = 8.0", "noise-multiplier = 1.0");
    let error = PrivacyPlan::parse(cheap.as_bytes()).unwrap_err();
    let PlanError::OverCap { enough, .. } = error else { panic!("{error}") };
    let mended = PLAN.replace("noise-multiplier = 8.0", &format!("noise-multiplier = {enough}"));
    PrivacyPlan::parse(mended.as_bytes()).unwrap();
}

#[test]
fn the_three_rows_grow_with_what_the_adversary_holds() {
    let rows = PrivacyPlan::parse(PLAN.as_bytes()).unwrap().epsilon_rows(400, 40).unwrap();
    assert!(rows.published.epsilon < rows.server.epsilon);
    assert!(rows.server.epsilon < rows.everyone_else.epsilon);
}

#[test]
fn every_field_out_of_range_is_refused_by_name() {
    for (from, to, name) in [
        ("version = 1", "version = 3", "version"),
        ("delta = 1e-6", "delta = 0.5", "privacy.delta"),
        ("clip = 0.1", "clip = -1.0", "step.clip"),
        ("sampling-rate = 0.25", "sampling-rate = 1.5", "step.sampling-rate"),
        ("survivors-min = 10", "survivors-min = 1", "rounds"),
        ("bits = 30", "bits = 64", "integers.bits"),
        ("2025-06-30", "2023-06-30", "rounds.period-start"),
        ("epsilon = 1e-8", "epsilon = inf", "optimizer"),
        ("averaging = 0.9", "averaging = 1.0", "optimizer.averaging"),
    ] {
        let error = PrivacyPlan::parse(PLAN.replace(from, to).as_bytes()).unwrap_err();
        let PlanError::Field { field, .. } = error else { panic!("{name}: {error}") };
        assert_eq!(field, name);
    }
}

#[test]
fn impossible_days_are_refused() {
    for text in ["2025-02-29", "2025-13-01", "2025-00-10", "25-01-01", "2025-01-1", "x"] {
        assert!(text.parse::<Day>().is_err(), "{text}");
    }
    assert_eq!("2024-02-29".parse::<Day>().unwrap().to_string(), "2024-02-29");
}

#[test]
fn a_documented_plan_says_what_every_field_means_and_parses_to_the_same_plan() {
    for plan in [PLAN.to_owned(), local_steps("customer", "local", 0.25), local_steps("merchant", "distributed", 1.0)] {
        let plan = PrivacyPlan::parse(plan.as_bytes()).unwrap();
        let text = plan.to_documented_toml("two\nlines");
        assert_eq!(PrivacyPlan::parse(text.as_bytes()).unwrap(), plan);
        assert!(text.starts_with("# two\n# lines\n"));
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ")) {
            assert!(pair[0].starts_with("# "), "no word on {}", pair[1]);
        }
    }
}

/// [`PLAN`] in version 2, with local steps.
pub(crate) fn local_steps(unit: &str, noise: &str, rate: f64) -> String {
    let section = format!("[local]\nnoise = \"{noise}\"\nsteps = 5\nlearning-rate = 0.05\nupdate-clip = 1.0\n[rounds]");
    PLAN.replace("version = 1", "version = 2")
        .replace("unit = \"customer\"", &format!("unit = \"{unit}\""))
        .replace("sampling-rate = 0.25", &format!("sampling-rate = {rate}"))
        .replace("noise-multiplier = 8.0", "noise-multiplier = 10.0")
        .replace("[rounds]", &section)
}

#[test]
fn local_steps_are_counted_one_by_one_and_their_noise_is_the_same_against_everyone() {
    let plan = PrivacyPlan::parse(local_steps("customer", "local", 0.25).as_bytes()).unwrap();
    let one_step = PrivacyPlan::parse(
        PLAN.replace("count = 40", "count = 200").replace("= 8.0\nsampling", "= 10.0\nsampling").as_bytes(),
    )
    .unwrap();
    assert_eq!(plan.schedule(10.0, 40).unwrap().for_each_release(|_, _| ()).unwrap(), 200);
    let rows = plan.epsilon_rows(400, 40).unwrap();
    assert_eq!(rows.published, rows.server);
    assert_eq!(rows.server, rows.everyone_else);
    let as_many = accountant::epsilon(&one_step.schedule(10.0, 200).unwrap(), 1e-6).unwrap().epsilon;
    let all = accountant::epsilon(&plan.schedule(10.0, 40).unwrap(), 1e-6).unwrap().epsilon;
    assert_eq!(as_many, all);
    // The whole noise, not a share of it.
    assert!(plan.local_variance().unwrap().sigma() >= 10.0 * 4096.0);
}

#[test]
fn a_merchant_unit_plan_releases_one_gaussian_a_round() {
    let plan = PrivacyPlan::parse(local_steps("merchant", "distributed", 1.0).as_bytes()).unwrap();
    assert_eq!(plan.step_event(10.0).unwrap(), DpEvent::Gaussian { noise_multiplier: 10.0 });
    assert_eq!(plan.grid(400).unwrap().clip(), 1.0, "the whole update is on the grid, not one gradient");
    // 12 merchants of one clip norm each, instead of 12 with 200 series each.
    assert!(plan.bits_needed(400).unwrap() < PrivacyPlan::parse(PLAN.as_bytes()).unwrap().bits_needed(400).unwrap());
}

#[test]
fn training_that_does_not_fit_its_unit_is_refused_by_name() {
    for (plan, name) in [
        // One clip over many un-noised steps is no customer's or series' guarantee, whatever the noise.
        (local_steps("customer", "distributed", 0.25).replace("multiplier = 10.0", "multiplier = 1e4"), "local.noise"),
        (local_steps("customer", "distributed", 0.25), "local.noise"),
        (local_steps("series", "distributed", 0.25), "local.noise"),
        (local_steps("merchant", "local", 1.0), "local.noise"),
        (local_steps("merchant", "distributed", 0.25), "step.sampling-rate"),
        (local_steps("customer", "local", 0.25).replace("steps = 5", "steps = 0"), "local.steps"),
        (
            local_steps("customer", "local", 0.25).replace("update-clip = 1.0", "update-clip = -1.0"),
            "local.update-clip",
        ),
        (
            local_steps("customer", "local", 0.25).replace("update-clip = 1.0", "update-clip = 1.0\nproximal = 20.0"),
            "local.proximal",
        ),
        (local_steps("customer", "local", 0.25).replace("version = 2", "version = 1"), "version"),
        (PLAN.replace("unit = \"customer\"", "unit = \"merchant\""), "privacy.unit"),
        (PLAN.replace("units-per-clip = 4096", "units-per-clip = 1"), "integers.units-per-clip"),
        (PLAN.replace("noise-multiplier = 8.0", "noise-multiplier = 1e9"), "step.noise-multiplier"),
    ] {
        let error = PrivacyPlan::parse(plan.as_bytes()).unwrap_err();
        let PlanError::Field { field, .. } = error else { panic!("{name}: {error}") };
        assert_eq!(field, name);
    }
}

#[test]
fn every_kind_of_training_is_runnable_and_larger_cohorts_than_one_graph_are_not() {
    for text in [PLAN.to_owned(), local_steps("customer", "local", 0.25), local_steps("merchant", "distributed", 1.0)] {
        PrivacyPlan::parse(text.as_bytes()).unwrap().runnable().unwrap();
        let large = text.replace("cohort-max = 12", "cohort-max = 300").replace("bits = 30", "bits = 40");
        let plan = PrivacyPlan::parse(large.as_bytes()).unwrap();
        assert!(matches!(plan.runnable(), Err(PlanError::Field { field: "rounds", .. })));
    }
    // Version 2 without the section is version 1 by another number.
    let plan = PrivacyPlan::parse(PLAN.replace("version = 1", "version = 2").as_bytes()).unwrap();
    plan.runnable().unwrap();
}

#[test]
fn the_norms_on_the_grid_and_under_the_noise_are_those_of_what_is_released() {
    let plan = |text: String| PrivacyPlan::parse(text.as_bytes()).unwrap();
    let clips = |plan: PrivacyPlan| (plan.noise_clip(), plan.update_clip());
    assert_eq!(clips(plan(PLAN.into())), (0.1, 0.1));
    // Noise in units of a gradient's clip, an update of another one.
    assert_eq!(clips(plan(local_steps("customer", "local", 0.25))), (0.1, 1.0));
    assert_eq!(clips(plan(local_steps("merchant", "distributed", 1.0))), (1.0, 1.0));
}

#[test]
fn divisors_are_public_constants_of_the_plan() {
    let one_step = PrivacyPlan::parse(PLAN.as_bytes()).unwrap();
    assert_eq!(one_step.divisor(), 0.25 * 1000.0);
    let local = PrivacyPlan::parse(local_steps("customer", "local", 0.25).as_bytes()).unwrap();
    assert_eq!(local.divisor(), 12.0, "updates are averaged over the merchants planned for");
    assert!((local.local_divisor() - 250.0 / 12.0).abs() < 1e-12, "steps over the series assumed of each");
}

#[test]
fn more_survivors_than_planned_add_more_noise_unless_each_adds_all_of_it() {
    let mut plan = PrivacyPlan::parse(PLAN.as_bytes()).unwrap();
    assert_eq!(plan.noise_of(10), plan.step.noise_multiplier);
    (plan.rounds.survivors_min, plan.rounds.colluders_assumed) = (5, 1);
    assert!((plan.noise_of(9) - plan.step.noise_multiplier * 2f64.sqrt()).abs() < 1e-12);
    assert_eq!(plan.noise_of(0), 0.0);
    let local = PrivacyPlan::parse(local_steps("customer", "local", 0.25).as_bytes()).unwrap();
    assert_eq!((local.noise_of(10), local.noise_of(12)), (10.0, 10.0));
}
