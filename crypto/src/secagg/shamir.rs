//! Shamir secret sharing (1979) of 32-byte secrets over GF(2⁸).
//!
//! Each byte is the constant term of its own random polynomial of degree t−1; a holder has the values at its
//! [`Point`], 1 to 255, so a secret never lies on one. The field is that of FIPS 197: x⁸+x⁴+x³+x+1. Secrets are only ever
//! multiplied by public numbers, points or interpolation coefficients: by doubling and adding all 32 bytes side by side,
//! with branches on the public number and without tables indexed by secrets.
//!
//! The invariant: any t shares give the secret, fewer say nothing about it. A wrong share is *not* noticed here;
//! whoever reconstructs compares the result with a commitment (`recover` takes that check as an argument).

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::graph::Point;
use crate::entropy::{Entropy, EntropyUnavailable};

/// The length of a secret and of a share, in bytes.
pub const SECRET_LENGTH: usize = 32;

/// One participant's share of a secret. Secret itself: no `Debug`, wiped on drop.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Share(pub(crate) [u8; SECRET_LENGTH]);

/// Adds `factor`·`values` into `sum`, byte by byte; `factor` is public. `values` are doubled on the way.
fn add_product<const N: usize>(sum: &mut [u8; N], values: &mut [u8; N], factor: u8) {
    let mut left = factor;
    while left != 0 {
        if left & 1 == 1 {
            sum.iter_mut().zip(&*values).for_each(|(s, v)| *s ^= v);
        }
        // The sign bit, spread over the byte, says where the doubling left the field.
        values.iter_mut().for_each(|v| *v = (*v << 1) ^ (0x1b & (v.cast_signed() >> 7).cast_unsigned()));
        left >>= 1;
    }
}

/// Discrete logarithms to base 3 and their inverse, for *public* numbers only: evaluation points.
static LOGARITHMS: ([u8; 256], [u8; 255]) = logarithms();

const fn logarithms() -> ([u8; 256], [u8; 255]) {
    let (mut logarithm, mut power) = ([0u8; 256], [0u8; 255]);
    let (mut value, mut exponent) = (1u8, 0usize);
    while exponent < 255 {
        power[exponent] = value;
        logarithm[value as usize] = exponent as u8;
        let doubled = (value << 1) ^ if value >> 7 == 1 { 0x1b } else { 0 };
        value ^= doubled; // times 3, which generates the multiplicative group
        exponent += 1;
    }
    (logarithm, power)
}

/// Shares `secret` among `holders` of them so that any `threshold` reconstruct it: the shares at the points 1, 2, ….
///
/// # Errors
/// [`EntropyUnavailable`] when the polynomials' coefficients cannot be drawn.
pub fn split(
    secret: &[u8; SECRET_LENGTH],
    threshold: u16,
    holders: usize,
    entropy: &mut dyn Entropy,
) -> Result<Vec<Share>, EntropyUnavailable> {
    let degree = usize::from(threshold).saturating_sub(1);
    let mut coefficients = Zeroizing::new(vec![[0u8; SECRET_LENGTH]; degree]);
    entropy.fill(coefficients.as_flattened_mut())?;
    let at = |point: Point| {
        // Horner's rule, from the highest coefficient down to the secret.
        let (mut value, mut next) = (Share([0; SECRET_LENGTH]), Zeroizing::new([0; SECRET_LENGTH]));
        for row in coefficients.iter().rev().chain([secret]) {
            *next = *row;
            add_product(&mut next, &mut value.0, point.get());
            value.0 = *next;
        }
        value
    };
    Ok((0..holders).map_while(Point::of_rank).map(at).collect())
}

/// The value at `point` of the polynomials through `shares`; `point` 0 is the secret.
fn interpolate(shares: &[(Point, &Share)], point: u8) -> Share {
    let (mut value, mut term) = (Share([0; SECRET_LENGTH]), Zeroizing::new([0; SECRET_LENGTH]));
    for (own, share) in shares {
        *term = share.0;
        add_product(&mut value.0, &mut term, lagrange(shares, *own, point));
    }
    value
}

/// Π_{j≠i} (point − x_j)/(x_i − x_j), where x_i is `own`; only public numbers enter.
fn lagrange(shares: &[(Point, &Share)], own: Point, point: u8) -> u8 {
    let (logarithm, power) = &LOGARITHMS;
    let mut exponent = 0u32;
    for (other, _) in shares.iter().filter(|(other, _)| *other != own) {
        if point == other.get() {
            return 0;
        }
        let above = logarithm[usize::from(point ^ other.get())];
        let below = logarithm[usize::from(own.get() ^ other.get())];
        exponent += 255 + u32::from(above) - u32::from(below);
    }
    power[(exponent % 255) as usize]
}

