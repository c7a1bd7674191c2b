//! Adaptive composition of discretised losses: an exponentially tilted convolution by FFT.
//!
//! A loss that composes Tᵢ times the distribution fᵢ has probabilities f = ∗ᵢ fᵢ^{∗Tᵢ}. Its far tail, where δ(ε) is
//! read off, can be 1e-12 and less, while an FFT leaves absolute errors of 1e-16 and more everywhere. So each fᵢ is
//! tilted first, gᵢ(ℓ) = fᵢ(ℓ) e^{λℓ}/Mᵢ(λ), with the λ > 0 that moves the mean of the composition to where ε is
//! expected; ∗gᵢ is computed, and f(ℓ) = g(ℓ) e^{K(λ) − λℓ} with K = Σ Tᵢ ln Mᵢ. The absolute error of g then becomes
//! a small *relative* error of δ(ε), whatever the size of δ.
//!
//! # What is charged
//! * *FFT and powers.* An FFT of length N errs by at most e_F·‖x‖₂ in the 2-norm, e_F = 32·u·log₂N (Higham 2002,
//!   theorem 24.2, with twiddle factors good to 13u). Two real signals share one transform, x = gᵢ + i·gⱼ; taking them
//!   apart again is a projection and enlarges no error. Spectra are at most 1 in magnitude, so raising them to powers
//!   Tᵢ, multiplying and transforming back leaves ‖ĝ − g‖₂ ≤ E := Σᵢ Tᵢ(e_F + 9u)‖xᵢ‖₂ + 2e_F, times exp(Σ Tᵢ e_F √N
//!   ‖xᵢ‖₂) because a computed spectrum may exceed 1 by e_F√N‖xᵢ‖₂. By Cauchy–Schwarz the error of δ(ε) = Σ_{ℓ>ε}
//!   g(ℓ)e^{K−λℓ}(1 − e^{ε−ℓ}) is at most E times the 2-norm of the weights, which has a closed bound.
//! * *Wrapping.* The FFT's window [lo, hi] is a circle. Mass from outside is added somewhere inside, which only
//!   raises the result; what P loses above hi is at most min_λ e^{K(λ) − λ·hi} (Chernoff), charged as infinite loss.
//!   That both ends leave out little of g is only a matter of tightness.
//! * *Infinite loss.* At most Σ Tᵢ·(mass of fᵢ at infinity).
//! * *Rounding elsewhere.* e^{K−λℓ} and the two running sums err by less than a factor 1 + 1e-9 + 4Nu.
//!
//! The tilt follows from the saddle-point view of composition; nothing of the result's soundness hangs on λ. So λ and
//! the window are found on a sketch of the distributions, neighbouring atoms merged; what is charged for them is then
//! computed on the distributions themselves.

use rustfft::{FftPlanner, num_complex::Complex};

use super::pld::PrivacyLoss;

/// The longest FFT; a composition that needs more is discretised more coarsely.
pub(super) const LENGTH_MAX: usize = 1 << 21;

/// Rounding unit of `f64`.
const UNIT: f64 = f64::EPSILON / 2.0;

/// Losses on one grid, each with how often it is composed.
pub(super) struct Composition<'a> {
    parts: &'a [(PrivacyLoss, u64)],
    sketches: Vec<Sketch>,
    step: f64,
}

/// A distribution of which runs of atoms were merged into their centres of mass.
struct Sketch {
    /// Loss and probability.
    atoms: Vec<(f64, f64)>,
    count: f64,
}

impl Sketch {
    fn of(loss: &PrivacyLoss, count: u64) -> Self {
        // Runs of up to 16 atoms, so that the bulk of a distribution, which is some fifty wide, keeps its shape.
        let run = (loss.mass.len() / 256).clamp(1, 16);
        let atoms = loss
            .mass
            .chunks(run)
            .enumerate()
            .filter_map(|(block, atoms)| {
                let mass: f64 = atoms.iter().sum();
                let moment: f64 = atoms.iter().enumerate().map(|(k, f)| k as f64 * f).sum();
                let start = (loss.first + (block * run) as i64) as f64;
                (mass > 0.0).then(|| ((start + moment / mass) * loss.step, mass))
            })
            .collect();
        Self { atoms, count: count as f64 }
    }

