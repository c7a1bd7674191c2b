//! One merchant: its shop, its demand day by day, and the order lines that came of it.

use std::collections::BTreeMap;

use forecastle_client::data::order::plus_days;
use jiff::civil::{Date, Weekday};

use super::{
    WorldConfig,
    category::{Category, Circumstances},
    customers::{Customers, Line, People},
    draws::{Stream, between, gamma_mean_one, log_normal, normal, poisson},
    product::{Product, Span, invent},
    season::is_payday,
};

/// Adjectives of shop names.
const FIRST: [&str; 12] =
    ["Copper", "North", "Little", "Old", "Harbour", "Green", "Silver", "Corner", "Quiet", "Red", "Upper", "Linden"];
/// Nouns of shop names.
const SECOND: [&str; 12] =
    ["Kettle", "Quay", "Attic", "Mill", "Lantern", "Orchard", "Thimble", "House", "Garden", "Barn", "Row", "Lane"];

/// A merchant of the marketplace.
#[derive(Clone, Debug)]
pub struct Merchant {
    /// Name of the shop.
    pub name: String,
    /// What it sells.
    pub products: Vec<Product>,
    /// Order lines of the history, in the order in which they were placed.
    pub lines: Vec<Line>,
    /// Order lines of the held-back days; never imported.
    pub held_back: Vec<Line>,
    /// What happened, product by product; never imported.
    pub truth: Vec<ProductTruth>,
    /// Number of customers.
    pub customers: usize,
}

/// What happened to one product, which its merchant cannot know in advance.
#[derive(Clone, Debug)]
pub struct ProductTruth {
    /// Units sold and kept on each day of history and held-back days; `NaN` without stock or before listing.
    pub sales: Vec<f32>,
    /// Units sold on each day, those sent back later included; `NaN` as in `sales`.
    pub ordered: Vec<f32>,
    /// Units that customers wanted, whether or not there was stock.
    pub demand: Vec<f32>,
}

/// What all merchants of a world share.
pub(super) struct Surroundings<'a> {
    pub config: &'a WorldConfig,
    pub categories: &'a [Category],
    pub holidays: &'a BTreeMap<Date, &'static str>,
}

/// Name of the `number`-th shop.
pub(super) fn name(number: usize) -> String {
    let shifted = (number + number / FIRST.len()) % SECOND.len();
    let name = format!("{} {}", FIRST[number % FIRST.len()], SECOND[shifted]);
    let round = number / (FIRST.len() * SECOND.len());
    if round == 0 { name } else { format!("{name} {}", round + 1) }
}

/// Makes up the `number`-th merchant and lives through all its days.
pub(super) fn live(stream: &mut Stream, number: usize, world: &Surroundings<'_>, people: &mut People) -> Merchant {
    let config = world.config;
    let span = Span { history: config.history_days, all: config.history_days + config.held_back_days };
    let coupons = coupon_days(stream, config.start, &span);
    let offered = offered(stream, world.categories.len());
    let size = config.volume * log_normal(stream, 0.25);
    let mut products = Vec::with_capacity(config.products);
    for product in 0..config.products {
        let category = offered[product % offered.len()];
        products.push(invent(stream, product, (category, &world.categories[category]), &coupons, &span));
    }

    let mut customers = Customers::new(people, products.len());
    let empty = || vec![f32::NAN; span.all];
    let mut truth: Vec<ProductTruth> = products
        .iter()
        .map(|_| ProductTruth { sales: empty(), ordered: empty(), demand: vec![0.0; span.all] })
        .collect();
    let mut lines = Vec::new();
    let mut held_back = Vec::new();
    let mut mood = 0.0;
    for day in 0..span.all {
        let date = plus_days(config.start, day as i64);
        mood = 0.85 * mood + 0.05 * normal(stream);
        customers.next_day();
        let mut today = Vec::new();
        for (index, product) in products.iter().enumerate() {
            if day < product.listed_day {
                continue;
            }
            let plan = product.plan[day];
            let category = &world.categories[product.category_index];
            let log = category.log_effect(&circumstances(date, world.holidays, &plan));
            let age = day - product.listed_day;
            let fame = if product.listed_day > 0 { 1.0 - 0.6 * (-(age as f64) / 10.0).exp() } else { 1.0 };
            let grown = product.trend * (day as f64 / 365.0 - 0.75);
            let rate = size * product.base * fame * (log + grown + mood).exp() * gamma_mean_one(stream, 6.0);
            let wanted = poisson(stream, rate.min(400.0));
            truth[index].demand[day] = wanted as f32;
            if !plan.in_stock {
                continue;
            }
            let before = today.len();
            customers.buy(stream, index as u16, day as u16, wanted, category.returned, &mut today);
            let units = |kept_only: bool| {
                let counted = today[before..].iter().filter(|line| !(kept_only && line.returned));
                counted.map(|line| f32::from(line.quantity)).sum()
            };
            truth[index].sales[day] = units(true);
            truth[index].ordered[day] = units(false);
        }
        today.sort_by_key(|line| (line.minute, line.order));
        if day < span.history { &mut lines } else { &mut held_back }.extend(today);
    }
    let customers = customers.count();
    Merchant { name: name(number), products, lines, held_back, truth, customers }
}

fn circumstances(date: Date, holidays: &BTreeMap<Date, &'static str>, plan: &super::PlannedDay) -> Circumstances {
    let holiday = holidays.contains_key(&date);
    let before_holiday =
        (1..=4).find(|days| holidays.contains_key(&plus_days(date, *days))).filter(|_| !holiday).unwrap_or(0);
    Circumstances {
        weekday: usize::from(date.weekday().since(Weekday::Monday).unsigned_abs()),
        year_phase: f64::from(date.day_of_year()) / 365.25,
        discount: plan.discount,
        after_promotion: plan.after_promotion,
        log_price: plan.price_level.ln(),
        coupon: plan.coupon,
        holiday,
        before_holiday: before_holiday as usize,
        payday: is_payday(date),
    }
}

/// Three or four categories.
fn offered(stream: &mut Stream, categories: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..categories).collect();
    let count = between(stream, 3, 4).min(categories);
    for position in 0..count {
        let other = between(stream, position, categories - 1);
        all.swap(position, other);
    }
    all.truncate(count);
    all
}

/// Coupon days of a shop: two days, Thursday and Friday, every three to five weeks.
fn coupon_days(stream: &mut Stream, start: Date, span: &Span) -> Vec<bool> {
    let mut days = vec![false; span.all];
    let wait = usize::from(start.weekday().until(Weekday::Thursday).unsigned_abs());
    let mut next = wait + 7 * between(stream, 0, 4);
    while next < span.all {
        for day in days.iter_mut().skip(next).take(2) {
            *day = true;
        }
        next += 7 * between(stream, 3, 5);
    }
    days
}
