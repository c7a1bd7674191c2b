//! Classical decomposition: a centred moving average as trend, means by phase as season (Hyndman and Athanasopoulos,
//! "Forecasting: Principles and Practice", 3rd ed., 3.4).

/// How a season acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Season {
    /// Added to the level.
    Additive,
    /// Multiplied with it; values must be positive.
    Multiplicative,
}

/// Seasonal indices by phase (`step % m`), adding up to 0 or to m; `None` with less than two seasons of values.
pub(super) fn indices(y: &[f64], m: usize, season: Season) -> Option<Vec<f64>> {
    let trend = trend(y, m)?;
    let (mut sums, mut counts) = (vec![0.0; m], vec![0.0; m]);
    for (step, trend) in trend.into_iter().enumerate() {
        let Some(trend) = trend else { continue };
        sums[step % m] += match season {
            Season::Additive => y[step] - trend,
            Season::Multiplicative => y[step] / trend,
        };
        counts[step % m] += 1.0;
    }
    let mut means: Vec<f64> = sums.iter().zip(&counts).map(|(sum, count)| sum / count).collect();
    let mean = means.iter().sum::<f64>() / m as f64;
    for index in &mut means {
        match season {
            Season::Additive => *index -= mean,
            Season::Multiplicative => *index /= mean,
        }
    }
    means.iter().all(|index| index.is_finite()).then_some(means)
}

/// Strength of the season, 0 to 1: 1 − Var(remainder) / Var(season + remainder), from 2 m values on (ibid., 4.3, with
/// this decomposition in place of STL). 0 where there is none.
pub(super) fn strength(y: &[f64], m: usize) -> f64 {
    let (Some(trend), Some(indices)) = (trend(y, m), indices(y, m, Season::Additive)) else { return 0.0 };
    let (mut remainder, mut detrended) = (Vec::new(), Vec::new());
    for (step, trend) in trend.into_iter().enumerate() {
        if let Some(trend) = trend {
            detrended.push(y[step] - trend);
            remainder.push(y[step] - trend - indices[step % m]);
        }
    }
    let whole = variance(&detrended);
    if whole > 0.0 { (1.0 - variance(&remainder) / whole).clamp(0.0, 1.0) } else { 0.0 }
}

/// Mean squared deviation from the mean.
pub(super) fn variance(y: &[f64]) -> f64 {
    let mean = y.iter().sum::<f64>() / y.len() as f64;
    y.iter().map(|y| (y - mean) * (y - mean)).sum::<f64>() / y.len() as f64
}

/// Centred moving average over one season, half weights at both ends where m is even; `None` at the ends.
fn trend(y: &[f64], m: usize) -> Option<Vec<Option<f64>>> {
    if m < 2 || y.len() < 2 * m {
        return None;
    }
    let half = m / 2;
    let smooth = |step: usize| {
        let from = step.checked_sub(half)?;
        let window = y.get(from..from + 2 * half + 1)?;
        let sum: f64 = window.iter().sum();
        let ends = if m.is_multiple_of(2) { 0.5 * (window[0] + window[2 * half]) } else { 0.0 };
        Some((sum - ends) / m as f64)
    };
    Some((0..y.len()).map(smooth).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pure_season_on_a_line_is_found_exactly() {
        let pattern = [-3.0, 1.0, 2.0, 0.0];
        let y: Vec<f64> = (0..24).map(|t| 10.0 + f64::from(t) + pattern[t as usize % 4]).collect();
        for (found, expected) in indices(&y, 4, Season::Additive).unwrap().iter().zip(pattern) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        assert!((strength(&y, 4) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_two_seasons_or_without_any_there_is_nothing() {
        assert_eq!(indices(&[1.0; 7], 4, Season::Additive), None);
        assert_eq!(strength(&[5.0; 40], 4), 0.0);
        assert_eq!(strength(&[1.0, 2.0, 3.0], 1), 0.0);
    }
}
