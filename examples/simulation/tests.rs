//! A small made-up marketplace from series to scored forecasts, and the plans that ship.

use forecastle_client::{
    data::series::{KNOWN_CHANNELS, Series},
    model::{Model, ModelConfig},
};
use forecastle_crypto::dp::{
    plan::{LocalPlan, NoiseMode, OptimizerRule, PrivacyPlan},
    unit::PrivacyUnit,
};
use jiff::civil::date;

use super::{
    federation::{Federation, FederationError, Privacy},
    presets,
    run::{Local, Method, Refit, RunError, Settings, backtest_windows, run},
};
use crate::dataset::{Panel, PanelSeries, Task};

/// Steps of the longest series.
const STEPS: usize = 112;
/// Merchants of two series each.
const MERCHANTS: usize = 6;

/// Weekly sales that double every fourth week, so that there is something to learn; the last series begins late.
fn panel() -> Panel {
    let mut task = Task::named("olist_seller_1W").unwrap();
    task.evaluation.windows = 2;
    let series = (0..2 * MERCHANTS)
        .map(|number| {
            let steps = if number + 1 == 2 * MERCHANTS { 20 } else { STEPS };
            let y = (STEPS - steps..STEPS)
                .map(|step| {
                    let wobble = ((step * 7 + number * 5) % 11) as f32 / 11.0;
                    (10.0 + number as f32) * (1.0 + wobble) * if step % 4 == 0 { 2.0 } else { 1.0 }
                })
                .collect();
            let mut known = vec![[0.0; KNOWN_CHANNELS]; steps + task.evaluation.horizon];
            for (step, channels) in known.iter_mut().enumerate() {
                channels[4] = if (STEPS - steps + step).is_multiple_of(4) { 1.0 } else { 0.0 };
            }
            let id = format!("series-{number:02}");
            PanelSeries {
                unique_id: id.clone(),
                merchant: format!("merchant-{}", number / 2),
                series: Series {
                    id,
                    frequency: task.frequency,
                    start: date(2024, 1, 1),
                    y,
                    known,
                    attributes: Vec::new(),
                    text: String::new(),
                    text_vector: None,
                    further: None,
                },
            }
        })
        .collect();
    Panel { task: task.outline(), series, length: STEPS }
}

fn start() -> Model {
    Model::untrained(&ModelConfig::preset("nano-weekly").unwrap(), 1).unwrap()
}

/// A plan for the panel with so much ε that its noise is next to nothing.
fn lavish(rounds: u32) -> PrivacyPlan {
    let mut plan = presets::for_panel(&panel(), PrivacyUnit::Series, start().federated_len(), rounds, 8.0).unwrap();
    plan.step.noise_multiplier = 1e-3;
    plan.step.sampling_rate = 1.0;
    plan
}

/// [`lavish`], with local steps of each kind: noised one by one, or their whole update once.
fn lavish_local(rounds: u32) -> [PrivacyPlan; 2] {
    [(PrivacyUnit::Series, NoiseMode::Local), (PrivacyUnit::Merchant, NoiseMode::Distributed)].map(|(unit, noise)| {
        let mut plan = lavish(rounds);
        plan.version = 2;
        plan.privacy.unit = unit;
        plan.local = Some(LocalPlan { noise, steps: 4, learning_rate: 0.5, update_clip: 0.5, proximal: 0.0 });
        plan
    })
}

