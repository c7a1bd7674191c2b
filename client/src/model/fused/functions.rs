//! What stands between the products, a row at a time: activation, normalisation, softmax, each with its slope.
//!
//! Written so that the compiler can use vector registers: no calls, no branches, sums over eight lanes.

use super::vectors::Vectors;

/// Added to a mean square before its root.
const NORM_FLOOR: f32 = 1e-6;
/// Lanes of a sum.
const LANES: usize = 8;

/// `eˣ` within 2e-7 of itself, for x at most 88; 0 below −87 (Cody and Waite's reduction, a polynomial of degree 5).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // 1.5 · 2²³: adding it rounds to a whole number, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = (clamped - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let mut y = 1.987_569_1e-4;
    y = y * rest + 1.398_2e-3;
    y = y * rest + 8.333_452e-3;
    y = y * rest + 4.166_579_6e-2;
    y = y * rest + 1.666_666_5e-1;
    y = y * rest + 5e-1;
    y = y * rest * rest + rest + 1.0;
    // The clamp passes NaN on, and the sum with the bits below would lose it.
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    y * power
}

/// `x Φ(x)` and its slope `Φ(x) + x φ(x)`, of the normal distribution: the exact GELU, with erf within 1.5e-7 (Abramowitz and
/// Stegun 7.1.26, which shares its exponential with φ).
#[inline(always)]
pub(super) fn gelu(x: f32) -> (f32, f32) {
    const P: f32 = 0.327_591_1;
    const INVERSE_ROOT_TAU: f32 = 0.398_942_3;
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + P * z);
    let power = exp(-z * z);
    let tail = ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t + 0.254_829_6) * t * power;
    // Φ(−|x|) = tail / 2.
    let half = 0.5 * tail;
    let phi = if x < 0.0 { half } else { 1.0 - half };
    (x * phi, phi + x * INVERSE_ROOT_TAU * power)
}

/// Adds `bias` to each row, and replaces it by its activation; slopes go beside.
pub(super) fn activate(arch: Vectors, x: &mut [f32], bias: &[f32], slope: &mut [f32]) {
    let width = bias.len();
    arch.dispatch(
        #[inline(always)]
        || {
            for (x, slope) in x.chunks_exact_mut(width).zip(slope.chunks_exact_mut(width)) {
                for ((x, slope), bias) in x.iter_mut().zip(slope).zip(bias) {
                    (*x, *slope) = gelu(*x + *bias);
                }
            }
        },
    );
}

/// `x ∘ y` into `x`.
pub(super) fn multiply(arch: Vectors, x: &mut [f32], y: &[f32]) {
    arch.dispatch(
        #[inline(always)]
        || x.iter_mut().zip(y).for_each(|(x, y)| *x *= y),
    );
}

/// Sum of `x(i)` over `0..count`, in eight lanes.
#[inline(always)]
fn lanes(count: usize, x: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0f32; LANES];
    let whole = count / LANES * LANES;
    for i in (0..whole).step_by(LANES) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += x(i + lane);
        }
    }
    let mut sum = ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
    for i in whole..count {
        sum += x(i);
    }
    sum
}

/// RMS normalisation of each row (Zhang and Sennrich 2019): `x / size ∘ gain`, with `1 / size` of each row beside it.
pub(super) fn normalise(arch: Vectors, x: &[f32], gain: &[f32], out: &mut [f32], inverse: &mut [f32]) {
    let width = gain.len();
    arch.dispatch(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(inverse);
            for ((x, out), inverse) in rows {
                *inverse = 1.0 / (lanes(width, |i| x[i] * x[i]) / width as f32 + NORM_FLOOR).sqrt();
                for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
                    *out = x * *inverse * gain;
                }
            }
        },
    );
}

/// Adds to `d_x` what [`normalise`] passes back of `d_out`.
pub(super) fn normalise_back(arch: Vectors, x: &[f32], gain: &[f32], inverse: &[f32], d_out: &[f32], d_x: &mut [f32]) {
    let width = gain.len();
    arch.dispatch(
        #[inline(always)]
        || {
            let rows =
                x.chunks_exact(width).zip(d_out.chunks_exact(width)).zip(d_x.chunks_exact_mut(width)).zip(inverse);
            for (((x, d_out), d_x), inverse) in rows {
                let inner = lanes(width, |i| x[i] * gain[i] * d_out[i]) / width as f32;
                let along = inner * inverse * inverse * inverse;
                for (((d_x, x), gain), d_out) in d_x.iter_mut().zip(x).zip(gain).zip(d_out) {
                    *d_x += inverse * gain * d_out - along * x;
                }
            }
        },
    );
}

/// Gradient of a gain, `Σ over rows of d_out ∘ x / size`, replacing what is there or added to it.
pub(super) fn gain_gradient(arch: Vectors, x: &[f32], inverse: &[f32], d_out: &[f32], out: &mut [f32], add: bool) {
    let width = out.len();
    if !add {
        out.fill(0.0);
    }
    arch.dispatch(
        #[inline(always)]
        || {
            for ((x, d_out), inverse) in x.chunks_exact(width).zip(d_out.chunks_exact(width)).zip(inverse) {
                for ((out, x), d_out) in out.iter_mut().zip(x).zip(d_out) {
                    *out += d_out * x * inverse;
                }
            }
        },
    );
}