    fn ln_moment(&self, lambda: f64) -> f64 {
        // The largest exponent is at one end: masses count for little against e^{λℓ} far out, so both are tried.
        let exponent = |atom: &(f64, f64)| lambda * atom.0;
        let top = self.atoms.first().map_or(0.0, exponent).max(self.atoms.last().map_or(0.0, exponent));
        if top < 600.0 {
            return self.atoms.iter().map(|atom| atom.1 * exponent(atom).exp()).sum::<f64>().ln();
        }
        let top = self.atoms.iter().map(|atom| atom.1.ln() + exponent(atom)).fold(f64::NEG_INFINITY, f64::max);
        top + self.atoms.iter().map(|atom| (atom.1.ln() + exponent(atom) - top).exp()).sum::<f64>().ln()
    }
}

/// The composition cannot be evaluated with this grid step within [`LENGTH_MAX`]; a step at least this much larger can.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TooFine {
    /// By what the step must be multiplied.
    pub(super) factor: f64,
}

/// The upper tail of a composed loss, tilted.
struct Tail {
    /// f at (lowest + k)·h.
    mass: Vec<f64>,
    lowest: i64,
    /// Bound on ‖ĝ − g‖₂.
    error: f64,
    tilt: f64,
    /// K(λ).
    ln_normaliser: f64,
    /// Mass above the window, and at infinity.
    beyond: f64,
}

impl<'a> Composition<'a> {
    /// Composes `parts`; all must have the same step and there must be one at least.
    pub(super) fn new(parts: &'a [(PrivacyLoss, u64)]) -> Self {
        let step = parts[0].0.step;
        debug_assert!(parts.iter().all(|(loss, _)| loss.step == step));
        let sketches = parts.iter().map(|(loss, count)| Sketch::of(loss, *count)).collect();
        Self { parts, sketches, step }
    }

    /// An upper bound on the least ε ≥ 0 with δ(ε) ≤ `delta`; infinite where infinite losses alone exceed δ.
    pub(super) fn epsilon(&self, delta: f64) -> Result<f64, TooFine> {
        let tilt = self.chernoff_tilt(delta.ln());
        let chernoff = (self.cumulant(tilt) - delta.ln()) / tilt;
        let tail = self.tail(tilt, (chernoff, chernoff), delta.ln() - 25.0)?;
        if tail.beyond + tail.transform_error(self.step, tail.highest(self.step)) >= delta {
            return Ok(f64::INFINITY);
        }
        Ok(tail.epsilon(self.step, delta).max(0.0))
    }

    /// Upper bounds on δ(ε) for rising `epsilons`. Neighbours share a transform, tilted for the middle one: the others'
    /// bounds are as sound and hardly looser.
    pub(super) fn deltas(&self, epsilons: &[f64]) -> Result<Vec<f64>, TooFine> {
        let mut deltas = Vec::with_capacity(epsilons.len());
        for near in epsilons.chunks(5) {
            // K(λ) − λε is convex; its minimum is the saddle point, and its value bounds ln δ.
            let saddle = |epsilon: f64| minimum(self.step, |lambda| self.sketched_cumulant(lambda) - lambda * epsilon);
            let (tilt, _) = saddle(near[near.len() / 2]);
            let (least, greatest) = (near[0], near[near.len() - 1]);
            let (_, ln_bound) = saddle(greatest);
            let tail = self.tail(tilt, (least, greatest), ln_bound.min(0.0) - 30.0)?;
            deltas.extend(near.iter().map(|epsilon| tail.delta(self.step, *epsilon).min(1.0)));
        }
        Ok(deltas)
    }

    /// K(λ) = Σ Tᵢ ln Σ_ℓ fᵢ(ℓ) e^{λℓ}, over finite losses.
    fn cumulant(&self, lambda: f64) -> f64 {
        self.parts.iter().map(|(loss, count)| *count as f64 * ln_moment(loss, lambda)).sum()
    }

    /// About [`Self::cumulant`], far cheaper.
    fn sketched_cumulant(&self, lambda: f64) -> f64 {
        self.sketches.iter().map(|sketch| sketch.count * sketch.ln_moment(lambda)).sum()
    }

    /// The λ with which P(loss > ε) ≤ e^{K(λ) − λε} reaches e^{`ln_delta`} soonest.
    fn chernoff_tilt(&self, ln_delta: f64) -> f64 {
        minimum(self.step, |lambda| (self.sketched_cumulant(lambda) - ln_delta) / lambda).0
    }

