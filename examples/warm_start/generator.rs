//! Invented retail series, from which the warm start learns what sales look like before it sees any.
//!
//! A series is level × weekly profile × yearly profile × trend and drift × effects of price, promotions and
//! holidays, counted with negative-binomial noise; then come closed days, stock-outs, gaps and late starts. All
//! ranges are deliberately wide: the warm start is to know the kinds of patterns, not any market's.
//!
//! The marketplace example has a generator of its own and shares no code with this one; a model tested on the
//! world it was warmed in would prove nothing.

use std::f32::consts::TAU;
use std::sync::Arc;

use forecastle_client::data::scale::scale;
use forecastle_client::data::series::KNOWN_CHANNELS;
use forecastle_client::data::window::{ATTRIBUTE_BUCKETS, StaticInputs, TEXT_BUCKETS, Window};
use forecastle_client::model::ModelConfig;
use rand::{Rng, RngExt};

use crate::chance::{chance, gamma, log_uniform, negative_binomial, normal, uniform};

const HOLIDAY: usize = 0;
const DAYS_TO_HOLIDAY: usize = 1;
const LOG_PRICE: usize = 2;
const DISCOUNT: usize = 3;
const PROMOTION: usize = 4;
const COUPON: usize = 5;
const LOG_COMPETITOR_PRICE: usize = 6;
const MARKDOWN: usize = 7;
const WEEKDAY: usize = 8;
const YEAR: usize = 10;

/// Steps that a series may be simulated over, and how.
struct World {
    daily: bool,
    /// Series of whole departments over years: steadier, and ruled by the season.
    steady: bool,
    steps: usize,
    context: usize,
    /// Steps a year.
    year: f32,
    /// First step's phase in the year, in steps, and weekday.
    first: usize,
}

/// A future beyond this many times the past's mean is drawn anew: one such window would outweigh its whole batch.
const GROWTH_MAX: f32 = 12.0;

/// A generated window of a network's extent.
pub fn window(config: &ModelConfig, rng: &mut impl Rng) -> Window {
    loop {
        let window = any_window(config, rng);
        let bound = GROWTH_MAX * scale(&window.past);
        if window.future.iter().all(|&y| y.is_nan() || y <= bound) {
            return window;
        }
    }
}

fn any_window(config: &ModelConfig, rng: &mut impl Rng) -> Window {
    let daily = config.season == 7;
    let world = World {
        daily,
        steady: config.season > 7,
        steps: config.context + config.horizon,
        context: config.context,
        year: if daily { 365.25 } else { 52.18 },
        first: rng.random_range(0..if daily { 7 * 365 } else { 365 }),
    };
    let mut known = vec![[0.0; KNOWN_CHANNELS]; world.steps];
    calendar(&world, &mut known);
    let mut log_mean = vec![0.0; world.steps];
    level_and_drift(&world, &mut log_mean, rng);
    let profile = weekly_profile(&world, rng);
    for (t, value) in log_mean.iter_mut().enumerate() {
        *value += profile[(world.first + t) % 7];
    }
    yearly_profile(&world, &mut log_mean, rng);
    holidays(&world, &profile, &mut known, &mut log_mean, rng);
    prices(&world, &mut known, &mut log_mean, rng);
    let mut y = counts(&world, &log_mean, rng);
    gaps(&world, &mut y, rng);
    for channels in &mut known[..first_observed(&y)] {
        *channels = [0.0; KNOWN_CHANNELS];
    }
    let future = y.split_off(config.context);
    let statics = StaticInputs { attributes: vec![0.0; ATTRIBUTE_BUCKETS], text: vec![0.0; TEXT_BUCKETS] };
    Window { past: y, known, statics: Arc::new(statics), future, further: None }
}

fn first_observed(y: &[f32]) -> usize {
    y.iter().position(|v| !v.is_nan()).unwrap_or(y.len())
}

fn calendar(world: &World, known: &mut [[f32; KNOWN_CHANNELS]]) {
    for (t, channels) in known.iter_mut().enumerate() {
        if world.daily {
            let (sin, cos) = (TAU * ((world.first + t) % 7) as f32 / 7.0).sin_cos();
            channels[WEEKDAY] = sin;
            channels[WEEKDAY + 1] = cos;
        }
        let (sin, cos) = (TAU * world.phase(t)).sin_cos();
        channels[YEAR] = sin;
        channels[YEAR + 1] = cos;
    }
}

