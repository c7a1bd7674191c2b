//! Channels of a step that are known in advance.
//!
//! Everything here is public (the calendar, holidays) or authored by the merchant (prices, promotions), so it
//! carries no customer's data into training. Order lines' own prices and discounts are left out for that reason.

use std::{collections::BTreeMap, f64::consts::TAU};

use jiff::civil::{Date, Weekday};

use super::{
    order::{ProductDay, days_between, plus_days},
    series::{Frequency, KNOWN_CHANNELS},
};

/// Channel: share of the step's days that are holidays.
pub const HOLIDAY: usize = 0;
/// Channel: e^(−days/2) for the days left until the next holiday.
pub const DAYS_TO_HOLIDAY: usize = 1;
/// Channel: ln(price / reference price).
pub const LOG_PRICE: usize = 2;
/// Channel: 1 − price / reference price, 0 to 1.
pub const DISCOUNT: usize = 3;
/// Channel: share of the step's days under promotion.
pub const PROMOTION: usize = 4;
/// Channel: share of the step's days with a coupon.
pub const COUPON: usize = 5;
/// Channel: ln(competitor's price / reference price).
pub const LOG_COMPETITOR_PRICE: usize = 6;
/// Channel: ln(1 + mark-down) / 10.
pub const MARKDOWN: usize = 7;
/// Channel: sine of the weekday's phase; 0 for weekly series.
pub const WEEKDAY_SIN: usize = 8;
/// Channel: cosine of the weekday's phase; 0 for weekly series.
pub const WEEKDAY_COS: usize = 9;
/// Channel: sine of the day's phase in the year.
pub const YEAR_SIN: usize = 10;
/// Channel: cosine of the day's phase in the year.
pub const YEAR_COS: usize = 11;

/// Days before a holiday from which it is felt at all; e^(−14/2) is below one thousandth.
const HOLIDAY_REACH_DAYS: i64 = 14;
/// Bound of the two logarithmic price channels: a factor of 20 either way.
const LOG_PRICE_MAX: f64 = 3.0;
/// Mean length of a Gregorian year in days.
const DAYS_A_YEAR: f64 = 365.2425;

/// Calendar channels of `steps` steps from `start`: holidays, weekday and year. Price channels stay 0.
///
/// A weekly step starts at `start`, `start + 7`, …; its holiday channel is the share of its seven days, its year
/// phase that of its fourth day.
pub fn calendar_channels(
    frequency: Frequency,
    start: Date,
    steps: usize,
    holidays: &BTreeMap<Date, String>,
) -> Vec<[f32; KNOWN_CHANNELS]> {
    let days = frequency.days();
    (0..steps as i64)
        .map(|step| {
            let first = plus_days(start, step * days);
            let last = plus_days(first, days - 1);
            let mut channels = [0.0; KNOWN_CHANNELS];
            let observed = holidays.range(first..=last).count();
            channels[HOLIDAY] = observed as f32 / days as f32;
            if observed == 0 {
                let reach = plus_days(last, HOLIDAY_REACH_DAYS);
                if let Some((next, _)) = holidays.range(last..=reach).next() {
                    channels[DAYS_TO_HOLIDAY] = (-(days_between(last, *next) as f64) / 2.0).exp() as f32;
                }
            }
            if frequency == Frequency::Daily {
                let weekday = f64::from(first.weekday().since(Weekday::Monday));
                let (sin, cos) = (TAU * weekday / 7.0).sin_cos();
                channels[WEEKDAY_SIN] = sin as f32;
                channels[WEEKDAY_COS] = cos as f32;
            }
            let middle = plus_days(first, days / 2);
            let (sin, cos) = (TAU * (f64::from(middle.day_of_year()) - 1.0) / DAYS_A_YEAR).sin_cos();
            channels[YEAR_SIN] = sin as f32;
            channels[YEAR_COS] = cos as f32;
            channels
        })
        .collect()
}

/// Reference price of a product: its list price, else the median of the prices in its own calendar.
///
/// `None` where the merchant gave neither. The median is over every day the merchant entered, so it moves only
/// when the merchant edits the table.
pub fn reference_price(list_price: Option<f64>, days: Option<&BTreeMap<Date, ProductDay>>) -> Option<f64> {
    if let Some(price) = list_price.filter(|price| *price > 0.0) {
        return Some(price);
    }
    let mut prices: Vec<f64> = days?.values().filter_map(|day| day.price).filter(|price| *price > 0.0).collect();
    if prices.is_empty() {
        return None;
    }
    prices.sort_by(f64::total_cmp);
    let middle = prices.len() / 2;
    Some(if prices.len() % 2 == 1 { prices[middle] } else { f64::midpoint(prices[middle - 1], prices[middle]) })
}