    /// Composes inside a window around the tilted mean and all ε `asked` for (the least, the greatest) that reaches up to
    /// where Chernoff leaves e^{`ln_beyond`}.
    fn tail(&self, tilt: f64, asked: (f64, f64), ln_beyond: f64) -> Result<Tail, TooFine> {
        let ln_normaliser = self.cumulant(tilt);
        let sketched_normaliser = self.sketched_cumulant(tilt);
        let total = |index: fn((i64, i64)) -> i64| -> f64 {
            self.parts.iter().map(|(loss, count)| index(loss.range()) as f64 * *count as f64).sum()
        };
        let (least, greatest) = (total(|range| range.0), total(|range| range.1));
        // Tilted mass above `high` and below `low` is at most about e^{−25} each, so that what wraps around hardly
        // counts; what P itself has above `high` is certainly at most e^{ln_beyond}.
        let (_, tilted_high) =
            minimum(self.step, |theta| (25.0 + self.sketched_cumulant(tilt + theta) - sketched_normaliser) / theta);
        let last_tilt = self.chernoff_tilt(ln_beyond);
        let certain_high = (self.cumulant(last_tilt) - ln_beyond) / last_tilt;
        let wanted_high = certain_high.max(tilted_high).max(asked.1);
        let high = (wanted_high / self.step).ceil().min(greatest).max(least + 1.0);
        let (_, negative_low) =
            minimum(self.step, |theta| (25.0 + self.sketched_cumulant(tilt - theta) - sketched_normaliser) / theta);
        let low = (-negative_low / self.step).min(asked.0 / self.step).floor().max(least).min(high - 1.0);
        let length =
            fft_length(high - low + 2.0).ok_or(TooFine { factor: (high - low + 2.0) / LENGTH_MAX as f64 * 1.01 })?;

        let mut planner = FftPlanner::<f64>::new();
        let forward = planner.plan_fft_forward(length);
        let relative_error = 32.0 * UNIT * (length as f64).log2();
        // Only the first half of the product's spectrum: the rest is its conjugate.
        let mut spectrum = vec![Complex::new(1.0, 0.0); length / 2 + 1];
        let mut buffer = vec![Complex::new(0.0, 0.0); length];
        let mut scratch = vec![Complex::new(0.0, 0.0); forward.get_inplace_scratch_len()];
        let (mut error, mut growth) = (2.0 * relative_error, 0.0);
        for pair in self.parts.chunks(2) {
            buffer.fill(Complex::new(0.0, 0.0));
            tilt_into(&pair[0].0, tilt, |at, mass| buffer[at].re += mass, length);
            if let Some((second, _)) = pair.get(1) {
                tilt_into(second, tilt, |at, mass| buffer[at].im += mass, length);
            }
            let norm = buffer.iter().map(Complex::norm_sqr).sum::<f64>().sqrt();
            forward.process_with_scratch(&mut buffer, &mut scratch);
            let counts = (pair[0].1, pair.get(1).map_or(0, |part| part.1));
            for (k, product) in spectrum.iter_mut().enumerate() {
                let (here, mirrored) = (buffer[k], buffer[if k == 0 { 0 } else { length - k }].conj());
                *product *= power((here + mirrored) * 0.5, counts.0);
                if counts.1 > 0 {
                    let difference = (here - mirrored) * 0.5;
                    *product *= power(Complex::new(difference.im, -difference.re), counts.1);
                }
            }
            let count = counts.0 as f64 + counts.1 as f64;
            error += count * (relative_error + 9.0 * UNIT) * norm;
            growth += count * relative_error * (length as f64).sqrt() * norm;
        }
        buffer[..spectrum.len()].copy_from_slice(&spectrum);
        for k in spectrum.len()..length {
            buffer[k] = spectrum[length - k].conj();
        }
        planner.plan_fft_inverse(length).process_with_scratch(&mut buffer, &mut scratch);

        let lowest = low as i64;
        let mut at = lowest.rem_euclid(length as i64) as usize;
        let mass = (lowest..=high as i64)
            .map(|index| {
                let tilted = buffer[at].re / length as f64;
                at = if at + 1 == length { 0 } else { at + 1 };
                tilted.max(0.0) * (ln_normaliser - tilt * index as f64 * self.step).exp()
            })
            .collect();
        let infinite: f64 = self.parts.iter().map(|(loss, count)| loss.infinity * *count as f64).sum();
        let above = if high >= greatest { 0.0 } else { ln_beyond.exp() };
        Ok(Tail {
            mass,
            lowest,
            error: error * growth.min(700.0).exp(),
            tilt,
            ln_normaliser,
            beyond: (infinite + above) * (1.0 + 1e-9),
        })
    }
}

