//! The marketplace has what its description promises.

use std::collections::{HashMap, HashSet};

use super::*;

fn small() -> World {
    World::generate(&WorldConfig { merchants: 3, products: 40, seed: 5, ..WorldConfig::default() }).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_marketplace_and_another_seed_another() {
    let config = WorldConfig { merchants: 2, products: 6, history_days: 120, ..WorldConfig::default() };
    let lines = |config: &WorldConfig| format!("{:?}", World::generate(config).unwrap().merchants()[1].lines);
    assert_eq!(lines(&config), lines(&config));
    assert_ne!(lines(&config), lines(&WorldConfig { seed: 2, ..config }));
}

#[test]
fn numbers_out_of_range_are_named() {
    let error = World::generate(&WorldConfig { merchants: 0, ..WorldConfig::default() }).unwrap_err();
    assert_eq!(error.to_string(), "merchants is 0, but must lie within 1 to 20000");
    let error = World::generate(&WorldConfig { volume: f64::NAN, ..WorldConfig::default() }).unwrap_err();
    assert!(error.to_string().contains("volume"));
}

#[test]
fn order_lines_add_up_to_sales_and_none_happens_without_stock() {
    let world = small();
    let history = world.config().history_days;
    for merchant in world.merchants() {
        let mut units: HashMap<(u16, u16), (f32, f32)> = HashMap::new();
        for line in merchant.lines.iter().chain(&merchant.held_back) {
            let (ordered, kept) = units.entry((line.product, line.day)).or_default();
            *ordered += f32::from(line.quantity);
            *kept += f32::from(line.quantity) * f32::from(u8::from(!line.returned));
        }
        assert!(merchant.lines.iter().all(|line| usize::from(line.day) < history));
        assert!(merchant.held_back.iter().all(|line| usize::from(line.day) >= history));
        for (index, (product, truth)) in merchant.products.iter().zip(&merchant.truth).enumerate() {
            for (day, plan) in product.plan.iter().enumerate() {
                let sold = units.get(&(index as u16, day as u16)).copied();
                if plan.in_stock && day >= product.listed_day {
                    assert_eq!(sold.unwrap_or_default(), (truth.ordered[day], truth.sales[day]));
                    assert_eq!(truth.ordered[day], truth.demand[day]);
                } else {
                    assert!(sold.is_none() && truth.sales[day].is_nan());
                }
            }
        }
    }
}

#[test]
fn most_customers_stay_within_eight_lines_and_two_products() {
    let world = small();
    let mut lines = 0;
    let mut kept = 0;
    for merchant in world.merchants() {
        let mut customers: HashMap<u32, (usize, HashSet<u16>)> = HashMap::new();
        for line in &merchant.lines {
            let (count, products) = customers.entry(line.customer).or_default();
            lines += 1;
            if (products.contains(&line.product) || products.len() < 2) && *count < 8 {
                products.insert(line.product);
                *count += 1;
                kept += 1;
            }
        }
    }
    let dropped = 1.0 - f64::from(kept) / f64::from(lines);
    assert!(dropped > 0.002 && dropped < 0.08, "{dropped}");
    let people = world.people();
    assert!(people.at_several_merchants * 20 > people.people, "{people:?}");
    assert!(people.people < people.customers);
}

#[test]
fn promotions_holidays_new_and_rare_products_are_all_there() {
    let world = small();
    let mut on_promotion = (0.0, 0.0);
    let mut otherwise = (0.0, 0.0);
    let mut rare = 0;
    let mut new = 0;
    let mut without_stock = 0;
    for merchant in world.merchants() {
        for (product, truth) in merchant.products.iter().zip(&merchant.truth) {
            let observed: f32 = truth.sales.iter().filter(|sales| !sales.is_nan()).sum();
            rare += usize::from(observed / (truth.sales.len() as f32) < 0.15);
            new += usize::from(product.listed_day + 56 >= world.config().history_days);
            without_stock += product.plan.iter().filter(|day| !day.in_stock).count();
            let base = f64::from(truth.demand.iter().sum::<f32>()) / truth.demand.len() as f64;
            for (day, plan) in product.plan.iter().enumerate().filter(|_| base > 0.3) {
                let cell = if plan.discount >= 0.25 { &mut on_promotion } else { &mut otherwise };
                *cell = (cell.0 + f64::from(truth.demand[day]), cell.1 + base);
            }
        }
    }
    let lift = (on_promotion.0 / on_promotion.1) / (otherwise.0 / otherwise.1);
    assert!(lift > 2.0 && lift < 6.0, "{lift}");
    assert!(rare >= 10 && new >= 3 && without_stock > 500, "{rare} {new} {without_stock}");
}

#[test]
fn files_hold_the_plan_of_the_held_back_days_but_not_their_orders() {
    let dir = std::env::temp_dir().join(format!("forecastle-world-{}", std::process::id()));
    let config = WorldConfig { merchants: 1, products: 10, history_days: 90, ..WorldConfig::default() };
    let world = World::generate(&config).unwrap();
    let files = world.write(&dir).unwrap().remove(0);
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let (orders, calendar, held_back) = (read(&files.orders), read(&files.calendar), read(&files.held_back_orders));
    let truth = read(&files.truth);
    std::fs::remove_dir_all(&dir).unwrap();
    let last = world.period().end().to_string();
    let days = |text: &str, column: usize| -> Vec<String> {
        text.lines().skip(1).map(|row| row.split(',').nth(column).unwrap()[..10].to_owned()).collect()
    };
    assert_eq!(orders.lines().count(), 1 + world.lines() + files.dirty_rows);
    assert!(days(&orders, 3).iter().all(|day| *day <= last));
    assert!(days(&held_back, 3).iter().all(|day| *day > last));
    assert!(days(&calendar, 1).iter().any(|day| *day > last));
    for row in calendar.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(cells[5].is_empty(), cells[1] > last.as_str(), "{row}");
    }
    assert_eq!((truth.lines().count(), files.dirty_rows), (1 + 10 * 28, 4));
    assert_eq!(orders.matches("-02-30 ").count(), 1);
    assert_eq!(orders.lines().filter(|row| row.split(',').nth(5).unwrap().starts_with('-')).count(), 1);
}

