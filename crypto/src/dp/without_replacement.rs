//! Rényi divergences of a Gaussian sum over a batch of fixed size drawn without replacement.
//!
//! Theorem 27 of Wang, Balle, Kasiviswanathan 2019 ("Subsampled Rényi differential privacy and analytical moments
//! accountant"), for one vector exchanged for another, batch share γ, and a Gaussian whose own divergences are D_j =
//! jμ²/2: for integer α ≥ 2, (α−1)·D_α is at most the logarithm of
//! 1 + γ²·C(α,2)·min(4(e^{D₂} − 1), 2e^{D₂}) + Σ_{j=3}^{α} γʲ·C(α,j)·min(4√(B(2⌊j/2⌋)·B(2⌈j/2⌉)), 2e^{(j−1)D_j}),
//! B(l) = E_Q[(P/Q − 1)ˡ], l even. Between integers (α−1)·D_α is convex (their corollary 10).
//!
//! The paper writes B as an alternating sum, which loses all digits; here it is the integral E[(e^{μZ−μ²/2} − 1)ˡ] over
//! a normal Z, all of whose terms are positive. The integrand is entire, so a trapezoidal sum of step 0.1 errs by a part
//! e^{−2π²/0.01} of what the integrand could be off the real line: nothing.

/// Orders above this are not tried: the bound is far from its best there.
const ORDER_MAX: f64 = 256.0;

/// D_α, enlarged by its rounding; `None` above [`ORDER_MAX`].
pub(super) fn divergence(share: f64, mu: f64, alpha: f64) -> Option<f64> {
    if share >= 1.0 {
        return Some(0.5 * alpha * mu * mu);
    }
    if alpha > ORDER_MAX {
        return None;
    }
    let (below, above) = (alpha.floor(), alpha.ceil());
    let low = cumulant(share, mu, below as u32);
    let value = if above > below {
        let high = cumulant(share, mu, above as u32);
        low + (alpha - below) * (high - low)
    } else {
        low
    };
    let value = value / (alpha - 1.0);
    (value.is_finite()).then_some(value * (1.0 + 1e-12) + 1e-14)
}

/// (α−1)·D_α at an integer order.
fn cumulant(share: f64, mu: f64, alpha: u32) -> f64 {
    if alpha < 2 {
        return 0.0;
    }
    let ln_share = share.ln();
    // (j − 1)·D_j of the Gaussian alone.
    let whole = |j: u32| 0.5 * f64::from(j) * f64::from(j - 1) * mu * mu;
    let mut moments = Vec::new();
    for half in 1..=alpha.div_ceil(2) {
        moments.push(ln_moment(mu, 2 * half));
    }
    let moment = |even: u32| moments[even as usize / 2 - 1];
    let mut ln_choose = f64::from(alpha).ln();
    let mut terms = vec![0.0];
    for j in 2..=alpha {
        ln_choose += (f64::from(alpha - j + 1) / f64::from(j)).ln();
        let bound = if j == 2 {
            (4_f64.ln() + whole(2) + (-(-whole(2)).exp()).ln_1p()).min(2_f64.ln() + whole(2))
        } else {
            let product = 0.5 * (moment(j / 2 * 2) + moment(j.div_ceil(2) * 2));
            (4_f64.ln() + product).min(2_f64.ln() + whole(j))
        };
        terms.push(bound + f64::from(j) * ln_share + ln_choose);
    }
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + terms.iter().map(|t| (t - top).exp()).sum::<f64>().ln()
}

/// ln E[(e^{μZ−μ²/2} − 1)ˡ], l even.
fn ln_moment(mu: f64, l: u32) -> f64 {
    const STEP: f64 = 0.1;
    let l = f64::from(l);
    let (low, high) = (-14.0 - l.sqrt(), l * mu + 14.0 + l.sqrt());
    let nodes = ((high - low) / STEP).ceil() as u64;
    let exponent = |k: u64| {
        let z = low + k as f64 * STEP;
        let ln_ratio = mu * z - 0.5 * mu * mu;
        // ln |e^x − 1| without overflow.
        let ln_distance = if ln_ratio > 30.0 { ln_ratio } else { ln_ratio.exp_m1().abs().ln() };
        l * ln_distance - 0.5 * z * z
    };
    let values: Vec<f64> = (0..=nodes).map(exponent).collect();
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|v| (v - top).exp()).sum();
    top + (sum * STEP * super::gaussian::INV_SQRT_TAU).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_agree_with_their_alternating_sum_where_that_has_digits() {
        for mu in [0.5_f64, 1.0, 2.0] {
            // l = 2: e^{μ²} − 1. l = 4: Σ (−1)ⁱ C(4,i) e^{i(i−1)μ²/2}.
            assert!((ln_moment(mu, 2) - (mu * mu).exp_m1().ln()).abs() < 1e-12);
            let e = |i: f64| (0.5 * i * (i - 1.0) * mu * mu).exp();
            let fourth = e(4.0) - 4.0 * e(3.0) + 6.0 * e(2.0) - 4.0 + 1.0;
            assert!((ln_moment(mu, 4) - fourth.ln()).abs() < 1e-10);
        }
    }

    #[test]
    fn the_whole_population_has_no_amplification() {
        assert_eq!(divergence(1.0, 0.5, 4.0), Some(0.5));
        assert!(divergence(0.5, 0.5, 4.0).unwrap() < 0.5);
        assert_eq!(divergence(0.5, 0.5, 1000.0), None);
    }
}
