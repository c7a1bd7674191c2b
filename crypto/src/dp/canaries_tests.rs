//! Claims about what guesses refute.

use super::*;
use crate::entropy::{Entropy as _, SeededEntropy};

const HONEST: &str = r#"{
    "version": 1, "unit": "customer", "epsilon": 1.0, "delta": 1e-6, "epsilon_lower_bound": BOUND,
    "confidence": 0.95, "canaries": 1000, "looks": [{"guesses": 1000, "correct": 540}, {"guesses": 120, "correct": 83}],
    "rounds": 40, "noise_multiplier": 31.0, "plan_noise_multiplier": 4.1,
    "plan_sha256": "0000000000000000000000000000000000000000000000000000000000000000", "own_series": 0,
    "software": "forecastle 0.1.0", "at_ms": 1795487385827
}"#;

fn honest() -> String {
    let bound = lower_bound(1000, &[look(1000, 540), look(120, 83)], 1e-6, 0.95);
    HONEST.replace("BOUND", &bound.to_string())
}

fn look(guesses: u64, correct: u64) -> Look {
    Look { guesses, correct }
}

#[test]
fn without_delta_the_chance_is_a_binomial_tail() {
    assert!((chance(10, look(10, 10), 0.0, 0.0) - 1.0 / 1024.0).abs() < 1e-15);
    assert!((chance(99, look(10, 5), 0.0, 0.0) - 638.0 / 1024.0).abs() < 1e-12);
    // p = 3/4: Pr[Bin(4, 3/4) ≥ 3] = 4·27/256 + 81/256.
    assert!((chance(4, look(4, 3), 3f64.ln(), 0.0) - 189.0 / 256.0).abs() < 1e-12);
    assert_eq!(chance(7, look(7, 0), 1.0, 1e-3), 1.0);
}

#[test]
fn delta_adds_what_moving_mass_upwards_can_add() {
    // r = v = 2, ε = 0: masses ¼, ½, ¼ at 2, 1, 0. A shift by 1 moves ½ at price 1; by 2 it moves ¾ at price 2.
    let expected = 0.25 + 2.0 * 5.0 * 0.01 * 0.5;
    assert!((chance(5, look(2, 2), 0.0, 0.01) - expected).abs() < 1e-15);
    // As the code printed in the paper's appendix D computes it: m = 1000, r = 120, v = 83, ε = ½, δ = 10⁻³.
    let (mut beta, mut masses) = (0.0, Vec::new());
    each_mass(120, 0.5, |right, mass| if right >= 83 { beta += mass } else { masses.push(mass) });
    let (mut alpha, mut sum) = (0.0_f64, 0.0);
    for (i, mass) in masses.iter().enumerate() {
        sum += mass;
        alpha = alpha.max(sum / (i + 1) as f64);
    }
    assert!((chance(1000, look(120, 83), 0.5, 1e-3) - (beta + alpha * 1e-3 * 2.0 * 1000.0)).abs() < 1e-15);
    // The same numbers from an independent implementation.
    assert!((chance(1000, look(120, 83), 0.5, 1e-6) - 0.069_513_555_4).abs() < 1e-9);
    assert!((chance(1000, look(120, 83), 0.5, 1e-3) - 0.189_113_618_6).abs() < 1e-9);
}

#[test]
fn all_right_guesses_bound_epsilon_as_expected() {
    // 0.05 = p^n gives p = 0.05^{1/n}.
    let p: f64 = 0.05_f64.powf(0.01);
    let expected = (p / (1.0 - p)).ln();
    assert!((lower_bound(100, &[look(100, 100)], 0.0, 0.95) - expected).abs() < 1e-6);
    assert_eq!(lower_bound(100, &[look(100, 50)], 0.0, 0.95), 0.0);
    assert_eq!(lower_bound(100, &[look(0, 0)], 0.0, 0.95), 0.0);
    // Two looks share the error; δ lowers the bound.
    let two = lower_bound(100, &[look(100, 100), look(100, 50)], 0.0, 0.95);
    let p: f64 = 0.025_f64.powf(0.01);
    assert!((two - (p / (1.0 - p)).ln()).abs() < 1e-6);
    assert!(lower_bound(100, &[look(100, 100)], 1e-4, 0.95) < expected);
    assert!(lower_bound(CANARIES_MAX, &[look(CANARIES_MAX, CANARIES_MAX)], 0.0, 0.95) > 10.0);
}

