//! The scale of a window: what its target is divided by before a model sees it.
//!
//! One window decides about its own scale; a scaler fitted on a batch or a data set would carry one customer's
//! lines into everybody's gradient.
//!
//! A single value that is out of all proportion (a number typed twice, a price in the column of the quantity) would make
//! everything else of its window too small to be seen. It is taken for missing, by what that window holds and nothing else.

/// Mean |y| over the observed steps of the context, plus 1. At least 1; 1 where nothing was observed.
///
/// `past`: `[context]`, `NaN` where missing.
pub fn scale(past: &[f32]) -> f32 {
    let (sum, count) = past
        .iter()
        .filter(|y| y.is_finite())
        .fold((0.0_f64, 0_u32), |(sum, count), y| (sum + f64::from(y.abs()), count + 1));
    if count == 0 { 1.0 } else { (sum / f64::from(count) + 1.0) as f32 }
}

/// How many times the mean of the other steps with sales a value may be.
pub const PROPORTION_MAX: f64 = 1_000.0;
/// Other steps with sales that it takes to say so.
const OTHERS_MIN: u32 = 10;

/// The step of a past that is out of all proportion to the others, if one is.
///
/// Steps without sales do not count: a wholesaler's one order among empty weeks is no mistake. Nor do two such orders stand
/// out, since each is one of the other's.
pub fn out_of_proportion(past: &[f32]) -> Option<usize> {
    let sold = |y: &f32| *y != 0.0 && y.is_finite();
    let (at, largest) =
        past.iter().enumerate().filter(|(_, y)| sold(y)).max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))?;
    let others = past.iter().enumerate().filter(|(step, y)| *step != at && sold(y));
    let (sum, count) = others.fold((0.0, 0_u32), |(sum, count), (_, y)| (sum + f64::from(y.abs()), count + 1));
    let stands_out = count >= OTHERS_MIN && f64::from(largest.abs()) > PROPORTION_MAX * sum / f64::from(count);
    stands_out.then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_steps_do_not_count() {
        assert_eq!(scale(&[f32::NAN, 2.0, -4.0, f32::NAN]), 4.0);
    }

    #[test]
    fn an_empty_past_has_scale_one() {
        assert_eq!(scale(&[f32::NAN; 5]), 1.0);
        assert_eq!(scale(&[]), 1.0);
    }

    #[test]
    fn one_value_stands_out_of_many_and_none_of_few_or_of_large_ones() {
        let mut past = vec![2.0; 40];
        assert_eq!(out_of_proportion(&past), None);
        past[7] = 1_990.0;
        assert_eq!(out_of_proportion(&past), None);
        past[7] = -2_010.0;
        assert_eq!(out_of_proportion(&past), Some(7));
        past[9] = 500.0;
        assert_eq!(out_of_proportion(&past), None, "two large orders are a habit");
        let mut rare = vec![0.0; 112];
        rare[50] = 5_000.0;
        assert_eq!(out_of_proportion(&rare), None);
        rare[60..69].fill(1.0);
        assert_eq!(out_of_proportion(&rare), None);
        rare[69] = 1.0;
        assert_eq!(out_of_proportion(&rare), Some(50));
        assert_eq!(out_of_proportion(&[]), None);
    }
}
