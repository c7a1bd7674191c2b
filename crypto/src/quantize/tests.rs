use super::*;
use proptest::prelude::*;

fn grid(dimension: u32, bits: u8) -> Grid {
    Grid::new(dimension, bits, 1000, 0.5).expect("a valid grid")
}

#[test]
fn grids_out_of_range_are_refused_by_name() {
    assert_eq!(Grid::new(0, 24, 1, 1.0), Err(GridError::Dimension(0)));
    assert_eq!(Grid::new(1, 7, 1, 1.0), Err(GridError::Bits(7)));
    assert_eq!(Grid::new(1, 63, 1, 1.0), Err(GridError::Bits(63)));
    assert_eq!(Grid::new(1, 24, 0, 1.0), Err(GridError::UnitsPerClip(0)));
    for clip in [0.0, -1.0, f64::INFINITY, 1e-320] {
        assert_eq!(Grid::new(1, 24, 1, clip), Err(GridError::Clip(clip)));
    }
    assert!(matches!(Grid::new(1, 24, 1, f64::NAN), Err(GridError::Clip(_))));
    assert!(serde_json::from_str::<Grid>(r#"{"dimension":0,"bits":24,"units_per_clip":1,"clip":1.0}"#).is_err());
}

#[test]
fn a_coordinate_that_is_not_finite_is_named() {
    let grid = grid(3, 24);
    assert!(matches!(grid.round_sum(&[0.0, f64::NAN, 0.0]), Err(QuantizeError::NotFinite { coordinate: 1, .. })));
    assert!(matches!(grid.round_sum(&[0.0, 0.0, f64::INFINITY]), Err(QuantizeError::NotFinite { coordinate: 2, .. })));
    assert!(matches!(grid.round_sum(&[1e300, 0.0, 0.0]), Err(QuantizeError::TooLarge { coordinate: 0, .. })));
    assert!(matches!(grid.round_sum(&[0.0]), Err(QuantizeError::Dimension { expected: 3, found: 1 })));
}

#[test]
fn the_clip_norm_is_s_units() {
    let grid = grid(4, 24);
    assert_eq!(grid.round_sum(&[0.5, -0.5, 0.00025, -0.0002]).expect("finite"), vec![1000, -1000, 1, 0]);
}

#[test]
fn a_product_that_floating_point_moved_onto_a_tie_is_rounded_by_its_exact_value() {
    // value·scale is a hair below n + 1/2, and the nearest f64 of the product is n + 1/2 itself.
    let scale = 3.0;
    let value = 0.5f64 / 3.0; // the nearest f64 to 1/6 lies below 1/6
    assert_eq!(value * scale, 0.5);
    assert!(value.mul_add(scale, -0.5) < 0.0);
    assert_eq!(round(value, scale, 0).expect("finite"), 0);
    assert_eq!(round(-value, scale, 0).expect("finite"), 0);
    assert_eq!(round(0.5, 1.0, 0).expect("finite"), 1);
}

#[test]
fn bits_hold_the_sum_and_the_noise() {
    // 10 rounds, d = 1000: z = σ·√(2·ln(2^41·10^4)) = σ·8.67…
    let bits = bits_needed(100_000.0, 10_000.0, 1000, 10).expect("fits");
    let z = (2.0 * (2f64.powi(41) * 1e4).ln()).sqrt();
    assert!(100_000.0 + 10_000.0 * z < 2f64.powi(i32::from(bits) - 1));
    assert!(100_000.0 + 10_000.0 * z >= 2f64.powi(i32::from(bits) - 2) - 1.0);
    assert!(bits_needed(1e30, 1.0, 1, 1).is_err());
    assert!(bits_needed(f64::NAN, 1.0, 1, 1).is_err());
    assert!(bits_needed(-1.0, 1.0, 1, 1).is_err());
}

#[test]
fn rounding_costs_what_the_argument_says() {
    let grid = Grid::new(10_000, 30, 10_000, 1.0).expect("a valid grid");
    assert!((grid.sensitivity_units() - 10_100.0).abs() < 1e-4);
    assert!(grid.sensitivity_units() > 10_100.0);
    assert!((grid.rounding_cost() - 1.01).abs() < 1e-8);
}

proptest! {
    #[test]
    fn residues_and_units_are_inverse(bits in Grid::MIN_BITS..=Grid::MAX_BITS, raw in any::<i64>()) {
        let grid = grid(1, bits);
        let units = raw >> (64 - u32::from(bits));
        prop_assert_eq!(grid.from_residue(grid.to_residue(units)), units);
        prop_assert_eq!(grid.to_residue(raw), grid.to_residue(raw.wrapping_add(1 << bits)));
    }

    #[test]
    fn rounding_moves_a_coordinate_by_at_most_half_a_unit(value in -1e3f64..1e3, clip in 0.01f64..10.0, s in 1u64..1_000_000) {
        let grid = Grid::new(1, 62, s, clip).expect("a valid grid");
        let rounded = grid.round_sum(&[value]).expect("finite")[0];
        // Exact: value·scale − rounded, through the fused remainder.
        let product = value * grid.scale();
        let remainder = value.mul_add(grid.scale(), -product);
        let distance = (product - rounded as f64) + remainder;
        prop_assert!(distance.abs() <= 0.5, "{}", distance);
    }

    #[test]
    fn neighbouring_sums_stay_within_the_sensitivity(
        a in proptest::collection::vec(-1.0f64..1.0, 16), b in proptest::collection::vec(-1.0f64..1.0, 16),
    ) {
        let grid = Grid::new(16, 40, 50, 1.0).expect("a valid grid");
        let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        // One clipped gradient b enters on one side, −b on the other.
        let clipped: Vec<f64> = b.iter().map(|x| x / norm(&b).max(1.0)).collect();
        let with: Vec<f64> = a.iter().zip(&clipped).map(|(x, g)| x + g).collect();
        let without: Vec<f64> = a.iter().zip(&clipped).map(|(x, g)| x - g).collect();
        let rounded = |sum: &[f64]| grid.round_sum(sum).expect("finite");
        let distance = |x: &[i64], y: &[i64]| norm(&x.iter().zip(y).map(|(x, y)| (x - y) as f64).collect::<Vec<_>>());
        let (p, q, shared) = (rounded(&with), rounded(&without), rounded(&a));
        prop_assert!(distance(&p, &shared) <= grid.sensitivity_units());
        prop_assert!(distance(&q, &shared) <= grid.sensitivity_units());
        prop_assert!(distance(&p, &q) <= 2.0 * grid.sensitivity_units());
    }
}

#[test]
fn a_side_can_move_by_more_than_half_the_distance() {
    // All coordinates just below a tie: the least push carries every one of them up.
    let grid = Grid::new(16, 40, 4, 4.0).expect("a valid grid");
    let shared = [0.499; 16];
    let from = grid.round_sum(&shared).expect("finite");
    let moved = |push: f64| {
        let sum: Vec<f64> = shared.iter().map(|x| x + push).collect();
        let rounded = grid.round_sum(&sum).expect("finite");
        rounded.iter().zip(&from).map(|(x, y)| ((x - y) as f64).powi(2)).sum::<f64>().sqrt()
    };
    // Norm 0.004 (of a clip norm of 4) moves the rounded sum by √d = 4 units, not by √d/2.
    assert_eq!(moved(0.001), 4.0);
}
