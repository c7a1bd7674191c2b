//! Claims about plans: consistency, files, thresholds.

use super::*;
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
        ("version = 1", "version = 2", "version"),
        ("delta = 1e-6", "delta = 0.5", "privacy.delta"),
        ("clip = 0.1", "clip = -1.0", "step.clip"),
        ("sampling-rate = 0.25", "sampling-rate = 1.5", "step.sampling-rate"),
        ("survivors-min = 10", "survivors-min = 1", "rounds"),
        ("bits = 30", "bits = 64", "integers.bits"),
        ("2025-06-30", "2023-06-30", "rounds.period-start"),
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
