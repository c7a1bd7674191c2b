//! Products without a past, forecast from how similar products began.
//!
//! An empty past tells a model nothing about level and spread: its scale is 1, its forecast next to 0. What a merchant does
//! know is how other products sold in the same days after their launch. Of those whose launch lies far enough back, the
//! nearest by text, category and price are the *analogues*; their sales at the same age and weekday, one sample each, give the
//! quantiles (forecasting by analogy; Green and Armstrong 2007). The same analogues can also stand in for a past
//! ([`Analogues::past`]) that the model goes on from, with the price and calendar of the new product.
//!
//! A product's first day of sale is left out: where a launch is only known by a first order, that day always has one.
//!
//! Local only: it looks at many series at once, which private training must not.

use super::{baseline::weighted_quantiles, metrics::LEVELS_LEN};
use crate::data::{
    order::{day_number, plus_days},
    series::{KNOWN_CHANNELS, Series},
    window::StaticInputs,
};

/// Analogues that are taken.
const NEAREST: usize = 20;
/// Difference of likeness at which an analogue counts e times less than the nearest.
const FADING: f64 = 0.1;
/// Fewest launches to learn from.
const LAUNCHES_MIN: usize = 5;
/// Steps around an age from which sales are taken.
const AROUND: usize = 10;
/// Similarity of products of one category, on top of that of their texts (−1 to 1).
const SAME_CATEGORY: f64 = 0.5;
/// What is taken off for a price that differs by a factor e.
const PRICE_FACTOR: f64 = 0.2;
/// Weight above which an analogue takes part in a past.
const NEAR: f64 = 0.3;
/// Weeks, or steps of weekly series, of a past that is put together.
const PAST_WEEKS: usize = 16;

/// What is known of a product on the day of its launch.
#[derive(Clone, Debug)]
pub struct Profile {
    text: Vec<f32>,
    category: String,
    price: Option<f64>,
}

impl Profile {
    /// Of a series, with its price where the merchant names one.
    pub fn of(series: &Series, price: Option<f64>) -> Self {
        let category = series.attributes.iter().rev().find(|(name, _)| name == "category");
        Self {
            text: StaticInputs::of(series).text,
            category: category.map_or_else(String::new, |(_, value)| value.clone()),
            price: price.filter(|price| *price > 0.0),
        }
    }

    /// How alike two products are; larger is nearer.
    fn likeness(&self, other: &Self) -> f64 {
        let category = if !self.category.is_empty() && self.category == other.category { SAME_CATEGORY } else { 0.0 };
        let price = match (self.price, other.price) {
            (Some(a), Some(b)) => PRICE_FACTOR * (a / b).ln().abs().min(3.0),
            _ => 0.0,
        };
        // Both have norm 1, or say nothing.
        let text: f32 = self.text.iter().zip(&other.text).map(|(a, b)| a * b).sum();
        f64::from(text) + category - price
    }
}

/// A launch that can be learnt from.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// The product, from its first step on.
    pub series: &'a Series,
    /// Steps of it that are known.
    pub known: usize,
    /// What was known when it was launched.
    pub profile: &'a Profile,
}

/// The launches within `series`, which all end at the same step, as they were known `ago` steps before it. What was there from
/// the first step of all may be older, and is no launch.
pub fn launches<'a>(series: &'a [Series], profiles: &'a [Profile], ago: usize) -> Vec<Launch<'a>> {
    let longest = series.iter().map(|one| one.y.len()).max().unwrap_or(0);
    let launch = |(series, profile): (&'a Series, &'a Profile)| {
        let known = series.y.len().checked_sub(ago).filter(|known| *known > 0)?;
        (series.y.len() < longest).then_some(Launch { series, known, profile })
    };
    series.iter().zip(profiles).filter_map(launch).collect()
}

/// The launches nearest to one new product, the nearest first.
#[derive(Clone, Debug)]
pub struct Analogues<'a> {
    /// Each with its weight, that of the nearest being 1.
    launches: Vec<(Launch<'a>, f64)>,
}

