//! The series of `tests/peers/baselines.py`, made by the same integer generator.

fn uniforms(mut seed: u64) -> impl FnMut() -> f64 {
    move || {
        seed = (1_103_515_245 * seed + 12_345) % (1 << 31);
        seed as f64 / f64::from(1_u32 << 31)
    }
}

/// 112 days with a weekly pattern and a trend, whole and positive.
pub(super) fn weekly() -> Vec<f64> {
    let mut u = uniforms(7);
    let pattern = [0, 2, 4, 6, 8, 20, 15];
    (0..112).map(|t| f64::from(40 + t / 10 + pattern[t as usize % 7] + (10.0 * u()) as i32)).collect()
}

/// 90 days, most of them without a sale.
pub(super) fn intermittent() -> Vec<f64> {
    let mut u = uniforms(11);
    (0..90).map(|_| if u() < 0.3 { 1.0 + (5.0 * u()).floor() } else { 0.0 }).collect()
}

/// 120 values of 50 + z with z = 0.6 z before + noise, in eighths.
pub(super) fn autoregressive() -> Vec<f64> {
    let (mut u, mut z) = (uniforms(3), 0.0);
    (0..120)
        .map(|_| {
            z = 0.6 * z + 4.0 * (u() + u() + u() - 1.5);
            (8.0 * (50.0 + z)).floor() / 8.0
        })
        .collect()
}

#[test]
fn they_are_those_of_the_script() {
    let ends = |y: &[f64]| (y.iter().sum::<f64>(), y[y.len() - 1]);
    assert_eq!(ends(&weekly()), (6_435.0, 69.0));
    assert_eq!(ends(&intermittent()), (96.0, 5.0));
    assert_eq!(ends(&autoregressive()), (5_970.5, 45.25));
}