#[test]
fn the_client_imports_what_was_written_and_finds_the_sales_that_happened() {
    use forecastle_client::data::{
        clean::{CleaningRules, clean},
        series::{Frequency, SeriesKey, SeriesSpec, series_from_orders},
        store::{DataStore, ImportOptions},
    };

    let dir = std::env::temp_dir().join(format!("forecastle-world-import-{}", std::process::id()));
    let config = WorldConfig { merchants: 1, products: 20, history_days: 200, seed: 3, ..WorldConfig::default() };
    let world = World::generate(&config).unwrap();
    let files = world.write(&dir.join("files")).unwrap().remove(0);
    let mut store = DataStore::open(&dir.join("state")).unwrap();
    let orders = store.import_file(&files.orders, &ImportOptions::default()).unwrap();
    for path in [&files.products, &files.calendar, &files.holidays] {
        let report = store.import_file(path, &ImportOptions::default()).unwrap();
        assert_eq!(report.rejected_total, 0, "{report}");
    }
    let (lines, _) = clean(store.orders(), &CleaningRules::default());
    let spec = SeriesSpec {
        frequency: Frequency::Daily,
        period: world.period(),
        future_steps: config.held_back_days,
        key: SeriesKey::Product,
    };
    let series = series_from_orders(&lines, store.catalogue(), &spec);
    std::fs::remove_dir_all(&dir).unwrap();

    let expected = (world.lines() as u64, files.dirty_rows as u64);
    assert_eq!((orders.imported, orders.rejected_total), expected, "{orders}");
    let merchant = &world.merchants()[0];
    assert_eq!(series.len(), merchant.products.len());
    for ((series, product), truth) in series.iter().zip(&merchant.products).zip(&merchant.truth) {
        assert_eq!(series.id, product.id);
        assert_eq!(series.date(0), plus_days(config.start, product.listed_day as i64));
        assert_eq!(series.known.len(), series.y.len() + config.held_back_days);
        let happened = &truth.sales[product.listed_day..config.history_days];
        assert_eq!(series.y.len(), happened.len());
        for (step, (ours, theirs)) in series.y.iter().zip(happened).enumerate() {
            assert!(
                ours == theirs || (ours.is_nan() && theirs.is_nan()),
                "{} step {step}: {ours} {theirs}",
                product.id
            );
        }
    }
}
