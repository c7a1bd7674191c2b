//! The tree itself, joint samples, and what becomes of both.

use jiff::civil::date;

use super::{copula::Copula, *};
use crate::data::{
    order::plus_days,
    series::{Frequency, KNOWN_CHANNELS},
};
use crate::forecast::metrics::LEVELS_LEN;

pub(super) fn product(id: &str, category: &str, y: Vec<f32>) -> Series {
    let known = (0..y.len() + 2)
        .map(|_| {
            let mut c = [0.0; KNOWN_CHANNELS];
            c[0] = 0.5;
            c[LOG_PRICE] = id.len() as f32;
            c
        })
        .collect();
    Series {
        id: id.into(),
        frequency: Frequency::Daily,
        start: plus_days(date(2025, 1, 1), -(y.len() as i64)),
        known,
        attributes: if category.is_empty() { Vec::new() } else { vec![("category".into(), category.into())] },
        text: String::new(),
        text_vector: None,
        further: None,
        y,
    }
}

#[test]
fn categories_are_a_level_only_where_they_say_something() {
    let of = |categories: &[&str]| {
        let series: Vec<Series> = categories.iter().map(|category| product("p", category, vec![1.0])).collect();
        let totals = Hierarchy::of(&series.iter().collect::<Vec<_>>()).totals().to_vec();
        totals.into_iter().map(|total| format!("{} {}", total.level.name(), total.name)).collect::<Vec<_>>()
    };
    assert_eq!(of(&["tea", "", "tea", "cup"]), ["category cup", "category none", "category tea", "shop all"]);
    assert_eq!(of(&["", "", ""]), ["shop all"]);
    assert_eq!(of(&["tea", "tea"]), ["shop all"]);
    assert_eq!(of(&["tea", "cup"]), ["shop all"]);
    assert_eq!(of(&[]), ["shop all"]);
}

#[test]
fn a_total_is_the_sum_of_what_was_observed_from_the_day_its_products_began() {
    const N: f32 = f32::NAN;
    let shop = [
        product("a", "tea", vec![1., 2., N, 4.]),
        product("bb", "tea", vec![10., N]),
        product("ccc", "cup", vec![N, N, 100.]),
    ];
    let series: Vec<&Series> = shop.iter().collect();
    let hierarchy = Hierarchy::of(&series);
    let totals = hierarchy.total_series(&series);
    let y: Vec<Vec<String>> = totals.iter().map(|t| t.y.iter().map(f32::to_string).collect()).collect();
    assert_eq!(y, [["NaN", "NaN", "NaN", "100"], ["1", "2", "10", "4"], ["1", "2", "10", "104"]]);
    assert!(totals.iter().all(|t| t.start == shop[0].start && t.known.len() == 6));
    // Calendar as it is; prices averaged over the products that had begun.
    assert_eq!(totals[2].known.iter().map(|c| c[0]).collect::<Vec<_>>(), [0.5; 6]);
    assert_eq!(totals[2].known.iter().map(|c| c[LOG_PRICE]).collect::<Vec<_>>(), [1., 2., 2., 2., 2., 2.]);
    assert_eq!(totals[0].attributes, [("category".to_owned(), "cup".to_owned())]);
    assert!(hierarchy.total_series(&[]).is_empty());
}

#[test]
fn samples_keep_each_node_s_distribution_and_join_those_that_moved_together() {
    let steps = 40_usize;
    let up: Vec<f32> = (0..steps).map(|step| ((step * 17) % steps) as f32 / steps as f32).collect();
    let down: Vec<f32> = up.iter().map(|level| 1.0 - level).collect();
    let mut copula = Copula::new(steps);
    let drawn = [&up, &up, &down, &vec![f32::NAN; steps]].map(|past| copula.levels(past));
    for levels in &drawn {
        let mut sorted = levels.clone();
        sorted.sort_by(f64::total_cmp);
        for (rank, level) in sorted.iter().enumerate() {
            assert!((level * levels.len() as f64 - rank as f64 - 0.5).abs() < 0.5, "{rank} {level}");
        }
    }
    let correlation = |a: &[f64], b: &[f64]| {
        let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - 0.5) * (b - 0.5)).sum();
        12.0 * sum / a.len() as f64
    };
    assert!(correlation(&drawn[0], &drawn[1]) > 0.98);
    assert!(correlation(&drawn[0], &drawn[2]) < -0.98);
    // Three deviations of an independent pair.
    assert!(correlation(&drawn[0], &drawn[3]).abs() < 3.0 / (drawn[0].len() as f64).sqrt());
    let mut few = Copula::new(copula::STEPS_MIN - 1);
    let [a, b] = [0, 1].map(|_| few.levels(&[0.5]));
    assert!(!few.joins() && correlation(&a, &b).abs() < 3.0 / (a.len() as f64).sqrt());
}

