//! A generated marketplace as a panel: the same merchants, products and days that `--example marketplace` writes as files.
//!
//! For drawing what a federation gains over its size. Targets are what was sold and kept, missing where nothing was in
//! stock; prices, promotions, coupons and holidays are known in advance. The unit is the series: no line is dropped. The
//! held-back days are the only window.

use std::collections::BTreeMap;

use forecastle_client::data::{
    order::{Catalogue, Period, Product, ProductDay, SalesRow, plus_days},
    series::{Frequency, MissingDay, SeriesKey, SeriesSpec, series_from_sales},
};
use jiff::civil::Date;

use crate::{
    dataset::{Evaluation, Outline, Panel, PanelSeries},
    world::{Merchant, World, WorldConfig, WorldError},
};

/// Days that a product must have been listed before the held-back days.
const MINIMUM_HISTORY: usize = 28;

/// The size of a world from a task's name: `generated_1000x4` is 1,000 merchants of four products each.
pub fn parse(task: &str) -> Option<WorldConfig> {
    let (merchants, products) = task.strip_prefix("generated_")?.split_once('x')?;
    Some(WorldConfig { merchants: merchants.parse().ok()?, products: products.parse().ok()?, ..WorldConfig::default() })
}

/// Every product of the world as a series.
///
/// # Errors
/// [`WorldError`] names the number outside its range.
pub fn panel(config: &WorldConfig) -> Result<Panel, WorldError> {
    let mut series = Vec::new();
    World::each(config, |merchant, holidays| series.extend(of_merchant(config, &merchant, holidays)))?;
    series.sort_by(|a, b| a.unique_id.cmp(&b.unique_id));
    let name = format!("generated_{}x{}", config.merchants, config.products);
    Ok(Panel {
        task: Outline {
            title: format!(
                "A generated marketplace of {} merchants, {} products each",
                config.merchants, config.products
            ),
            name,
            frequency: Frequency::Daily,
            evaluation: Evaluation {
                horizon: config.held_back_days,
                windows: 1,
                season: 7,
                minimum_history: MINIMUM_HISTORY,
            },
        },
        length: config.history_days + config.held_back_days,
        series,
    })
}

fn of_merchant(config: &WorldConfig, merchant: &Merchant, holidays: &BTreeMap<Date, &'static str>) -> Vec<PanelSeries> {
    let day = |day: usize| plus_days(config.start, day as i64);
    let mut catalogue = Catalogue::default();
    catalogue.holidays.extend(holidays.iter().map(|(day, name)| (*day, (*name).to_owned())));
    let mut rows = Vec::new();
    for (product, truth) in merchant.products.iter().zip(&merchant.truth) {
        let about = Product {
            id: product.id.clone(),
            title: product.title.clone(),
            category: product.category.clone(),
            description: product.description.clone(),
            list_price: Some(product.list_price),
            listed_on: Some(day(product.listed_day)),
            attributes: Vec::new(),
        };
        catalogue.products.insert(product.id.clone(), about);
        let planned = product.plan.iter().enumerate().skip(product.listed_day).map(|(at, plan)| {
            let known = ProductDay {
                price: Some(plan.price(product.list_price)),
                promotion: plan.promotion(),
                coupon: plan.coupon,
                in_stock: Some(plan.in_stock),
                ..ProductDay::default()
            };
            (day(at), known)
        });
        catalogue.calendar.insert(product.id.clone(), planned.collect());
        let sold = truth.sales.iter().enumerate().filter(|(_, sales)| !sales.is_nan());
        rows.extend(sold.map(|(at, sales)| SalesRow {
            series: product.id.clone(),
            date: day(at),
            value: f64::from(*sales),
        }));
    }
    let last = day(config.history_days + config.held_back_days - 1);
    let spec = SeriesSpec {
        frequency: Frequency::Daily,
        period: Period::new(config.start, last).expect("invariant: a world has at least 29 days"),
        future_steps: config.held_back_days,
        key: SeriesKey::Product,
    };
    let owned = |mut series: forecastle_client::data::series::Series| {
        let unique_id = format!("{} {}", merchant.name, series.id);
        series.id.clone_from(&unique_id);
        PanelSeries { unique_id, merchant: merchant.name.clone(), series }
    };
    series_from_sales(&rows, &catalogue, &spec, MissingDay::Closed).into_iter().map(owned).collect()
}

#[cfg(test)]
mod tests {
    use forecastle_client::data::calendar::PROMOTION;

    use super::*;

    #[test]
    fn a_panel_holds_what_the_merchants_sold_and_had_planned() {
        let config = WorldConfig { history_days: 120, ..parse("generated_3x5").unwrap() };
        let (panel, world) = (panel(&config).unwrap(), World::generate(&config).unwrap());
        assert_eq!((panel.merchants().len(), panel.series.len()), (3, 15));
        let window = &panel.windows()[0];
        assert!(window.members.len() >= 10);
        for member in &window.members {
            let one = &panel.series[member.index];
            assert_eq!(panel.first_test_date(*member), plus_days(config.start, 120));
            let merchant = world.merchants().iter().find(|m| m.name == one.merchant).unwrap();
            let at = merchant.products.iter().position(|p| one.unique_id.ends_with(&p.id)).unwrap();
            let truth = &merchant.truth[at].sales[120..];
            let same = panel.actual(*member).iter().zip(truth).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
            assert!(same, "{}", one.unique_id);
            let plan = &merchant.products[at].plan;
            let first = plan.len() - one.series.y.len();
            assert!(first >= merchant.products[at].listed_day);
            let promoted = |step: usize| one.series.known[step][PROMOTION] > 0.0;
            assert!((0..one.series.y.len()).all(|step| promoted(step) == plan[first + step].promotion()));
        }
    }

    #[test]
    fn only_a_size_makes_a_generated_task() {
        assert_eq!(parse("generated_1000x4").map(|c| (c.merchants, c.products)), Some((1000, 4)));
        for other in ["generated_1000", "generated_x4", "walmart_1W", "generated_1000x-4"] {
            assert_eq!(parse(other), None, "{other}");
        }
        assert!(panel(&parse("generated_0x4").unwrap()).is_err());
    }
}