impl World {
    /// Phase of a step in the year, 0 to 1.
    fn phase(&self, t: usize) -> f32 {
        ((self.first + t) as f32 / self.year).fract()
    }
}

/// Level, trend, a random walk and now and then a sudden change.
fn level_and_drift(world: &World, log_mean: &mut [f32], rng: &mut impl Rng) {
    let steps = world.steps as f32;
    // Range of the level, deviation of the trend, range of the walk: over the whole window.
    let (levels, slope, walks) = match (world.daily, world.steady) {
        (true, _) => ((0.05, 200.0), 0.3, (0.05, 1.0)),
        (_, false) => ((0.05, 1000.0), 0.6, (0.1, 2.5)),
        (_, true) => ((20.0, 20_000.0), 0.1, (0.02, 0.3)),
    };
    let level = log_uniform(rng, levels.0, levels.1).ln();
    let trend = if chance(rng, 0.6) { normal(rng, 0.0, slope) } else { 0.0 };
    let total = if chance(rng, 0.8) { log_uniform(rng, walks.0, walks.1) } else { 0.0 };
    let walk = total / steps.sqrt();
    let turns = if world.steady { 0.03 } else { 0.15 };
    let turn = if chance(rng, turns) { rng.random_range(0..world.steps) } else { world.steps };
    let jump = normal(rng, 0.0, 0.5);
    let mut drift = 0.0;
    for (t, value) in log_mean.iter_mut().enumerate() {
        drift += normal(rng, 0.0, walk);
        let after = if t >= turn { jump } else { 0.0 };
        *value += level + drift + after + trend * (t as f32 / steps - 0.7);
    }
}

/// Logarithmic profile over the weekdays; zero in weekly series.
fn weekly_profile(world: &World, rng: &mut impl Rng) -> [f32; 7] {
    if !world.daily || chance(rng, 0.1) {
        return [0.0; 7];
    }
    let roughness = uniform(rng, 0.0, 0.35);
    let mut profile: [f32; 7] = std::array::from_fn(|_| normal(rng, 0.0, roughness));
    let weekend = if chance(rng, 0.7) { normal(rng, 0.35, 0.35) } else { normal(rng, -0.5, 0.5) };
    for (day, share) in [(4, 0.6), (5, 1.0), (6, 0.7)] {
        profile[day] += share * weekend;
    }
    let mean = profile.iter().sum::<f32>() / 7.0;
    profile.map(|v| v - mean)
}

/// Waves and, in long series, returning peaks of the year.
fn yearly_profile(world: &World, log_mean: &mut [f32], rng: &mut impl Rng) {
    let strength = if world.steady || chance(rng, 0.7) { log_uniform(rng, 0.03, 0.6) } else { 0.0 };
    let waves: Vec<(f32, f32, f32)> =
        (1..=4).map(|k| (k as f32, normal(rng, 0.0, strength / k as f32), rng.random::<f32>())).collect();
    let peaks = if world.steady || chance(rng, 0.2) { rng.random_range(0..6) } else { 0 };
    let peaks: Vec<(f32, f32, f32)> =
        (0..peaks).map(|_| (rng.random::<f32>(), normal(rng, 0.3, 0.4), log_uniform(rng, 0.008, 0.04))).collect();
    for (t, value) in log_mean.iter_mut().enumerate() {
        let phase = world.phase(t);
        *value += waves.iter().map(|(k, size, at)| size * (TAU * (k * phase + at)).sin()).sum::<f32>();
        for (at, size, width) in &peaks {
            let apart = (phase - at).rem_euclid(1.0);
            let apart = apart.min(1.0 - apart) / width;
            *value += size * (-0.5 * apart * apart).exp();
        }
    }
}