const SPREAD: [f32; LEVELS_LEN] = [6., 7., 8., 9., 10., 11., 12., 13., 14.];

/// Two products and their shop, whose past levels are given; the shop's own forecast says 25.
fn two(levels: [fn(usize) -> f32; 2]) -> Totals {
    let shop = [product("a", "", vec![1.0; 60]), product("bb", "", vec![1.0; 60])];
    let hierarchy = Hierarchy::of(&shop.iter().collect::<Vec<_>>());
    let (one, own) = (vec![SPREAD; 30], vec![SPREAD.map(|q| q + 15.0); 30]);
    let forecasts = Forecasts { products: vec![&one, &one], totals: vec![&own], negative: vec![false; 2] };
    let came: Vec<Vec<f32>> = levels
        .iter()
        .map(|level| (0..30).map(|t| QuantileFunction::new(&SPREAD).value(f64::from(level(t))) as f32).collect())
        .collect();
    let sum: Vec<f32> = came[0].iter().zip(&came[1]).map(|(a, b)| a + b + 5.0).collect();
    let mut past = PastErrors::default();
    past.add(&hierarchy, &[0, 1], &forecasts, &[&came[0], &came[1], &sum]);
    assert_eq!(past.steps(), 30);
    forecast_totals(&hierarchy, &[0, 1], &forecasts, &past)
}

fn first(step: usize) -> f32 {
    ((step * 7) % 30) as f32 / 30.0 + 0.01
}

fn against(step: usize) -> f32 {
    1.0 - first(step)
}

#[test]
fn totals_are_wide_where_products_move_together_and_narrow_where_they_move_apart() {
    let width = |totals: &Totals| totals.bottom_up[0][0][8] - totals.bottom_up[0][0][0];
    let (together, apart) = (two([first, first]), two([first, against]));
    // Each product's is 8, and the sum of two that move as one has the sum of their quantiles.
    assert!((width(&together) - 16.0).abs() < 0.5, "{}", width(&together));
    assert!(width(&apart) < 3.0, "{}", width(&apart));
    assert!(together.joined && together.bottom_up[0].iter().flatten().all(|q| q.is_finite()));
}

#[test]
fn reconciled_means_and_samples_lie_between_what_the_levels_say_and_add_up() {
    let totals = two([first, |step| ((step * 11) % 30) as f32 / 30.0 + 0.01]);
    assert!(matches!(totals.weighting, Weighting::Shrunk(_)));
    for step in 0..30 {
        let [a, b, shop] = [0, 1, 2].map(|node| totals.means[node][step]);
        assert!((a + b - shop).abs() < 1e-9 && (20.0..25.0).contains(&shop), "{a} {b} {shop}");
        let [lower, upper] = [&totals.bottom_up[0][step], &totals.reconciled[0][step]];
        assert!(lower[4] < upper[4] && upper.windows(2).all(|q| q[0] <= q[1]), "{lower:?} {upper:?}");
    }
}