fn settings(method: Method<'_>) -> Settings<'_> {
    Settings { method, refit: Refit::First, local: Local::Off, seed: 7 }
}

fn distance(a: &Model, b: &Model) -> f64 {
    let squares = a.federated().iter().zip(b.federated()).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    squares.sqrt()
}

#[test]
fn a_federation_runs_from_series_to_scored_forecasts_and_learns() {
    let (panel, plan) = (panel(), lavish(8));
    let windows = panel.windows();
    let federated = Method::Federated { plan: &plan, privacy: Privacy::On, bounded: None };
    let with = run(&panel, &windows, &start(), &settings(federated), &mut |_| ()).unwrap();
    let without = run(&panel, &windows, &start(), &settings(Method::NoFederation), &mut |_| ()).unwrap();
    assert_eq!(with.len(), 2);
    for (with, without) in with.iter().zip(&without) {
        // The late series has 12 steps before the first window and 16 before the second; 13 are asked for.
        assert_eq!(with.members.len(), 2 * MERCHANTS - usize::from(with.window == 0));
        assert_eq!(with.quantiles.len(), with.members.len());
        assert!(with.quantiles.iter().all(|q| q.len() == panel.task.evaluation.horizon));
        assert!(with.quantiles.iter().flatten().all(|q| q.is_sorted() && q[0].is_finite()));
        assert!(with.scores.wql < without.scores.wql, "{} {}", with.scores.wql, without.scores.wql);
    }
}

#[test]
fn tiny_noise_gives_nearly_the_model_without_privacy_and_real_noise_does_not() {
    let panel = panel();
    let train = |plan: &PrivacyPlan, privacy| {
        let federation = Federation::before(&panel, 100, plan, &start()).unwrap();
        federation.train(&start(), privacy, 3, &mut |_| ()).unwrap()
    };
    // Adam amplifies coordinates without a gradient to full steps; plain steps stay proportional.
    let mut plan = lavish(5);
    plan.optimizer.rule = OptimizerRule::FedAvg;
    plan.optimizer.learning_rate = 1.0;
    let open = train(&plan, Privacy::Off);
    let moved = distance(&open, &start());
    let tiny = distance(&open, &train(&plan, Privacy::On));
    assert!(tiny > 0.0 && tiny < 0.02 * moved, "{tiny} of {moved}");
    plan.step.noise_multiplier = 1.0;
    let noisy = distance(&open, &train(&plan, Privacy::On));
    assert!(noisy > 100.0 * tiny, "{noisy} {tiny}");
}

#[test]
fn a_seed_gives_the_same_bits_and_another_seed_does_not() {
    let (panel, plan) = (panel(), lavish(2));
    let train = |seed| {
        let federation = Federation::before(&panel, 100, &plan, &start()).unwrap();
        federation.train(&start(), Privacy::On, seed, &mut |_| ()).unwrap()
    };
    assert_eq!(train(1), train(1));
    assert_ne!(train(1), train(2));
}

#[test]
fn local_steps_learn_under_tiny_noise_whether_noised_one_by_one_or_once() {
    let panel = panel();
    let windows = panel.windows();
    let without = run(&panel, &windows, &start(), &settings(Method::NoFederation), &mut |_| ()).unwrap();
    for plan in lavish_local(8) {
        let federated = Method::Federated { plan: &plan, privacy: Privacy::On, bounded: None };
        let with = run(&panel, &windows, &start(), &settings(federated), &mut |_| ()).unwrap();
        for (with, without) in with.iter().zip(&without) {
            let (with, without) = (with.scores.wql, without.scores.wql);
            assert!(with < 0.95 * without, "{}: {with} {without}", plan.privacy.unit);
        }
    }
}

#[test]
fn local_steps_differ_by_their_noise_alone_and_by_the_seed() {
    let panel = panel();
    let train = |plan: &PrivacyPlan, privacy, seed| {
        let federation = Federation::before(&panel, 100, plan, &start()).unwrap();
        federation.train(&start(), privacy, seed, &mut |_| ()).unwrap()
    };
    for mut plan in lavish_local(2) {
        (plan.optimizer.rule, plan.optimizer.learning_rate) = (OptimizerRule::FedAvg, 1.0);
        let open = train(&plan, Privacy::Off, 3);
        let moved = distance(&open, &start());
        let private = train(&plan, Privacy::On, 3);
        let tiny = distance(&open, &private);
        assert!(tiny > 0.0 && tiny < 0.02 * moved, "{}: {tiny} of {moved}", plan.privacy.unit);
        assert_eq!(private, train(&plan, Privacy::On, 3));
        assert_ne!(private, train(&plan, Privacy::On, 4));
        plan.step.noise_multiplier = 1.0;
        let noisy = distance(&open, &train(&plan, Privacy::On, 3));
        assert!(noisy > 100.0 * tiny, "{}: {noisy} {tiny}", plan.privacy.unit);
    }
}

#[test]
fn training_and_forecasts_see_nothing_after_the_cut() {
    let (panel, plan) = (panel(), lavish(2));
    let windows = &panel.windows()[..1];
    let mut other = panel.clone();
    for member in &windows[0].members {
        other.series[member.index].series.y[member.cut..].fill(1e6);
    }
    let method = Method::Federated { plan: &plan, privacy: Privacy::On, bounded: None };
    let settings = Settings { local: Local::On, ..settings(method) };
    let seen = run(&panel, windows, &start(), &settings, &mut |_| ()).unwrap();
    let hidden = run(&other, windows, &start(), &settings, &mut |_| ()).unwrap();
    assert_eq!(seen[0].quantiles, hidden[0].quantiles);
    assert_ne!(seen[0].scores, hidden[0].scores);
}

#[test]
fn a_merchant_alone_learns_from_its_own_series_and_no_other() {
    let panel = panel();
    // Alone, a merchant trains all parameters: two of them are enough to wait for.
    let of = |merchants: &[&str]| {
        let mut window = panel.windows()[0].clone();
        window.members.retain(|member| merchants.contains(&panel.series[member.index].merchant.as_str()));
        [window]
    };
    let (one, two) = (of(&["merchant-0"]), of(&["merchant-0", "merchant-1"]));
    let alone = run(&panel, &two, &start(), &settings(Method::Alone), &mut |_| ()).unwrap();
    let without = run(&panel, &two, &start(), &settings(Method::NoFederation), &mut |_| ()).unwrap();
    assert!(alone[0].scores.wql < without[0].scores.wql, "{} {}", alone[0].scores.wql, without[0].scores.wql);
    let by_itself = run(&panel, &one, &start(), &settings(Method::Alone), &mut |_| ()).unwrap();
    assert_eq!(by_itself[0].quantiles[..], alone[0].quantiles[..2], "bit for bit");
}

#[test]
fn refitting_trains_at_every_window_on_what_is_known_there() {
    let (panel, plan) = (panel(), lavish(2));
    let windows = panel.windows();
    let method = Method::Federated { plan: &plan, privacy: Privacy::On, bounded: None };
    let rounds = |refit| {
        let mut rounds = vec![0; windows.len()];
        let settings = Settings { refit, ..settings(method) };
        let forecasts = run(&panel, &windows, &start(), &settings, &mut |progress| {
            if let super::run::Progress::Round { window, .. } = progress {
                rounds[window] += 1;
            }
        });
        (rounds, forecasts.unwrap())
    };
    let (first, reused) = rounds(Refit::First);
    let (each, refitted) = rounds(Refit::Each);
    assert_eq!((first, each), (vec![2, 0], vec![2, 2]));
    assert_eq!(reused[0].quantiles, refitted[0].quantiles);
    assert_ne!(reused[1].quantiles, refitted[1].quantiles);
}

#[test]
fn backtest_windows_end_where_the_first_one_begins_and_lie_a_horizon_apart() {
    let panel = panel();
    let (first, horizon) = (&panel.windows()[0], panel.task.evaluation.horizon);
    let windows = backtest_windows(&panel, 3);
    assert_eq!(windows.iter().map(|w| w.number).collect::<Vec<_>>(), [2, 1, 0]);
    for window in &windows {
        assert_eq!(window.cut + (window.number + 1) * horizon, first.cut);
        for member in &window.members {
            let later = first.members.iter().find(|later| later.index == member.index).unwrap();
            assert_eq!(member.cut + (window.number + 1) * horizon, later.cut);
        }
    }
    let most = backtest_windows(&panel, 200);
    assert!(most.len() < STEPS / horizon && most.iter().all(|w| !w.members.is_empty()), "{}", most.len());
}

#[test]
fn a_plan_of_another_size_is_refused() {
    let panel = panel();
    let refused = |change: fn(&mut PrivacyPlan)| {
        let mut plan = lavish(2);
        change(&mut plan);
        Federation::before(&panel, 100, &plan, &start()).err()
    };
    assert!(matches!(refused(|p| p.rounds.cohort_max = 5), Some(FederationError::Cohort { merchants: 6, most: 5 })));
    let few = refused(|p| (p.rounds.survivors_min, p.rounds.cohort_max) = (7, 9));
    assert!(matches!(few, Some(FederationError::Survivors { merchants: 6, least: 7 })));
}

#[test]
fn a_horizon_beyond_the_model_s_is_refused() {
    let mut panel = panel();
    panel.task.evaluation.horizon = 14;
    panel.task.evaluation.windows = 1;
    let refused = run(&panel, &panel.windows(), &start(), &settings(Method::NoFederation), &mut |_| ());
    assert!(matches!(refused, Err(RunError::Horizon { asked: 14, most: 13 })));
}

#[test]
fn shipped_plans_are_consistent_and_keep_their_epsilon() {
    for name in presets::preset_names() {
        // Parsing checks the plan against its cap.
        let plan = presets::resolve(name).unwrap();
        assert_eq!((plan.privacy.epsilon_cap, plan.privacy.delta, plan.rounds.count), (8.0, 1e-6, 60), "{name}");
        let rows = plan.epsilon_rows(384, plan.rounds.count).unwrap();
        assert!(rows.server.epsilon <= 8.0 && rows.server.epsilon > 7.5, "{name}: {rows:?}");
    }
}

#[test]
fn an_unknown_plan_names_those_there_are() {
    let error = presets::resolve("restaurant").unwrap_err().to_string();
    assert!(error.contains("restaurants-series-8"), "{error}");
}