/// Public holidays, with an effect of their own, or like a Sunday's; sometimes nobody tells the model.
fn holidays(
    world: &World,
    profile: &[f32; 7],
    known: &mut [[f32; KNOWN_CHANNELS]],
    log_mean: &mut [f32],
    rng: &mut impl Rng,
) {
    let a_year = if world.daily { uniform(rng, 5.0, 25.0) } else { uniform(rng, 3.0, 10.0) };
    let told = chance(rng, 0.75);
    let own = if chance(rng, 0.5) { normal(rng, 0.1, 0.35) } else { 0.0 };
    let like_sunday = if world.daily && chance(rng, 0.6) { uniform(rng, 0.3, 1.0) } else { 0.0 };
    let eve = if chance(rng, 0.4) { normal(rng, 0.15, 0.2) } else { 0.0 };
    let reach = if world.daily { 14 } else { 2 };
    // The same days every year; they cluster, one is often followed by the next.
    let mut of_year = vec![false; world.year as usize + 1];
    for day in 0..of_year.len() {
        let p = a_year / world.year * if day > 0 && of_year[day - 1] { 6.0 } else { 0.8 };
        of_year[day] = chance(rng, p);
    }
    let is_holiday: Vec<bool> =
        (0..world.steps + reach).map(|t| of_year[(world.phase(t) * world.year) as usize]).collect();
    for t in 0..world.steps {
        let next = (0..reach).find(|ahead| is_holiday[t + ahead]);
        match next {
            Some(0) => {
                let weekday = (world.first + t) % 7;
                log_mean[t] += own + like_sunday * (profile[6].max(profile[5]) - profile[weekday]);
                if told {
                    known[t][HOLIDAY] = if world.daily { 1.0 } else { [1.0, 1.0 / 7.0][rng.random_range(0..2)] };
                }
            }
            Some(1) => log_mean[t] += eve,
            _ => {}
        }
        if let (Some(ahead @ 1..), true) = (next, told) {
            let days = if world.daily { ahead } else { 7 * ahead - 6 };
            known[t][DAYS_TO_HOLIDAY] = (-(days as f32) / 2.0).exp();
        }
    }
}

/// Prices, discounts, promotions, coupons, competitors and mark-downs.
fn prices(world: &World, known: &mut [[f32; KNOWN_CHANNELS]], log_mean: &mut [f32], rng: &mut impl Rng) {
    if chance(rng, if world.steady { 0.5 } else { 0.35 }) {
        return; // nothing is known about prices
    }
    let elasticity = -gamma(rng, 4.0, if world.daily { 1.6 } else { 2.0 });
    let cross = if chance(rng, 0.4) { gamma(rng, 3.0, 0.6) } else { 0.0 };
    let uplift = normal(rng, 0.35, 0.3);
    let coupon_uplift = normal(rng, 0.25, 0.25);
    let markdown_effect = normal(rng, 0.03, 0.1);
    let dip = if chance(rng, 0.4) { uniform(rng, 0.0, 0.3) } else { 0.0 };
    let told_discount = chance(rng, 0.7);
    let length = if world.daily { 3..15 } else { 1..4 };
    let often = uniform(rng, 0.0, 0.12) / (length.end - length.start) as f32 * 4.0;
    let price_changes = if chance(rng, 0.5) { 4.0 / world.year } else { 0.0 };
    let jitter = if chance(rng, 0.3) { uniform(rng, 0.0, 0.15) } else { 0.0 };
    // Mark-downs are often written down from some date on only, and were there before.
    let markdowns = chance(rng, 0.4);
    let recorded_from = if chance(rng, 0.5) { rng.random_range(0..world.steps) } else { 0 };
    let markdown_share = uniform(rng, 0.2, 1.0);

    let (mut base, mut rival, mut depth, mut left, mut rest) = (0.0f32, 0.0f32, 0.0f32, 0usize, 0usize);
    let (mut promoted, mut coupon) = (false, false);
    for t in 0..world.steps {
        if chance(rng, price_changes) {
            base = (base + normal(rng, 0.03, 0.08)).clamp(-0.5, 0.5);
        }
        if chance(rng, 0.05) {
            rival = normal(rng, 0.0, 0.12);
        }
        if left == 0 && promoted {
            (promoted, coupon, depth, rest) = (false, false, 0.0, if world.daily { 5 } else { 1 });
        }
        if left == 0 && chance(rng, often) {
            promoted = true;
            left = rng.random_range(length.clone());
            depth = if chance(rng, 0.8) { uniform(rng, 0.05, 0.45) } else { 0.0 };
            coupon = chance(rng, 0.3);
        }
        left = left.saturating_sub(1);
        let noise = if jitter > 0.0 { normal(rng, 0.0, jitter) } else { 0.0 };
        let price = base + (1.0 - depth).ln() + noise;
        let channels = &mut known[t];
        channels[LOG_PRICE] = price;
        if told_discount {
            channels[DISCOUNT] = (1.0 - price.exp()).max(0.0);
        }
        channels[PROMOTION] = f32::from(u8::from(promoted));
        channels[COUPON] = f32::from(u8::from(coupon));
        if cross > 0.0 {
            channels[LOG_COMPETITOR_PRICE] = rival.min(price + 0.02);
        }
        let mut effect = elasticity * price + cross * (channels[LOG_COMPETITOR_PRICE] - price).min(0.0);
        effect += uplift * channels[PROMOTION] + coupon_uplift * channels[COUPON];
        if markdowns && chance(rng, markdown_share) {
            let size = log_uniform(rng, 50.0, 50_000.0).ln() / 10.0;
            effect += markdown_effect * size;
            channels[MARKDOWN] = if t >= recorded_from { size } else { 0.0 };
        }
        if rest > 0 && !promoted {
            effect -= dip;
            rest -= 1;
        }
        log_mean[t] += effect.clamp(-2.5, 2.5);
    }
}

