//! The scale of a window: what its target is divided by before a model sees it.
//!
//! One window decides about its own scale; a scaler fitted on a batch or a data set would carry one customer's
//! lines into everybody's gradient.

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

#[cfg(test)]
mod tests {
    use super::scale;

    #[test]
    fn missing_steps_do_not_count() {
        assert_eq!(scale(&[f32::NAN, 2.0, -4.0, f32::NAN]), 4.0);
    }

    #[test]
    fn an_empty_past_has_scale_one() {
        assert_eq!(scale(&[f32::NAN; 5]), 1.0);
        assert_eq!(scale(&[]), 1.0);
    }
}