impl Tail {
    /// The window's upper end.
    fn highest(&self, step: f64) -> f64 {
        (self.lowest + self.mass.len() as i64 - 1) as f64 * step
    }

    /// Bound on what the FFT's error adds to δ at ε: E·e^{K−λε}·√(Σₖ e^{−2λkh}(1 − e^{−kh})²), the sum by its integral
    /// 1/(hλ(2λ+1)(2λ+2)) and, being unimodal, its largest term, which is below 1/(λ+1)².
    fn transform_error(&self, step: f64, epsilon: f64) -> f64 {
        let l = self.tilt;
        let integral = 1.0 / (step * l * (2.0 * l + 1.0) * (2.0 * l + 2.0));
        let norm = (integral + 1.0 / ((l + 1.0) * (l + 1.0))).sqrt();
        self.error * norm * (self.ln_normaliser - l * epsilon).exp()
    }

    /// Calls `visit(k, S, D)` downwards over grid points, S = Σ_{j>k} f(jh), D = Σ_{j>k} f(jh)(1 − e^{(k−j)h}), until
    /// it returns true. Both recurrences add positive terms only.
    fn descend(&self, step: f64, mut visit: impl FnMut(i64, f64, f64) -> bool) {
        let (decay, rise) = ((-step).exp(), -(-step).exp_m1());
        let slack = 1.0 + 1e-9 + 8.0 * UNIT * self.mass.len() as f64;
        let (mut sum, mut divergence) = (0.0, 0.0);
        for (k, mass) in self.mass.iter().enumerate().rev() {
            // Here sum and divergence belong to the grid point below this atom.
            sum += mass * slack;
            divergence = decay * divergence + rise * sum;
            if visit(self.lowest + k as i64 - 1, sum, divergence) {
                return;
            }
        }
    }

    fn epsilon(&self, step: f64, delta: f64) -> f64 {
        let mut found = (self.lowest - 1) as f64 * step;
        self.descend(step, |k, sum, divergence| {
            let at = k as f64 * step;
            let extra = self.transform_error(step, at) + self.beyond;
            if divergence + extra < delta {
                return false;
            }
            // Between grid points δ(ε) = S − e^{ε−kh}(S − D) exactly; the error bound only falls.
            let inside = ((sum + extra - delta) / (sum - divergence)).ln();
            found = at + if inside.is_nan() { step } else { inside.clamp(0.0, step) };
            true
        });
        found * (1.0 + 1e-14)
    }

    fn delta(&self, step: f64, epsilon: f64) -> f64 {
        let cell = (epsilon / step).floor() as i64;
        let mut found = self.beyond + self.transform_error(step, epsilon);
        let margin = found;
        self.descend(step, |k, sum, divergence| {
            if k > cell {
                return false;
            }
            // 1 − e^{x}(1 − D/S), written so that S cancels no digits.
            let x = (epsilon - k as f64 * step).max(0.0);
            found = margin + (divergence - x.exp_m1() * (sum - divergence)).max(0.0);
            true
        });
        found
    }
}

/// ln Σ_ℓ f(ℓ) e^{λℓ}: sums over blocks, so that few exponentials are taken and none overflows.
fn ln_moment(loss: &PrivacyLoss, lambda: f64) -> f64 {
    const BLOCK: usize = 64;
    let per_atom = lambda * loss.step;
    let powers: Vec<f64> = if per_atom.abs() * BLOCK as f64 <= 300.0 {
        (0..BLOCK).map(|k| (per_atom * k as f64).exp()).collect()
    } else {
        vec![1.0]
    };
    let exponents = |block: usize| per_atom * (loss.first + (block * powers.len()) as i64) as f64;
    let (mut top, mut sum) = (f64::NEG_INFINITY, 0.0);
    for (block, atoms) in loss.mass.chunks(powers.len()).enumerate() {
        let part: f64 = atoms.iter().zip(&powers).map(|(f, p)| f * p).sum();
        if part > 0.0 {
            let ln_part = part.ln() + exponents(block);
            if ln_part > top {
                sum = sum * (top - ln_part).exp() + 1.0;
                top = ln_part;
            } else {
                sum += (ln_part - top).exp();
            }
        }
    }
    top + sum.ln()
}

