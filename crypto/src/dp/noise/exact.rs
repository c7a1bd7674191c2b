//! An exact discrete Gaussian sampler after Canonne, Kamath and Steinke 2020 (Algorithms 1 to 3), in integers.
//!
//! The proposal is a discrete Laplace of integer scale t = ⌊σ⌋+1; a proposal y is kept with probability
//! exp(−(|y| − σ²/t)²/2σ²), which for σ² = a/b is exp(−(|y|·b·t − a)² / (2·a·b·t²)).
//!
//! Where the paper flips Bernoulli(γ/k) coins, this file compares lazily drawn uniforms (Forsythe 1972): with
//! U₁, U₂, … uniform, the chain γ > U₁ > U₂ > … has at least k members with probability γ^k/k!, so its length is even
//! with probability Σ(−γ)^k/k! = exp(−γ). A uniform is drawn 32 binary digits at a time and only as far as a
//! comparison needs, ties included, so nothing is truncated. The single departure from exactness: a proposal so far
//! out that its acceptance probability is below exp(−2^31) is refused without a draw, to stay inside 128 bits.

use aes::Aes256;
use ctr::cipher::{KeyIvInit, StreamCipher};
use zeroize::{Zeroize, Zeroizing};

use super::{NoiseError, NoiseSource, Variance};
use crate::entropy::{self, SystemEntropy};

/// The exact sampler over an AES-256-CTR keystream. No `Debug`: its state predicts the noise.
pub struct ExactSampler {
    digits: Keystream,
}

impl ExactSampler {
    /// A sampler seeded with 256 bits from the operating system.
    ///
    /// # Errors
    /// [`NoiseError::Entropy`] when there are none.
    pub fn new() -> Result<Self, NoiseError> {
        let seed = entropy::array::<32>(&mut SystemEntropy::new())?;
        Ok(Self { digits: Keystream::new(&seed) })
    }

    pub(super) fn digits(&mut self) -> &mut Keystream {
        &mut self.digits
    }

    /// Whether all digits so far were random ones.
    pub(super) fn checked(&self) -> Result<(), NoiseError> {
        if self.digits.exhausted { Err(NoiseError::Exhausted) } else { Ok(()) }
    }

    /// A sampler whose noise anyone who knows `seed` can subtract: for tests and simulations only.
    pub fn danger_from_seed(seed: [u8; 32]) -> Self {
        Self { digits: Keystream::new(&seed) }
    }
}

impl NoiseSource for ExactSampler {
    fn add_discrete_gaussian(&mut self, variance: Variance, out: &mut [i64]) -> Result<(), NoiseError> {
        let gaussian = Gaussian::new(variance);
        for slot in out {
            *slot = slot.wrapping_add(gaussian.sample(&mut self.digits));
        }
        self.checked()
    }

    fn name(&self) -> &'static str {
        "forecastle-exact-discrete-gaussian"
    }
}

/// σ² = a/b prepared for sampling.
struct Gaussian {
    /// t, the proposal's scale.
    t: u32,
    /// b·t.
    bt: u128,
    /// a.
    a: u128,
    /// 2·a·b·t², below 2^96.
    denominator: u128,
}

impl Gaussian {
    fn new(variance: Variance) -> Self {
        let t = variance.proposal_scale();
        Self {
            t: u32::try_from(t).expect("invariant: 2·a·b·t² < 2^96 with a ≥ b·(t−1)² keeps t below 2^25"),
            bt: u128::from(variance.denominator()) * u128::from(t),
            a: u128::from(variance.numerator()),
            denominator: variance.acceptance_denominator().expect("invariant: checked when the variance was made"),
        }
    }

    fn sample(&self, digits: &mut Keystream) -> i64 {
        loop {
            let y = laplace(self.t, digits);
            let distance = (u128::from(y.unsigned_abs()) * self.bt).abs_diff(self.a);
            // Beyond 2^64 the square would overflow; γ is then above 2^128 / 2^96.
            if distance < 1 << 64 && exp_is_kept(distance * distance, self.denominator, digits) {
                return y;
            }
        }
    }
}

/// Discrete Laplace of scale `t`: P(x) ∝ exp(−|x|/t). A geometric variable is put together from its remainder and
/// quotient by t.
fn laplace(t: u32, digits: &mut Keystream) -> i64 {
    loop {
        let remainder = below(t, digits);
        if !chain_is_even(u128::from(remainder), u128::from(t), digits) {
            continue;
        }
        let mut quotient = 0i64;
        while chain_from_one_is_even(digits) {
            quotient += 1;
        }
        // The quotient passes 2^31 with probability exp(−2^31).
        let magnitude = i64::from(remainder) + quotient.min(1 << 31) * i64::from(t);
        let negative = digits.next() & 1 == 1;
        if negative && magnitude == 0 {
            continue; // zero has one sign
        }
        return if negative { -magnitude } else { magnitude };
    }
}