#[test]
fn a_shop_of_zeros_is_forecast_as_zero_and_one_without_errors_by_its_structure() {
    let shop = [product("a", "x", vec![0.0; 60]), product("bb", "x", vec![0.0; 60]), product("c", "", vec![0.0; 60])];
    let hierarchy = Hierarchy::of(&shop.iter().collect::<Vec<_>>());
    let zero = vec![[0.0; LEVELS_LEN]; 28];
    let forecasts = Forecasts { products: vec![&zero; 3], totals: vec![&zero; 3], negative: vec![false; 3] };
    let mut past = PastErrors::default();
    let none = forecast_totals(&hierarchy, &[0, 1, 2], &forecasts, &past);
    assert_eq!((none.weighting, none.joined), (Weighting::Structural, false));
    past.add(&hierarchy, &[0, 1, 2], &forecasts, &[[0.0; 28].as_slice(); 6]);
    for totals in [none, forecast_totals(&hierarchy, &[0, 1, 2], &forecasts, &past)] {
        assert!(totals.reconciled.iter().chain(&totals.bottom_up).flatten().flatten().all(|q| *q == 0.0));
        assert!(totals.means.iter().flatten().all(|mean| *mean == 0.0));
    }
}

#[test]
fn past_errors_keep_their_steps_when_nodes_come_late_and_old_ones_are_forgotten() {
    let shop = [product("a", "", vec![0.0; 60]), product("bb", "", vec![0.0; 60])];
    let hierarchies = [Hierarchy::of(&[&shop[0]]), Hierarchy::of(&shop.iter().collect::<Vec<_>>())];
    let zero = vec![[0.0; LEVELS_LEN]; 28];
    let mut past = PastErrors::default();
    for round in 0..6 {
        let both = usize::from(round > 0);
        let nodes = 1 + both;
        let forecasts = Forecasts { products: vec![&zero; nodes], totals: vec![&zero], negative: vec![false; nodes] };
        let came = [round as f32; 28];
        past.add(&hierarchies[both], &[7, 9][..nodes], &forecasts, &vec![came.as_slice(); nodes + 1]);
        let (errors, levels) = past.of(&hierarchies[1], &[7, 9]);
        assert!(errors.iter().chain(&levels).all(|of| of.len() == past.steps()));
        assert_eq!(errors[1].iter().filter(|e| e.is_nan()).count(), if round < 4 { 28 } else { 0 });
        assert_eq!(errors[0].last(), Some(&(round as f32)));
    }
    assert_eq!(past.steps(), 112);
}

#[test]
fn earlier_origins_see_nothing_that_came_later_and_all_levels_add_up() {
    let y =
        |level: usize, days: usize| (0..days).map(|t| (level + (t * t * (level + 3)) % 7) as f32).collect::<Vec<_>>();
    let shop = [
        product("a", "tea", y(3, 90)),
        product("bb", "tea", y(9, 40)),
        product("ccc", "cup", y(1, 70)),
        product("d", "cup", y(0, 3)),
    ];
    let mut seen = Vec::new();
    let mut serve = |items: &[(&Series, usize)]| {
        seen.push(items.iter().map(|(one, cut)| (one.id.clone(), one.y.len() - cut)).collect::<Vec<_>>());
        // The mean of the last ten days, and what is usual around it.
        let forecast = |(one, cut): &(&Series, usize)| {
            let last = &one.y[cut.saturating_sub(10)..*cut];
            let mean = last.iter().sum::<f32>() / last.len() as f32;
            vec![std::array::from_fn(|level| (mean + level as f32 - 4.0).max(0.0)); 14]
        };
        Ok::<_, std::convert::Infallible>(items.iter().map(forecast).collect())
    };
    let (hierarchy, products, totals) = with_totals(&shop, 14, 5, &mut serve).unwrap();
    let asked: Vec<(usize, usize)> = seen.iter().map(|items| (items[0].1, items.len())).collect();
    // Of four, three and two origins ago `bb` was too young or not there, `d` always; categories need two products.
    assert_eq!(asked, [(56, 3), (42, 3), (28, 6), (14, 6), (0, 7)]);
    assert!(seen.iter().all(|items| items.iter().all(|(_, behind)| *behind == items[0].1)));
    assert_eq!((products.len(), totals.reconciled.len(), totals.means.len()), (4, 3, 7));
    assert!(matches!(totals.weighting, Weighting::Shrunk(_)) && totals.joined);
    for step in 0..14 {
        let means: Vec<f64> = totals.means.iter().map(|mean| mean[step]).collect();
        for (sum, total) in hierarchy.sums(means[..4].iter().copied()).iter().zip(&means[4..]) {
            assert!((sum - total).abs() < 1e-9, "{means:?}");
        }
    }
}
