//! From an encoder's width to the model's: a fixed random projection.
//!
//! A model reads text vectors of one length, encoders come in many widths. Multiplying by a matrix of random signs, scaled by
//! 1/√k, keeps the distances between vectors up to a factor near 1 (Johnson and Lindenstrauss; with signs: Achlioptas,
//! "Database-friendly random projections", JCSS 66, 2003, theorem 1.1). With k = 256 the cosine of two vectors changes
//! by some 1/√256 = 0.06, whatever the width.
//!
//! The signs are the bits of SHA-256 over a fixed label and the row's number. So the matrix is no secret and no parameter:
//! everybody who reads this has the same one on every machine, it never changes, and what a model learned from one
//! merchant's vectors holds for another's. Nothing is fitted to any catalogue, which would be a statistic of it.

use ring::digest::{SHA256, digest};

use crate::data::window::TEXT_BUCKETS;

/// Begins what each row's signs are hashed from.
const LABEL: &[u8] = b"forecastle text projection 1";

// One digest holds the signs of one row.
const _: () = assert!(TEXT_BUCKETS == 256, "a row of the projection takes the 256 bits of one digest");

/// `vector · R` scaled to Euclidean norm 1 (all 0 where the product is), `[TEXT_BUCKETS]`, where R is
/// `[vector.len(), TEXT_BUCKETS]` of ±1.
///
/// The factor 1/√k cancels in the norm.
pub fn project(vector: &[f32]) -> Vec<f32> {
    let mut sum = vec![0.0f64; TEXT_BUCKETS];
    let mut input = LABEL.to_vec();
    for (row, &value) in vector.iter().enumerate() {
        input.truncate(LABEL.len());
        input.extend_from_slice(&(row as u32).to_le_bytes());
        let signs = digest(&SHA256, &input);
        for (column, sum) in sum.iter_mut().enumerate() {
            let positive = signs.as_ref()[column / 8] >> (column % 8) & 1 == 1;
            *sum += if positive { f64::from(value) } else { -f64::from(value) };
        }
    }
    let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { norm.recip() } else { 0.0 };
    sum.iter().map(|x| (x * scale) as f32).collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha12Rng;

    use super::*;

    fn cosine(a: &[f32], b: &[f32]) -> f32 {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn the_signs_are_the_same_on_every_machine() {
        // Bits of SHA-256("forecastle text projection 1" ‖ 00000000), computed with Python's hashlib.
        let projected = project(&[2.0]);
        let first: Vec<i32> = projected[..16].iter().map(|x| if *x > 0.0 { 1 } else { 0 }).collect();
        assert_eq!(first, [0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0]);
        assert!(projected.iter().all(|x| (x.abs() - 1.0 / 16.0).abs() < 1e-7));
    }

    #[test]
    fn angles_between_vectors_are_nearly_kept() {
        // The change has a standard deviation of at most 1/16; four of them are exceeded once in 15,000.
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        for width in [16, 384, 1024] {
            let mut vector = || (0..width).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<f32>>();
            for _ in 0..20 {
                let (a, b) = (vector(), vector());
                let mixed: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + 0.5 * b).collect();
                for (x, y) in [(&a, &b), (&a, &mixed)] {
                    let (before, after) = (cosine(x, y), cosine(&project(x), &project(y)));
                    assert!((before - after).abs() < 0.25, "{width}: {before} {after}");
                }
            }
        }
    }

    #[test]
    fn the_norm_is_one_whatever_the_size_and_nothing_stays_nothing() {
        let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        assert!((norm(&project(&[1e-20, 3e-20])) - 1.0).abs() < 1e-6);
        assert!((norm(&project(&[1e20, 3e20])) - 1.0).abs() < 1e-6);
        assert_eq!(project(&[0.0; 384]), vec![0.0; TEXT_BUCKETS]);
        assert_eq!(project(&[1.0, 2.0]), project(&[2.0, 4.0]));
    }
}