/// What [`recover`] found.
pub(crate) enum Recovered {
    /// The secret, and whose shares disagree with it (empty when the first t shares sufficed, or nothing certain can be said).
    Secret(Zeroizing<[u8; SECRET_LENGTH]>, Vec<Point>),
    /// No t shares that were tried belong to the committed secret.
    Nothing,
}

/// How many subsets are tried before giving up; they are needed only against someone who sends wrong shares.
const ATTEMPTS: usize = 4_096;

/// Reconstructs from at least `threshold` shares with distinct holders, where `is_committed` recognises the right
/// secret. Wrong shares are survived as long as leaving out one or two of the first t + 2 holders helps, or another
/// run of t consecutive holders is clean. Their holders are named where nobody else can have been framed by
/// `colluders` liars, or by as many as would be named.
pub(crate) fn recover(
    shares: &[(Point, &Share)],
    threshold: u16,
    colluders: u16,
    is_committed: impl Fn(&[u8; SECRET_LENGTH]) -> bool,
) -> Recovered {
    let t = usize::from(threshold);
    if t == 0 || shares.len() < t {
        return Recovered::Nothing;
    }
    for (attempt, subset) in subsets(shares.len(), t).take(ATTEMPTS).enumerate() {
        let chosen: Vec<_> = subset.iter().map(|&i| shares[i]).collect();
        let secret = interpolate(&chosen, 0);
        if is_committed(&secret.0) {
            if attempt == 0 {
                // Nothing was wrong where it mattered; the shares beyond the first t are not looked at.
                return Recovered::Secret(Zeroizing::new(secret.0), Vec::new());
            }
            let wrong: Vec<Point> = shares
                .iter()
                .filter(|(point, share)| interpolate(&chosen, point.get()).0 != share.0)
                .map(|(point, _)| *point)
                .collect();
            // Liars could choose their errors so that they cancel at the secret and make honest shares look wrong. But this
            // polynomial and the dealer's agree at the secret and wherever nobody is named and nobody lies; where that
            // makes t points, they are one.
            let liars = wrong.len().max(usize::from(colluders));
            let certain = wrong.len() + liars <= shares.len() + 1 - t;
            let wrong = if certain { wrong } else { Vec::new() };
            return Recovered::Secret(Zeroizing::new(secret.0), wrong);
        }
    }
    Recovered::Nothing
}

