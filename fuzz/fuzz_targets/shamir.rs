//! Sharing and recovering secrets.
//!
//! Any t shares give the secret, as plain Lagrange interpolation says. Wrong shares lead to the committed secret or to
//! nothing, never to another one; one or two are survived where one or two more than t are there, and no holder of a right
//! share is named unless more lie than are reckoned with.
#![no_main]

use forecastle_crypto::{fuzzing, identity::sha256};
use forecastle_fuzz::seeds;
use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};

/// A product in the field of FIPS 197 the slow way: reduce the product of polynomials by x⁸+x⁴+x³+x+1.
fn multiply(a: u8, b: u8) -> u8 {
    let product = (0..8).filter(|bit| b >> bit & 1 == 1).fold(0u16, |sum, bit| sum ^ u16::from(a) << bit);
    (8..16).rev().fold(product, |rest, bit| if rest >> bit & 1 == 1 { rest ^ 0x11b << (bit - 8) } else { rest }) as u8
}

fn divide(a: u8, b: u8) -> u8 {
    // b²⁵⁴ is its inverse.
    (0..254).fold(a, |product, _| multiply(product, b))
}

/// Σ share_i · Π_{j≠i} x_j / (x_j − x_i): the polynomial's value at 0.
fn constant_term(shares: &[(u8, [u8; 32])]) -> [u8; 32] {
    let mut secret = [0; 32];
    for (point, share) in shares {
        let others = shares.iter().map(|(other, _)| *other).filter(|other| other != point);
        let factor = others.fold(1, |factor, other| multiply(factor, divide(other, other ^ point)));
        secret.iter_mut().zip(share).for_each(|(sum, value)| *sum ^= multiply(*value, factor));
    }
    secret
}

fn run(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let threshold = input.int_in_range(1..=24u16)?;
    let holders = usize::from(threshold) + input.int_in_range(0..=12usize)?;
    let secret: [u8; 32] = input.arbitrary()?;
    let dealt = fuzzing::split(&secret, threshold, holders, sha256(&secret).0).expect("a keystream");
    assert_eq!(dealt.len(), holders);

    // Some return nothing, the rest in any order, and some of those another share.
    let mut shares: Vec<(u8, [u8; 32])> = (1..).zip(dealt).collect();
    for _ in 0..input.int_in_range(0..=4u8)? {
        let (a, b) = (input.choose_index(shares.len())?, input.choose_index(shares.len())?);
        shares.swap(a, b);
    }
    shares.truncate(input.int_in_range(1..=holders)?);
    let mut wrong = Vec::new();
    for _ in 0..input.int_in_range(0..=6u8)? {
        let (at, byte, flips) =
            (input.choose_index(shares.len())?, input.choose_index(32)?, input.int_in_range(1..=255u8)?);
        let (point, share) = &mut shares[at];
        if !wrong.contains(point) {
            share[byte] ^= flips;
            wrong.push(*point);
        }
    }

    let (t, r) = (usize::from(threshold), shares.len());
    // No more lie than are reckoned with, as many as there are.
    let colluders = u16::try_from(wrong.len()).expect("a few");
    let plain = fuzzing::recover(&shares, threshold, colluders, |_| true);
    if r < t {
        assert_eq!(plain, None, "fewer than t shares gave something");
        return Ok(());
    }
    assert_eq!(plain.map(|(found, _)| found), Some(constant_term(&shares[..t])));
    let survived = wrong.len() <= (r - t).min(2);
    match fuzzing::recover(&shares, threshold, colluders, |found| *found == secret) {
        Some((found, named)) => {
            assert_eq!(found, secret);
            assert!(named.iter().all(|point| wrong.contains(point)), "a holder of a right share was named");
        }
        None => assert!(!survived, "{} wrong of {r} at t = {t} were not survived", wrong.len()),
    }
    assert_eq!(fuzzing::recover(&shares, threshold, colluders, |_| false), None);
    Ok(())
}

fuzz_target!(
    init: seeds("shamir", || vec![vec![0; 60], (0..160).collect::<Vec<u8>>(), vec![4; 90], [[2, 9].as_slice(), &[77; 80]].concat()]),
    |data: &[u8]| {
        _ = run(data);
    }
);
