//! Clipping: the one bound on how far a vector reaches that every sensitivity here starts from.
//!
//! Invariant: what [`to_norm`] accepted has Euclidean norm at most C, floating-point errors of the computation included.

/// Scales a vector down to Euclidean norm `clip` where it is longer.
///
/// # Errors
/// The first coordinate that is not finite, or whose square is not; the vector is unchanged.
///
/// # Panics
/// When `clip` is not a positive number.
pub fn to_norm(vector: &mut [f64], clip: f64) -> Result<(), usize> {
    assert!(clip.is_finite() && clip > 0.0, "a clip norm is a positive number");
    if let Some(at) = vector.iter().position(|x| !(x * x).is_finite()) {
        return Err(at);
    }
    let squares = vector.iter().map(|x| x * x).sum::<f64>();
    let factor = factor(squares, vector.len(), clip);
    if factor < 1.0 {
        vector.iter_mut().for_each(|x| *x *= factor);
    }
    Ok(())
}

/// What [`to_norm`] multiplies a vector of `len` coordinates by whose squares add up to `squares`, in `f64` and any order:
/// below 1 where it is longer than `clip`.
///
/// `squares` must be finite, `clip` a positive number.
pub fn factor(squares: f64, len: usize, clip: f64) -> f64 {
    let norm = squares.sqrt();
    if norm > clip {
        // A sum of d squares errs by a relative d·2⁻⁵³ at most; the norm must not be left above C.
        let margin = (len as f64 * f64::EPSILON).max(1e-12);
        clip / norm * (1.0 - margin)
    } else {
        1.0
    }
}

/// The point of the ball of `radius` around zero that lies nearest to `vector`: itself where it lies inside.
///
/// Projections onto convex sets bring no two points further apart. So a sum may be projected after its summands were
/// clipped, and adding j of them to what is there still moves it by at most j times their norm; unlike with [`to_norm`] the result
/// is continuous, and may be longer than `radius` by rounding errors. A vector that is not finite stays as it is.
///
/// # Panics
/// When `radius` is not a positive number.
pub fn projected(vector: &[f64], radius: f64) -> Vec<f64> {
    assert!(radius.is_finite() && radius > 0.0, "a radius is a positive number");
    let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    let factor = if norm.is_finite() && norm > radius { radius / norm } else { 1.0 };
    vector.iter().map(|x| x * factor).collect()
}

#[cfg(test)]
mod tests {
    use super::{projected, to_norm};
    use proptest::prelude::*;

    fn norm(vector: &[f64]) -> f64 {
        vector.iter().map(|x| x * x).sum::<f64>().sqrt()
    }

    #[test]
    fn long_vectors_keep_their_direction_and_short_ones_everything() {
        let mut long = [3.0, -4.0];
        to_norm(&mut long, 1.0).unwrap();
        assert!((long[0] - 0.6).abs() < 1e-11 && (long[1] + 0.8).abs() < 1e-11);
        let mut short = [0.3, -0.4];
        to_norm(&mut short, 1.0).unwrap();
        assert_eq!(short, [0.3, -0.4]);
    }

    #[test]
    fn what_is_not_finite_is_named_and_left() {
        for (bad, at) in [(f64::NAN, 1), (f64::INFINITY, 1), (1e200, 1)] {
            let mut vector = [1.0, bad];
            assert_eq!(to_norm(&mut vector, 1.0), Err(at), "{bad}");
            assert_eq!(vector[0], 1.0);
        }
    }

    proptest! {
        #[test]
        fn projecting_brings_no_two_points_further_apart(
            pair in proptest::collection::vec((-1e3f64..1e3, -1e3f64..1e3), 1..60),
            radius in 1e-3f64..1e4,
        ) {
            let (a, b): (Vec<f64>, Vec<f64>) = pair.into_iter().unzip();
            let distance = |a: &[f64], b: &[f64]| norm(&a.iter().zip(b).map(|(x, y)| x - y).collect::<Vec<_>>());
            let (near_a, near_b) = (projected(&a, radius), projected(&b, radius));
            prop_assert!(distance(&near_a, &near_b) <= distance(&a, &b) * (1.0 + 1e-12) + 1e-12 * radius);
            prop_assert!(norm(&near_a) <= radius * (1.0 + 1e-12));
            if norm(&a) <= radius {
                prop_assert_eq!(near_a, a);
            }
        }

        #[test]
        fn nothing_stays_longer_than_the_norm(mut vector in proptest::collection::vec(-1e6f64..1e6, 1..400), clip in 1e-6f64..1e3) {
            to_norm(&mut vector, clip).unwrap();
            prop_assert!(norm(&vector) <= clip);
        }
    }
}