/// Subsets of t out of `count` indices, the likeliest first: the first t, windows of t, then the first t+1 without one
/// and the first t+2 without two.
fn subsets(count: usize, t: usize) -> impl Iterator<Item = Vec<usize>> {
    let windows = (0..=count - t).map(move |start| (start..start + t).collect());
    let without_one = (count > t).then(|| (0..t).map(move |out| (0..=t).filter(|&i| i != out).collect()));
    let without_two = (count > t + 1).then(|| {
        (0..t + 2).flat_map(move |a| (a + 1..t + 2).map(move |b| (0..t + 2).filter(|&i| i != a && i != b).collect()))
    });
    windows.chain(without_one.into_iter().flatten()).chain(without_two.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use proptest::prelude::*;

    fn pointed(shares: &[Share]) -> Vec<(Point, &Share)> {
        shares.iter().enumerate().map(|(rank, share)| (Point::of_rank(rank).expect("below 255"), share)).collect()
    }

    fn entropy(seed: [u8; 32]) -> SeededEntropy {
        SeededEntropy::danger_from_seed(seed)
    }

    fn multiply(a: u8, b: u8) -> u8 {
        let mut product = [0];
        add_product(&mut product, &mut [a], b);
        product[0]
    }

    #[test]
    fn field_arithmetic_matches_fips_197() {
        // FIPS 197 §4.2: {57}·{83} = {c1}, {57}·{13} = {fe}; {53}⁻¹ = {ca}.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert_eq!(multiply(0x57, 0x13), 0xfe);
        assert_eq!(multiply(0x53, 0xca), 1);
        let (logarithm, power) = &LOGARITHMS;
        for a in 1..=255u8 {
            let inverse = power[(255 - usize::from(logarithm[usize::from(a)])) % 255];
            assert_eq!(multiply(a, inverse), 1, "{a}");
            assert_eq!(power[usize::from(logarithm[usize::from(a)])], a);
            assert_eq!(multiply(a, 1), a);
            assert_eq!(multiply(a, 0), 0);
        }
    }

    #[test]
    fn a_known_polynomial_gives_known_shares() {
        // f(x) = 0x2a ⊕ 0x07·x over GF(2⁸): f(1) = 0x2d, f(2) = 0x24, f(3) = 0x23.
        struct Sevens;
        impl Entropy for Sevens {
            fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyUnavailable> {
                out.fill(7);
                Ok(())
            }
        }
        let shares = split(&[0x2a; 32], 2, 3, &mut Sevens).expect("entropy");
        let bytes: Vec<u8> = shares.iter().map(|share| share.0[0]).collect();
        assert_eq!(bytes, vec![0x2d, 0x24, 0x23]);
        assert_eq!(interpolate(&pointed(&shares)[1..], 0).0, [0x2a; 32]);
    }

    #[test]
    fn fewer_shares_than_the_threshold_fit_every_secret() {
        // With t = 3, two shares and any guess of the secret determine a polynomial: the shares exclude nothing.
        let shares = split(&[9; 32], 3, 5, &mut entropy([1; 32])).expect("entropy");
        assert!(matches!(recover(&pointed(&shares)[..2], 3, 0, |_| true), Recovered::Nothing));
        assert_ne!(interpolate(&pointed(&shares)[..2], 0).0, [9; 32]);
    }

    #[test]
    fn liars_whose_errors_cancel_frame_nobody() {
        // t = 2 of holders 1 to 4, the secret's polynomial constant 0. Holder 1 lies so that attempt one fails; 2 and 3
        // choose errors that cancel at the secret: the line through their shares passes through 0 but misses 4.
        let shares = [9, 2, 3, 0].map(|byte| Share([byte; 32]));
        assert_eq!(interpolate(&pointed(&shares)[1..3], 0).0, [0; 32]);
        match recover(&pointed(&shares), 2, 0, |found| found == &[0; 32]) {
            Recovered::Secret(_, named) => assert!(named.is_empty(), "{named:?}"),
            Recovered::Nothing => panic!("the secret is there"),
        }
    }

    #[test]
    fn liars_that_are_reckoned_with_frame_nobody() {
        // The polynomial is constant 0 again. Holders 2 and 3 return points of another line through the secret, which
        // leaves out holder 1, who told the truth: one liar could not do that, two can.
        let shares = [0, 2, 3].map(|byte| Share([byte; 32]));
        let named = |colluders| match recover(&pointed(&shares), 2, colluders, |found| found == &[0; 32]) {
            Recovered::Secret(_, named) => named,
            Recovered::Nothing => panic!("the secret is there"),
        };
        assert_eq!(named(1).iter().map(|point| point.get()).collect::<Vec<_>>(), [1]);
        assert!(named(2).is_empty());
    }

    #[test]
    fn at_most_255_hold_shares() {
        assert_eq!(split(&[1; 32], 2, 300, &mut entropy([2; 32])).expect("entropy").len(), 255);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_threshold_of_shares_gives_the_secret(
            secret in any::<[u8; 32]>(), seed in any::<[u8; 32]>(), t in 1u16..20, extra in 0usize..10, rotate in any::<usize>(),
        ) {
            let n = usize::from(t) + extra;
            let shares = split(&secret, t, n, &mut entropy(seed)).expect("entropy");
            let mut shares = pointed(&shares);
            shares.rotate_left(rotate % n);
            prop_assert_eq!(interpolate(&shares[..usize::from(t)], 0).0, secret);
        }

        #[test]
        fn one_or_two_wrong_shares_are_survived_and_nobody_is_framed(
            secret in any::<[u8; 32]>(), seed in any::<[u8; 32]>(), t in 2u16..12, a in any::<usize>(), b in any::<usize>(),
        ) {
            let n = usize::from(t) + 2;
            let mut shares = split(&secret, t, n, &mut entropy(seed)).expect("entropy");
            let mut wrong = vec![a % n, b % n];
            wrong.sort_unstable();
            wrong.dedup();
            wrong.iter().for_each(|rank| shares[*rank].0[5] ^= 0x40);
            match recover(&pointed(&shares), t, 0, |found| found == &secret) {
                Recovered::Secret(found, named) => {
                    let named: Vec<usize> = named.iter().map(|point| point.rank()).collect();
                    prop_assert_eq!(*found, secret);
                    // An honest holder is never named; a single liar among the first t always is.
                    prop_assert!(named.iter().all(|rank| wrong.contains(rank)));
                    let needed = wrong.iter().any(|rank| *rank < usize::from(t));
                    prop_assert!(wrong.len() > 1 || (named == wrong) == needed);
                }
                Recovered::Nothing => prop_assert!(false, "two wrong shares of {} at t = {} were not survived", n, t),
            }
        }
    }
}