/// Merchant-authored channels of one product on one day, `[KNOWN_CHANNELS]` with the calendar channels left 0.
pub fn product_channels(day: &ProductDay, reference: Option<f64>) -> [f32; KNOWN_CHANNELS] {
    let mut channels = [0.0; KNOWN_CHANNELS];
    if let Some(reference) = reference {
        let log_ratio = |price: f64| (price / reference).ln().clamp(-LOG_PRICE_MAX, LOG_PRICE_MAX) as f32;
        if let Some(price) = day.price.filter(|price| *price > 0.0) {
            channels[LOG_PRICE] = log_ratio(price);
            channels[DISCOUNT] = (1.0 - price / reference).clamp(0.0, 1.0) as f32;
        }
        if let Some(price) = day.competitor_price.filter(|price| *price > 0.0) {
            channels[LOG_COMPETITOR_PRICE] = log_ratio(price);
        }
    }
    channels[PROMOTION] = f32::from(u8::from(day.promotion));
    channels[COUPON] = f32::from(u8::from(day.coupon));
    channels[MARKDOWN] = day.markdown.map_or(0.0, |amount| (amount.max(0.0).ln_1p() / 10.0) as f32);
    channels
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn holidays(days: &[Date]) -> BTreeMap<Date, String> {
        days.iter().map(|day| (*day, "holiday".to_owned())).collect()
    }

    #[test]
    fn the_days_before_a_holiday_feel_it_coming_and_the_days_after_do_not() {
        let channels = calendar_channels(Frequency::Daily, date(2024, 12, 20), 8, &holidays(&[date(2024, 12, 25)]));
        assert_eq!(channels.iter().map(|c| c[HOLIDAY]).collect::<Vec<_>>(), [0., 0., 0., 0., 0., 1., 0., 0.]);
        assert!((channels[4][DAYS_TO_HOLIDAY] - (-0.5_f32).exp()).abs() < 1e-6);
        assert!((channels[0][DAYS_TO_HOLIDAY] - (-2.5_f32).exp()).abs() < 1e-6);
        assert_eq!(channels[5][DAYS_TO_HOLIDAY], 0.0);
        assert_eq!(channels[6][DAYS_TO_HOLIDAY], 0.0);
    }

    #[test]
    fn a_week_carries_the_share_of_its_holidays_and_no_weekday() {
        let channels = calendar_channels(
            Frequency::Weekly,
            date(2024, 12, 16),
            2,
            &holidays(&[date(2024, 12, 25), date(2024, 12, 26)]),
        );
        assert!((channels[1][HOLIDAY] - 2.0 / 7.0).abs() < 1e-6);
        // Sunday the 22nd is three days before the 25th.
        assert!((channels[0][DAYS_TO_HOLIDAY] - (-1.5_f32).exp()).abs() < 1e-6);
        assert_eq!([channels[0][WEEKDAY_SIN], channels[0][WEEKDAY_COS]], [0.0, 0.0]);
    }

    #[test]
    fn weekday_phase_repeats_after_seven_days_and_the_year_after_a_year() {
        let channels = calendar_channels(Frequency::Daily, date(2023, 1, 2), 366, &BTreeMap::new());
        assert_eq!([channels[0][WEEKDAY_SIN], channels[0][WEEKDAY_COS]], [0.0, 1.0]);
        assert_eq!(channels[3][WEEKDAY_SIN], channels[10][WEEKDAY_SIN]);
        assert!((channels[0][YEAR_SIN] - channels[365][YEAR_SIN]).abs() < 0.01);
    }

    #[test]
    fn prices_are_measured_against_the_list_price_or_the_product_s_own_median() {
        let days: BTreeMap<_, _> = [(1, 4.0), (2, 8.0), (3, 16.0)]
            .into_iter()
            .map(|(day, price)| (date(2024, 1, day), ProductDay { price: Some(price), ..ProductDay::default() }))
            .collect();
        assert_eq!(reference_price(Some(10.0), Some(&days)), Some(10.0));
        assert_eq!(reference_price(None, Some(&days)), Some(8.0));
        assert_eq!(reference_price(None, None), None);
        let channels = product_channels(&days[&date(2024, 1, 1)], Some(8.0));
        assert!((channels[LOG_PRICE] - 0.5_f32.ln()).abs() < 1e-6);
        assert_eq!(channels[DISCOUNT], 0.5);
        assert_eq!(product_channels(&days[&date(2024, 1, 3)], Some(8.0))[DISCOUNT], 0.0);
    }

    #[test]
    fn an_absurd_price_ratio_stays_bounded() {
        let day = ProductDay { price: Some(1e-9), competitor_price: Some(1e9), ..ProductDay::default() };
        let channels = product_channels(&day, Some(1.0));
        assert_eq!([channels[LOG_PRICE], channels[LOG_COMPETITOR_PRICE]], [-3.0, 3.0]);
    }
}