/// Calls `add` with f(ℓ) e^{λℓ}/M(λ) for each place ℓ/h of a circle of `length` places.
fn tilt_into(loss: &PrivacyLoss, lambda: f64, mut add: impl FnMut(usize, f64), length: usize) {
    let ln_normaliser = ln_moment(loss, lambda);
    let mut at = loss.first.rem_euclid(length as i64) as usize;
    for (k, mass) in loss.mass.iter().enumerate() {
        if *mass > 0.0 {
            let exponent = lambda * (loss.first + k as i64) as f64 * loss.step - ln_normaliser;
            // In one exponential where the factors alone could overflow.
            add(at, if exponent.abs() < 600.0 { mass * exponent.exp() } else { (mass.ln() + exponent).exp() });
        }
        at += 1;
        if at == length {
            at = 0;
        }
    }
}

/// zᵗ by squaring; each of the products that make it errs by √5·u at most.
fn power(z: Complex<f64>, mut t: u64) -> Complex<f64> {
    let (mut result, mut square) = (Complex::new(1.0, 0.0), z);
    while t > 0 {
        if t & 1 == 1 {
            result *= square;
        }
        t >>= 1;
        if t > 0 {
            square *= square;
        }
    }
    result
}

/// The least 2^k or 3·2^k that is not below `points`.
fn fft_length(points: f64) -> Option<usize> {
    let mut length = 16_usize;
    while (length as f64) < points {
        length = if length.is_power_of_two() { length / 2 * 3 } else { length / 3 * 4 };
        if length > LENGTH_MAX {
            return None;
        }
    }
    Some(length)
}