#[test]
fn the_mechanism_that_attains_the_claim_is_accused_no_more_often_than_stated() {
    // Randomised response tells each coin rightly with probability e^ε/(1 + e^ε): the worst an ε-private one can do. At 80 %
    // confidence 2,000 runs accuse it 400 times at most on average; 500 is beyond five standard deviations (17.9).
    let mut entropy = SeededEntropy::danger_from_seed([7; 32]);
    let mut coin = |p: f64| {
        let mut bytes = [0; 8];
        entropy.fill(&mut bytes).unwrap();
        (u64::from_le_bytes(bytes) as f64) < p * 2f64.powi(64)
    };
    let (epsilon, canaries) = (1.0_f64, 200_u64);
    let p = epsilon.exp() / (1.0 + epsilon.exp());
    let least = (0..=canaries).find(|&v| chance(canaries, look(canaries, v), epsilon, 0.0) <= 0.2).unwrap();
    let accused = (0..2_000).filter(|_| (0..canaries).filter(|_| coin(p)).count() as u64 >= least).count();
    assert!((100..500).contains(&accused), "{accused}");
    assert!(lower_bound(canaries, &[look(canaries, least)], 0.0, 0.8) >= epsilon);
    assert!(lower_bound(canaries, &[look(canaries, least - 1)], 0.0, 0.8) < epsilon);
}

#[test]
fn an_honest_file_is_read() {
    let run = CanaryRun::from_json(honest().as_bytes()).unwrap();
    assert!(!run.refutes() && run.unit == PrivacyUnit::Customer);
    assert!(run.epsilon_lower_bound > 0.35 && run.epsilon_lower_bound < 0.45, "{}", run.epsilon_lower_bound);
    assert_eq!(run.best(), look(120, 83));
    assert_eq!(CanaryRun::from_json(&serde_json::to_vec(&run).unwrap()).unwrap(), run);
}

#[test]
fn every_wrong_number_is_refused_by_name() {
    for (from, to, name) in [
        ("\"version\": 1", "\"version\": 2", "version"),
        ("\"customer\"", "\"merchant\"", "unit"),
        ("\"epsilon\": 1.0", "\"epsilon\": -1.0", "epsilon"),
        ("1e-6", "1.0", "delta"),
        ("0.95", "1.0", "confidence"),
        ("31.0", "0.0", "noise_multiplier"),
        ("\"canaries\": 1000", "\"canaries\": 0", "canaries"),
        ("\"guesses\": 120", "\"guesses\": 1200", "looks"),
        ("\"correct\": 83", "\"correct\": 121", "looks"),
        ("[{\"guesses\": 1000, \"correct\": 540}, {\"guesses\": 120, \"correct\": 83}]", "[]", "looks"),
        ("\"epsilon_lower_bound\": 0.", "\"epsilon_lower_bound\": 1.", "epsilon_lower_bound"),
        ("\"epsilon_lower_bound\": 0.", "\"epsilon_lower_bound\": 0.0", "epsilon_lower_bound"),
        ("0.95", "0.99999999999", "confidence"),
        ("0.95", "0.1", "confidence"),
    ] {
        let error = CanaryRun::from_json(honest().replacen(from, to, 1).as_bytes()).unwrap_err();
        let CanaryFileError::Field(CanaryError { field, .. }) = error else { panic!("{name}: {error}") };
        assert_eq!(field, name);
    }
    for text in ["{}", "", "[]", &honest().replacen("\"rounds\"", "\"round\"", 1)] {
        assert!(matches!(CanaryRun::from_json(text.as_bytes()), Err(CanaryFileError::Format(_))), "{text}");
    }
}