/// Sum of the rows of `x`, replacing what is there or added to it.
pub(super) fn column_sums(arch: Vectors, x: &[f32], out: &mut [f32], add: bool) {
    let width = out.len();
    if !add {
        out.fill(0.0);
    }
    arch.dispatch(
        #[inline(always)]
        || {
            for x in x.chunks_exact(width) {
                out.iter_mut().zip(x).for_each(|(out, x)| *out += x);
            }
        },
    );
}

/// Softmax of the first `count` numbers of each row times `scale`; zeros behind them.
pub(super) fn softmax(arch: Vectors, rows: &mut [f32], stride: usize, count: usize, scale: f32) {
    arch.dispatch(
        #[inline(always)]
        || {
            for row in rows.chunks_exact_mut(stride) {
                let (row, behind) = row.split_at_mut(count);
                behind.fill(0.0);
                let mut largest = [f32::NEG_INFINITY; LANES];
                let chunks = row.chunks_exact(LANES);
                for x in chunks.remainder() {
                    largest[0] = largest[0].max(*x);
                }
                for chunk in chunks {
                    largest.iter_mut().zip(chunk).for_each(|(largest, x)| *largest = largest.max(*x));
                }
                let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
                row.iter_mut().for_each(|x| *x = exp((*x - largest) * scale));
                let sum = lanes(count, |i| row[i]);
                row.iter_mut().for_each(|x| *x /= sum);
            }
        },
    );
}

/// From the gradient of a softmax's outputs to that of its inputs, in place: `scale · p ∘ (d − Σ p ∘ d)`.
pub(super) fn softmax_back(arch: Vectors, p: &[f32], d: &mut [f32], stride: usize, scale: f32) {
    arch.dispatch(
        #[inline(always)]
        || {
            for (p, d) in p.chunks_exact(stride).zip(d.chunks_exact_mut(stride)) {
                let mean = lanes(stride, |i| p[i] * d[i]);
                d.iter_mut().zip(p).for_each(|(d, p)| *d = scale * p * (*d - mean));
            }
        },
    );
}

/// `Σ x²` in `f64`: squares of `f32` are exact there, and the sum errs by a relative `count · 2⁻⁵³` at most. Infinite or
/// undefined where a number is.
pub(super) fn squares(arch: Vectors, x: &[f32]) -> f64 {
    arch.dispatch(
        #[inline(always)]
        || {
            let (chunks, rest) = x.as_chunks::<{ 2 * LANES }>();
            let mut sums = [0.0f64; 2 * LANES];
            for chunk in chunks {
                for lane in 0..2 * LANES {
                    let x = f64::from(chunk[lane]);
                    sums[lane] += x * x;
                }
            }
            for x in rest {
                sums[0] += f64::from(*x) * f64::from(*x);
            }
            sums.iter().sum()
        },
    )
}

/// Adds each `x` times its factor to `sum`, one after the other at every place. Four at a time, so that `sum` is read and
/// written a quarter as often.
pub(super) fn add_scaled(arch: Vectors, sum: &mut [f64], terms: &[(&[f32], f64)]) {
    let (fours, rest) = terms.as_chunks::<4>();
    for [(a, fa), (b, fb), (c, fc), (d, fd)] in fours {
        arch.dispatch(
            #[inline(always)]
            || {
                for ((((sum, a), b), c), d) in sum.iter_mut().zip(*a).zip(*b).zip(*c).zip(*d) {
                    let term = |x: f32, factor: f64| factor * f64::from(x);
                    *sum = (((*sum + term(*a, *fa)) + term(*b, *fb)) + term(*c, *fc)) + term(*d, *fd);
                }
            },
        );
    }
    for (x, factor) in rest {
        arch.dispatch(
            #[inline(always)]
            || sum.iter_mut().zip(*x).for_each(|(sum, x)| *sum += factor * f64::from(*x)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_near_those_of_the_library() {
        for i in -87_000..88_000 {
            let x = i as f32 / 1000.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((found / expected - 1.0).abs() < 3e-7, "{x}: {found} {expected}");
        }
        assert!(exp(-1e9) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_activation_is_the_exact_gelu_and_its_slope() {
        let exact = |x: f64| 0.5 * x * libm_erfc(-x / std::f64::consts::SQRT_2);
        for i in -12_000..12_000 {
            let x = f64::from(i) / 1000.0;
            let (value, slope) = gelu(x as f32);
            assert!((f64::from(value) - exact(x)).abs() < 4e-7 * (1.0 + x.abs()), "{x}: {value} {}", exact(x));
            let expected = (exact(x + 1e-5) - exact(x - 1e-5)) / 2e-5;
            assert!((f64::from(slope) - expected).abs() < 6e-7, "{x}: {slope} {expected}");
        }
        assert!(gelu(f32::NAN).0.is_nan());
    }

    /// erfc by its continued fraction and series.
    fn libm_erfc(x: f64) -> f64 {
        if x < 0.0 {
            return 2.0 - libm_erfc(-x);
        }
        if x < 2.5 {
            let (mut term, mut sum) = (x, x);
            for n in 1..80 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            return 1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI;
        }
        let fraction = (1..60).rev().fold(x, |tail, n| x + f64::from(n) / 2.0 / tail);
        (-x * x).exp() / (fraction * std::f64::consts::PI.sqrt())
    }
}
