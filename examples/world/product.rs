//! Products of a merchant: what they are called, when they are listed, and what the merchant plans for them.

use super::{
    category::Category,
    draws::{Stream, between, chance, log_normal, normal, one_of},
};

/// Discounts of promotions, from barely to deeply reduced.
const DISCOUNTS: [f64; 6] = [0.1, 0.15, 0.2, 0.25, 0.3, 0.4];
/// Days after a promotion on which demand is weak.
const AFTERMATH_DAYS: usize = 5;

/// A product.
#[derive(Clone, Debug)]
pub struct Product {
    /// Identity at its merchant.
    pub id: String,
    /// Name shown to customers.
    pub title: String,
    /// Name of its category.
    pub category: String,
    /// A sentence or two.
    pub description: String,
    /// Price without promotion.
    pub list_price: f64,
    /// Day of its listing, counted from the first day of history.
    pub listed_day: usize,
    /// What the merchant set for each day, history and held-back days.
    pub plan: Vec<PlannedDay>,
    pub(super) category_index: usize,
    /// Units on an ordinary day.
    pub(super) base: f64,
    /// Logarithm of growth over a year.
    pub(super) trend: f64,
}

/// What the merchant set for one product on one day; planned ahead but for the stock.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlannedDay {
    /// Discount of the running promotion, 0 for none.
    pub discount: f64,
    /// Price without promotion relative to the list price.
    pub price_level: f64,
    /// A coupon is out.
    pub coupon: bool,
    /// It can be bought.
    pub in_stock: bool,
    pub(super) after_promotion: usize,
}

impl PlannedDay {
    /// Price of one unit.
    pub fn price(&self, list_price: f64) -> f64 {
        (list_price * self.price_level * (1.0 - self.discount) * 100.0).round() / 100.0
    }

    /// Whether a promotion runs.
    pub fn promotion(&self) -> bool {
        self.discount > 0.0
    }
}

/// Days of the world that products share.
pub(super) struct Span {
    /// Days of history.
    pub history: usize,
    /// History and held-back days.
    pub all: usize,
}

/// Invents the `number`-th product of a merchant.
pub(super) fn invent(
    stream: &mut Stream,
    number: usize,
    (category_index, category): (usize, &Category),
    coupons: &[bool],
    span: &Span,
) -> Product {
    let noun = *one_of(stream, category.nouns);
    let make = *one_of(stream, category.makes);
    let other = *one_of(stream, category.makes);
    let first_use = *one_of(stream, category.uses);
    let title = format!("{}, {make}", noun);
    let also = if other == make { String::new() } else { format!(" Also loved by those who look for {other}.") };
    let list_price = (category.price * log_normal(stream, 0.45) * 10.0).round().max(10.0) / 10.0 - 0.01;
    let is_new = chance(stream, 0.07) && span.history > 56;
    let listed_day = if is_new { span.history - between(stream, 7, 56) } else { 0 };
    let base = if chance(stream, 0.25) { 0.09 * log_normal(stream, 0.5) } else { 0.75 * log_normal(stream, 0.85) };
    Product {
        id: format!("P{:04}", number + 1),
        description: format!("{} {}, {first_use}.{also}", capital(make), noun.to_lowercase()),
        title,
        category: category.name.to_owned(),
        list_price,
        listed_day,
        plan: plan(stream, coupons, span),
        category_index,
        base,
        trend: 0.15 * normal(stream),
    }
}

fn plan(stream: &mut Stream, coupons: &[bool], span: &Span) -> Vec<PlannedDay> {
    let mut days: Vec<PlannedDay> = coupons
        .iter()
        .map(|coupon| PlannedDay { price_level: 1.0, coupon: *coupon, in_stock: true, ..PlannedDay::default() })
        .collect();
    // Two or three times the price moves for good.
    let mut level = 1.0;
    let mut next = between(stream, 60, 260);
    while next < span.all {
        level *=
            1.0 + 0.12 * (2.0 * f64::from(u8::from(chance(stream, 0.6))) - 1.0) * (0.4 + 0.6 * chance_share(stream));
        for day in &mut days[next..] {
            day.price_level = level;
        }
        next += between(stream, 120, 300);
    }
    let mut next = between(stream, 5, 100);
    while next < span.all {
        let length = between(stream, 3, 7);
        let discount = *one_of(stream, &DISCOUNTS);
        for day in days.iter_mut().skip(next).take(length) {
            day.discount = discount;
        }
        for (after, day) in days.iter_mut().skip(next + length).take(AFTERMATH_DAYS).enumerate() {
            day.after_promotion = after + 1;
        }
        if chance(stream, 0.08) {
            run_out(stream, &mut days, next + length);
        }
        next += length + between(stream, 40, 110);
    }
    let mut next = between(stream, 10, 340);
    while next < span.all {
        run_out(stream, &mut days, next);
        next += between(stream, 60, 340);
    }
    days
}

fn run_out(stream: &mut Stream, days: &mut [PlannedDay], from: usize) {
    let length = between(stream, 2, 6);
    for day in days.iter_mut().skip(from).take(length) {
        day.in_stock = false;
    }
}

fn chance_share(stream: &mut Stream) -> f64 {
    between(stream, 0, 100) as f64 / 100.0
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