/// True with probability exp(−numerator/denominator): whole parts one by one, then the fraction.
fn exp_is_kept(mut numerator: u128, denominator: u128, digits: &mut Keystream) -> bool {
    while numerator >= denominator {
        if !chain_from_one_is_even(digits) {
            return false;
        }
        numerator -= denominator;
    }
    chain_is_even(numerator, denominator, digits)
}

/// Uniform in `0..bound` without bias (Lemire 2019).
pub(super) fn below(bound: u32, digits: &mut Keystream) -> u32 {
    let mut product = u64::from(digits.next()) * u64::from(bound);
    if (product as u32) < bound {
        let reject_below = bound.wrapping_neg() % bound;
        while (product as u32) < reject_below {
            product = u64::from(digits.next()) * u64::from(bound);
        }
    }
    (product >> 32) as u32
}

/// The parity of Forsythe's chain below γ = numerator/denominator ≤ 1, denominator < 2^96: even with probability
/// exp(−γ).
fn chain_is_even(numerator: u128, denominator: u128, digits: &mut Keystream) -> bool {
    let mut first = Uniform::draw(digits);
    if !first.is_below_fraction(numerator, denominator, digits) {
        return true;
    }
    chain_below(first, digits)
}

/// [`chain_is_even`] at γ = 1, where the first comparison always holds.
fn chain_from_one_is_even(digits: &mut Keystream) -> bool {
    let first = Uniform::draw(digits);
    chain_below(first, digits)
}

/// The parity of a chain that has one member, `last`, so far.
fn chain_below(mut last: Uniform, digits: &mut Keystream) -> bool {
    let mut even = false;
    loop {
        let mut next = Uniform::draw(digits);
        if !next.is_below(&mut last, digits) {
            return even;
        }
        even = !even;
        last = next;
    }
}

/// A real number uniform in [0, 1), of which only as many digits to base 2^32 exist as were looked at.
struct Uniform {
    head: u32,
    tail: Vec<u32>,
}

impl Uniform {
    fn draw(digits: &mut Keystream) -> Self {
        Self { head: digits.next(), tail: Vec::new() }
    }

    /// Whether this number is smaller than `numerator/denominator` ≤ 1; denominator < 2^96.
    fn is_below_fraction(&mut self, numerator: u128, denominator: u128, digits: &mut Keystream) -> bool {
        // The fraction's digits, by long division without dividing: with r/denominator what is left of it after the
        // digits so far, its next digit q is the one with q·denominator ≤ r·2^32 < (q+1)·denominator.
        let mut left = numerator << 32;
        let mut digit = self.head;
        let mut place = 0;
        loop {
            let at = u128::from(digit) * denominator;
            if left <= at {
                return false; // this digit is larger, or equal with nothing of the fraction left
            }
            if left - at >= denominator {
                return true;
            }
            left = (left - at) << 32;
            digit = self.tail_digit(place, digits);
            place += 1;
        }
    }

    /// Whether this number is smaller than `other`; equality has probability 0 and never ends the loop.
    fn is_below(&mut self, other: &mut Self, digits: &mut Keystream) -> bool {
        if self.head != other.head {
            return self.head < other.head;
        }
        let mut place = 0;
        loop {
            let (own, others) = (self.tail_digit(place, digits), other.tail_digit(place, digits));
            if own != others {
                return own < others;
            }
            place += 1;
            if digits.exhausted {
                return false;
            }
        }
    }

    #[cold]
    fn tail_digit(&mut self, place: usize, digits: &mut Keystream) -> u32 {
        while self.tail.len() <= place {
            self.tail.push(digits.next());
        }
        self.tail[place]
    }
}

/// Random digits to base 2^32.
pub(super) struct Keystream {
    cipher: ctr::Ctr128BE<Aes256>,
    buffer: Zeroizing<Vec<u8>>,
    at: usize,
    exhausted: bool,
}

impl Keystream {
    const BUFFER: usize = 4096;

    fn new(seed: &[u8; 32]) -> Self {
        let cipher = ctr::Ctr128BE::new(seed.into(), &[0u8; 16].into());
        Self { cipher, buffer: Zeroizing::new(vec![0; Self::BUFFER]), at: Self::BUFFER, exhausted: false }
    }

    #[inline]
    pub(super) fn next(&mut self) -> u32 {
        if self.at == Self::BUFFER {
            self.refill();
        }
        let mut word = [0u8; 4];
        word.copy_from_slice(&self.buffer[self.at..self.at + 4]);
        self.at += 4;
        u32::from_le_bytes(word)
    }

    /// Whether the keystream ended; digits are no longer random then.
    pub(super) fn exhausted(&self) -> bool {
        self.exhausted
    }

    #[cold]
    fn refill(&mut self) {
        self.buffer.zeroize();
        self.buffer.resize(Self::BUFFER, 0);
        // A counter of 128 bits is not used up by any real run; if it were, the caller learns it before releasing.
        self.exhausted |= self.cipher.try_apply_keystream(&mut self.buffer).is_err();
        self.at = 0;
    }
}