impl<'a> Analogues<'a> {
    /// The nearest of `launches` with more than `horizon` known steps; `None` where fewer than five have.
    pub fn nearest(profile: &Profile, launches: &[Launch<'a>], horizon: usize) -> Option<Self> {
        let mut ranked: Vec<(f64, Launch<'a>)> = launches
            .iter()
            .filter(|launch| launch.known > horizon)
            .map(|launch| (profile.likeness(launch.profile), *launch))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.series.id.cmp(&b.1.series.id)));
        ranked.truncate(NEAREST);
        let best = ranked.first()?.0;
        let weighted = |(likeness, launch): (f64, Launch<'a>)| (launch, ((likeness - best) / FADING).exp());
        (ranked.len() >= LAUNCHES_MIN).then(|| Self { launches: ranked.into_iter().map(weighted).collect() })
    }

    /// All of `launches` with more than `horizon` known steps and the category of `profile`: the plain mean to beat.
    pub fn of_category(profile: &Profile, launches: &[Launch<'a>], horizon: usize) -> Option<Self> {
        let long = |launch: &&Launch<'a>| launch.known > horizon;
        let alike: Vec<Launch<'a>> = launches
            .iter()
            .filter(long)
            .filter(|launch| launch.profile.category == profile.category)
            .copied()
            .collect();
        (alike.len() >= LAUNCHES_MIN)
            .then(|| Self { launches: alike.into_iter().map(|launch| (launch, 1.0)).collect() })
    }

    /// Identities, the nearest first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.launches.iter().map(|(launch, _)| launch.series.id.as_str())
    }

    /// Quantiles of the first `horizon` steps of `new`, `[horizon][9]`.
    pub fn forecast(&self, new: &Series, horizon: usize) -> Vec<[f32; LEVELS_LEN]> {
        (0..horizon)
            .map(|age| {
                let mut sample = Vec::new();
                for (launch, weight) in &self.launches {
                    let sold: Vec<f64> = sold(launch, new, age).collect();
                    sample.extend(sold.iter().map(|y| (*y, weight / sold.len() as f64)));
                }
                weighted_quantiles(sample).map(|q| q as f32)
            })
            .collect()
    }

    /// The new product with a past put together from the analogues' beginnings, the nearest last, one season from each:
    /// level, weekly shape and spread for a model to go on from. The past takes nothing of prices or the calendar.
    pub fn past(&self, new: &Series) -> (Series, usize) {
        let season = new.season();
        // Those that count, and the nearest in any case.
        let count = self.launches.iter().filter(|(_, weight)| *weight > NEAR).count().max(LAUNCHES_MIN);
        let near = &self.launches[..count.min(self.launches.len())];
        let mut y = Vec::with_capacity(PAST_WEEKS * season);
        for back in (0..PAST_WEEKS).rev() {
            let (launch, _) = &near[back % near.len()];
            // Another season of the same analogue where there are fewer analogues than seasons.
            let from = 1 + season * (back / near.len());
            for step in 0..season {
                let day = plus_days(new.start, (step as i64 - ((back + 1) * season) as i64) * new.frequency.days());
                let offset = if season == 1 {
                    0
                } else {
                    (day_number(day) - day_number(launch.series.date(from))).rem_euclid(7) as usize
                };
                let at = from + offset;
                y.push(if at < launch.known { launch.series.y[at] } else { f32::NAN });
            }
        }
        let steps = y.len();
        let mut known = vec![[0.0; KNOWN_CHANNELS]; steps];
        known.extend(&new.known);
        let start = plus_days(new.start, -(steps as i64) * new.frequency.days());
        (Series { start, y, known, further: None, ..new.clone() }, steps)
    }
}

/// What an analogue sold around an age, on the weekday that the new product will have then.
fn sold<'a>(launch: &Launch<'a>, new: &Series, age: usize) -> impl Iterator<Item = f64> + use<'a> {
    let (season, day) = (new.season(), new.date(age));
    let Launch { series, known, .. } = *launch;
    (1.max(age.saturating_sub(AROUND))..(age + AROUND + 1).min(known))
        .filter(move |step| season == 1 || (day_number(series.date(*step)) - day_number(day)) % 7 == 0)
        .map(move |step| series.y[step])
        .filter(|y| y.is_finite())
        .map(f64::from)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::data::series::Frequency;

    fn product(id: &str, text: &str, category: &str, launched: i64, level: f32) -> Series {
        let start = plus_days(date(2024, 1, 1), launched);
        // Sells `level` more on Sundays, whatever weekday it was launched on.
        let y = (0..60)
            .map(|step| {
                level * if plus_days(start, step).weekday() == jiff::civil::Weekday::Sunday { 2.0 } else { 1.0 }
            })
            .collect();
        Series {
            id: id.into(),
            frequency: Frequency::Daily,
            start,
            y,
            known: vec![[0.25; KNOWN_CHANNELS]; 88],
            attributes: vec![("category".into(), category.into())],
            text: text.into(),
            text_vector: None,
            further: None,
        }
    }

    fn shop() -> Vec<(Series, Profile)> {
        let mut shop = Vec::new();
        for i in 0..24 {
            shop.push(product(&format!("mug{i}"), &format!("enamel mug no {i}"), "cups", i, 10.0));
            shop.push(product(&format!("lamp{i}"), &format!("desk lamp {i}"), "lamps", i, 100.0));
        }
        shop.into_iter()
            .map(|one| {
                let profile = Profile::of(&one, None);
                (one, profile)
            })
            .collect()
    }

    fn launches(shop: &[(Series, Profile)]) -> Vec<Launch<'_>> {
        shop.iter().map(|(series, profile)| Launch { series, known: 40, profile }).collect()
    }

    #[test]
    fn a_new_product_begins_as_those_like_it_began_weekdays_included() {
        let shop = shop();
        let mut new = product("new", "red enamel mug", "cups", 80, 0.0);
        new.y.clear();
        let nearest = Analogues::nearest(&Profile::of(&new, None), &launches(&shop), 28).unwrap();
        assert!(nearest.names().count() == NEAREST && nearest.names().all(|name| name.starts_with("mug")));
        for (step, q) in nearest.forecast(&new, 28).iter().enumerate() {
            let sunday = new.date(step).weekday() == jiff::civil::Weekday::Sunday;
            assert_eq!(*q, [if sunday { 20.0 } else { 10.0 }; LEVELS_LEN], "{step}");
        }
        let (with_past, cut) = nearest.past(&new);
        assert_eq!((cut, with_past.date(cut), with_past.known[cut]), (112, new.start, new.known[0]));
        for step in 0..cut {
            let sunday = with_past.date(step).weekday() == jiff::civil::Weekday::Sunday;
            assert_eq!(with_past.y[step], if sunday { 20.0 } else { 10.0 }, "{step}");
        }
    }

    #[test]
    fn category_and_price_decide_where_texts_are_silent() {
        let of = |category: &str, price| Profile { text: vec![0.0; 4], category: category.into(), price };
        let new = of("cups", Some(10.0));
        assert!(new.likeness(&of("cups", Some(10.0))) > new.likeness(&of("lamps", Some(10.0))));
        assert!(new.likeness(&of("cups", Some(11.0))) > new.likeness(&of("cups", Some(30.0))));
        assert_eq!(new.likeness(&of("cups", None)), SAME_CATEGORY);
        assert_eq!(of("", None).likeness(&of("", None)), 0.0);
    }

    #[test]
    fn short_launches_and_first_days_teach_nothing() {
        let mut shop = shop();
        // Of two lots of mugs, one is too young, the other's first day is as no other.
        for (number, (one, _)) in shop.iter_mut().enumerate() {
            one.y[0] = 1e6;
            if number >= 12 {
                one.y[1..].fill(f32::NAN)
            }
        }
        let mut launches = launches(&shop);
        launches.iter_mut().skip(12).for_each(|launch| launch.known = 28);
        let new = product("new", "enamel mug", "cups", 80, 0.0);
        let profile = Profile::of(&new, None);
        let nearest = Analogues::nearest(&profile, &launches, 28).unwrap();
        assert_eq!(nearest.names().count(), 12);
        assert!(nearest.forecast(&new, 28).iter().flatten().all(|q| *q <= 200.0));
        assert!(nearest.past(&new).0.y.iter().all(|y| *y <= 200.0));
        let new_day =
            |age| launches.iter().flat_map(|launch| sold(launch, &new, age).collect::<Vec<_>>()).collect::<Vec<_>>();
        assert!((0..28).map(new_day).all(|sold| !sold.is_empty() && sold.iter().all(|y| *y <= 200.0)));
        assert!(Analogues::nearest(&profile, &launches[..4], 28).is_none());
        assert_eq!(Analogues::of_category(&profile, &launches, 28).unwrap().names().count(), 6);
    }
}