/// Where on λ > 0 a quasi-convex function is least, and its value: golden section on ln λ from 1e-4 to 5 per `step`.
///
/// A larger λ would weigh neighbouring grid points so differently that what rounding moved up by one of them decides.
fn minimum(step: f64, f: impl Fn(f64) -> f64) -> (f64, f64) {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let (mut low, mut high) = ((1e-4_f64).ln(), (5.0 / step).clamp(1e-3, 1e6).ln());
    let mut inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
    let mut values = inner.map(|x| f(x.exp()));
    while high - low > 1e-3 {
        if values[0] <= values[1] {
            high = inner[1];
            inner = [high - GOLDEN * (high - low), inner[0]];
            values = [f(inner[0].exp()), values[0]];
        } else {
            low = inner[0];
            inner = [inner[1], low + GOLDEN * (high - low)];
            values = [values[1], f(inner[1].exp())];
        }
    }
    let best = if values[0] <= values[1] { 0 } else { 1 };
    (inner[best].exp(), values[best])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Randomised response: loss ±`cells`·h, kept with probability e^{ε₀}/(1 + e^{ε₀}).
    fn response(cells: i64, step: f64) -> (PrivacyLoss, f64) {
        let kept = 1.0 / (1.0 + (-(cells as f64) * step).exp());
        let mut mass = vec![0.0; 2 * cells as usize + 1];
        mass[0] = 1.0 - kept;
        mass[2 * cells as usize] = kept;
        (PrivacyLoss { first: -cells, step, mass, infinity: 0.0 }, kept)
    }

    /// δ(ε) of `count` responses, by the binomial distribution, smallest terms first.
    fn exact_delta(count: u32, kept: f64, loss: f64, epsilon: f64) -> f64 {
        let mut ln_choose = 0.0_f64;
        let mut terms = Vec::new();
        for flipped in 0..=count {
            let total = (f64::from(count) - 2.0 * f64::from(flipped)) * loss;
            if total > epsilon {
                let ln = ln_choose + f64::from(count - flipped) * kept.ln() + f64::from(flipped) * (-kept).ln_1p();
                terms.push(-ln.exp() * (epsilon - total).exp_m1());
            }
            ln_choose += (f64::from(count - flipped) / f64::from(flipped + 1)).ln();
        }
        terms.iter().rev().sum()
    }

    #[test]
    fn composed_randomised_response_has_its_binomial_tail_however_small() {
        let step = 1e-3;
        for (cells, count) in [(100, 1), (100, 50), (20, 2000), (7, 20_000)] {
            let (loss, kept) = response(cells, step);
            let parts = [(loss, u64::from(count))];
            let composition = Composition::new(&parts);
            let spread = (f64::from(count)).sqrt() * cells as f64 * step;
            for epsilon in [0.3 * spread, 2.0 * spread, 6.0 * spread] {
                let exact = exact_delta(count, kept, cells as f64 * step, epsilon);
                let ours = composition.deltas(&[epsilon]).unwrap()[0];
                assert!(ours >= exact, "{cells} {count} {epsilon}: {ours} < {exact}");
                assert!(ours <= exact * (1.0 + 1e-5) + 1e-30, "{cells} {count} {epsilon}: {ours} ≫ {exact}");
            }
        }
    }

    #[test]
    fn different_losses_compose_like_their_convolution() {
        let step = 1e-2;
        let (a, b) = (response(3, step).0, response(50, step).0);
        let mut mass = vec![0.0; a.mass.len() + b.mass.len() - 1];
        for (i, x) in a.mass.iter().enumerate() {
            for (j, y) in b.mass.iter().enumerate() {
                mass[i + j] += x * y;
            }
        }
        let product = [(PrivacyLoss { first: a.first + b.first, step, mass, infinity: 0.0 }, 7)];
        let apart = [(a, 7), (b, 7)];
        for delta in [1e-2, 1e-6, 1e-10] {
            let (one, two) =
                (Composition::new(&product).epsilon(delta).unwrap(), Composition::new(&apart).epsilon(delta).unwrap());
            assert!((one - two).abs() < 1e-7, "{one} {two}");
        }
    }

    #[test]
    fn the_transform_errs_less_than_is_charged() {
        for length in [1 << 10, 3 << 10, 3 << 14, 1 << 17] {
            let signal: Vec<Complex<f64>> = (0..length)
                .map(|k| Complex::new((-1e-3 * f64::from(k)).exp() * (1.0 + f64::from(k % 7)), 0.0))
                .collect();
            let norm = |x: &mut dyn Iterator<Item = Complex<f64>>| x.map(|v| v.norm_sqr()).sum::<f64>().sqrt();
            let mut there_and_back = signal.clone();
            let mut planner = FftPlanner::new();
            planner.plan_fft_forward(length as usize).process(&mut there_and_back);
            planner.plan_fft_inverse(length as usize).process(&mut there_and_back);
            let scale = 1.0 / f64::from(length);
            let error = norm(&mut there_and_back.iter().zip(&signal).map(|(x, y)| *x * scale - y));
            let bound = 2.0 * 32.0 * UNIT * f64::from(length).log2() * norm(&mut signal.iter().copied());
            assert!(error <= bound / 4.0, "{length}: {error:e} of {bound:e}");
        }
    }

    #[test]
    fn infinite_losses_are_charged_to_delta() {
        let (mut loss, _) = response(10, 1e-2);
        loss.infinity = 1e-9;
        let parts = [(loss, 1000)];
        let composition = Composition::new(&parts);
        assert_eq!(composition.epsilon(9e-7).unwrap(), f64::INFINITY);
        assert!(composition.epsilon(1.1e-6).unwrap().is_finite());
        assert!(composition.deltas(&[1e3]).unwrap()[0] >= 1e-6);
    }

    #[test]
    fn a_window_that_no_transform_holds_is_refused_with_the_factor_that_helps() {
        let refused = Composition::new(&[(response(4000, 1e-6).0, 1_000_000)]).epsilon(1e-6);
        let Err(TooFine { factor }) = refused else { panic!("{refused:?}") };
        assert!(factor > 1.0);
        // The same losses on a grid that is coarser by more than this factor.
        let coarser = factor.ceil() as i64;
        let fits = Composition::new(&[(response(4000 / coarser, 1e-6 * coarser as f64).0, 1_000_000)]).epsilon(1e-6);
        assert!(fits.is_ok(), "{fits:?}");
    }
}
