//! Lowering what stands out in a series to what it usually reaches at most.
//!
//! One order of a thousand pieces can teach a forecaster more than a year of ordinary days. Winsorising keeps the day and
//! lowers its value (Tukey 1962, after C. P. Winsor). It looks at one series at a time, and at its steps with sales only:
//! most days of a slow product are 0. On request, for forecasts at the merchant; nothing stored is changed. Left out: a
//! lower end, as sales have a natural one at 0.

use serde::Serialize;

use super::series::Series;

/// Steps with sales that a series needs before anything of it stands out.
const STEPS_MIN: usize = 20;

/// What was lowered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Lowered {
    /// Series with at least one such step.
    pub series: usize,
    /// Steps.
    pub steps: usize,
    /// Units (or whatever the series counts) that were taken off.
    pub units: f64,
}

/// Lowers each value above the `share`-quantile of its own series' positive values (the nearest one from below) to it.
/// Series with fewer than 20 such values stay as they are.
pub fn winsorise(series: &mut [Series], share: f64) -> Lowered {
    let mut lowered = Lowered::default();
    for series in series {
        let mut sold: Vec<f32> = series.y.iter().copied().filter(|y| *y > 0.0).collect();
        if sold.len() < STEPS_MIN {
            continue;
        }
        sold.sort_by(f32::total_cmp);
        let limit = sold[((sold.len() - 1) as f64 * share.clamp(0.0, 1.0)) as usize];
        let before = lowered.steps;
        for y in series.y.iter_mut().filter(|y| **y > limit) {
            lowered.steps += 1;
            lowered.units += f64::from(*y - limit);
            *y = limit;
        }
        lowered.series += usize::from(lowered.steps > before);
    }
    lowered
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::data::series::Frequency;

    fn series(y: Vec<f32>) -> Series {
        Series {
            id: "mug".into(),
            frequency: Frequency::Daily,
            start: date(2024, 1, 1),
            y,
            known: Vec::new(),
            attributes: Vec::new(),
            text: String::new(),
            text_vector: None,
            further: None,
        }
    }

    #[test]
    fn what_stands_out_is_lowered_and_zeros_and_missing_days_do_not_count() {
        let mut y: Vec<f32> = (1..=20).map(|n| n as f32).collect();
        y.extend([0.0; 500]);
        y.extend([f32::NAN, 900.0]);
        let mut all = [series(y.clone()), series(vec![7.0; 19])];
        let lowered = winsorise(&mut all, 0.95);
        assert_eq!(lowered, Lowered { series: 1, steps: 1, units: 880.0 });
        assert_eq!(all[0].y[..20], y[..20]);
        assert!(all[0].y[520].is_nan());
        assert_eq!((all[0].y[521], &all[1].y), (20.0, &vec![7.0; 19]));
    }
}