/// Sales drawn around the mean; a share of series is turnover in money.
fn counts(world: &World, log_mean: &[f32], rng: &mut impl Rng) -> Vec<f32> {
    let (shapes, shocks) = match (world.daily, world.steady) {
        (true, _) => ((0.7, 60.0), (0.03, 0.35)),
        (_, false) => ((2.0, 100.0), (0.03, 0.35)),
        (_, true) => ((20.0, 3000.0), (0.01, 0.1)),
    };
    let shape = log_uniform(rng, shapes.0, shapes.1);
    let persistence = uniform(rng, 0.0, 0.8);
    let shock = if chance(rng, 0.6) { log_uniform(rng, shocks.0, shocks.1) } else { 0.0 };
    let resting = if !world.steady && chance(rng, 0.12) { uniform(rng, 0.2, 0.8) } else { 0.0 };
    let spikes = if chance(rng, 0.2) { uniform(rng, 0.0, 0.02) } else { 0.0 };
    let unit = if chance(rng, 0.25) { log_uniform(rng, 3.0, 300.0) } else { 1.0 };
    let mut lasting = 0.0;
    log_mean
        .iter()
        .map(|log_mean| {
            lasting = persistence * lasting + normal(rng, 0.0, shock);
            let mut mean = (log_mean + lasting).clamp(-8.0, 12.0).exp();
            if chance(rng, spikes) {
                mean *= uniform(rng, 1.5, 5.0);
            }
            let count = if chance(rng, resting) { 0.0 } else { negative_binomial(rng, mean, shape) };
            count * unit
        })
        .collect()
}

/// Closed weekdays, stock-outs, lost rows and series younger than the window.
fn gaps(world: &World, y: &mut [f32], rng: &mut impl Rng) {
    if world.daily && chance(rng, 0.35) {
        let told = chance(rng, 0.85);
        for _ in 0..rng.random_range(1..3) {
            let (weekday, firmness) = (rng.random_range(0..7), uniform(rng, 0.7, 1.0));
            for (t, value) in y.iter_mut().enumerate() {
                if (world.first + t) % 7 == weekday && chance(rng, firmness) {
                    *value = if told { f32::NAN } else { 0.0 };
                }
            }
        }
    }
    if chance(rng, 0.2) {
        let told = chance(rng, 0.8);
        for _ in 0..rng.random_range(1..4) {
            let start = rng.random_range(0..world.steps);
            let length = rng.random_range(1..if world.daily { 21 } else { 5 });
            for value in y[start..].iter_mut().take(length) {
                *value = if told { f32::NAN } else { 0.0 };
            }
        }
    }
    let lost = if chance(rng, 0.3) { uniform(rng, 0.0, 0.1) } else { 0.0 };
    y.iter_mut().for_each(|value| {
        if chance(rng, lost) {
            *value = f32::NAN;
        }
    });
    if chance(rng, 0.3) {
        let late = rng.random_range(0..world.context - world.context / 16);
        y[..late].fill(f32::NAN);
    }
}
