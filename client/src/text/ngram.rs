//! The hashing trick (Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009) on
//! character n-grams of 3 to 5 characters.

use ring::digest::{Context, SHA256};

use super::TextEncoder;
use crate::data::window::{ATTRIBUTE_BUCKETS, TEXT_BUCKETS};

/// Salt of models that name no other.
pub const DEFAULT_SALT: &[u8] = b"forecastle hashed inputs 1";

/// Characters of a text that are looked at; titles and short descriptions fit.
const TEXT_CHARACTERS_MAX: usize = 2_000;
/// Lengths of the n-grams.
const NGRAM_LENGTHS: std::ops::RangeInclusive<usize> = 3..=5;

/// Hashed character 3–5-grams of a lower-cased text, `[TEXT_BUCKETS]`, Euclidean norm 1 (all 0 when empty).
///
/// Each n-gram adds +1 or −1 to one bucket, so that collisions cancel on average. Words are delimited by single
/// spaces, so a word's beginning and end are n-grams of their own.
#[derive(Clone, Debug)]
pub struct HashedNgrams {
    salt: Vec<u8>,
}

impl HashedNgrams {
    /// An encoder with a public salt.
    pub fn new(salt: &[u8]) -> Self {
        Self { salt: salt.to_vec() }
    }
}

impl Default for HashedNgrams {
    fn default() -> Self {
        Self::new(DEFAULT_SALT)
    }
}

impl TextEncoder for HashedNgrams {
    fn encode(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; TEXT_BUCKETS];
        let characters = normalized(text);
        let mut gram = String::new();
        for length in NGRAM_LENGTHS {
            for window in characters.windows(length) {
                gram.clear();
                gram.extend(window);
                let hash = salted_hash(&self.salt, &[b"text", gram.as_bytes()]);
                let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
                vector[bucket(hash, TEXT_BUCKETS)] += sign;
            }
        }
        normalize(&mut vector);
        vector
    }
}

/// Attributes as a multi-hot vector, `[ATTRIBUTE_BUCKETS]`, Euclidean norm 1 (all 0 without attributes).
///
/// A pair counts by its name and its value together; empty values are skipped.
pub fn hash_attributes(attributes: &[(String, String)], salt: &[u8]) -> Vec<f32> {
    let mut vector = vec![0.0; ATTRIBUTE_BUCKETS];
    for (name, value) in attributes {
        let value: String = normalized(value).into_iter().collect();
        if !value.is_empty() {
            let hash = salted_hash(salt, &[b"attribute", name.as_bytes(), value.as_bytes()]);
            vector[bucket(hash, ATTRIBUTE_BUCKETS)] = 1.0;
        }
    }
    normalize(&mut vector);
    vector
}

/// Lower-cased characters with every run of spaces, control characters and punctuation as one space; a space
/// before and after.
fn normalized(text: &str) -> Vec<char> {
    let mut characters = vec![' '];
    for character in text.chars().take(TEXT_CHARACTERS_MAX).flat_map(char::to_lowercase) {
        if character.is_alphanumeric() || !character.is_ascii() && !character.is_whitespace() && !character.is_control()
        {
            characters.push(character);
        } else if characters.last() != Some(&' ') {
            characters.push(' ');
        }
    }
    if characters.last() != Some(&' ') {
        characters.push(' ');
    }
    if characters.len() == 1 {
        characters.clear();
    }
    characters
}

/// First 64 bits of SHA-256 over the salt and the length-prefixed parts.
fn salted_hash(salt: &[u8], parts: &[&[u8]]) -> u64 {
    let mut context = Context::new(&SHA256);
    for part in std::iter::once(&salt).chain(parts) {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let digest = context.finish();
    u64::from_le_bytes(std::array::from_fn(|i| digest.as_ref()[i]))
}

/// Bucket from the low 32 bits; the sign uses the highest bit, so the two are independent.
fn bucket(hash: u64, buckets: usize) -> usize {
    (hash & 0xffff_ffff) as usize % buckets
}

fn normalize(vector: &mut [f32]) {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm > 0.0 {
        for x in vector {
            *x /= norm;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cosine(a: &str, b: &str) -> f32 {
        let encoder = HashedNgrams::default();
        encoder.encode(a).iter().zip(encoder.encode(b)).map(|(x, y)| x * y).sum()
    }

    #[test]
    fn case_and_punctuation_do_not_change_the_vector() {
        let encoder = HashedNgrams::default();
        assert_eq!(encoder.encode("Äpfel & Ölkännchen"), encoder.encode("äpfel  ÖLKÄNNCHEN!"));
        assert_ne!(encoder.encode("Äpfel"), encoder.encode("Apfel"));
    }

    #[test]
    fn a_text_of_other_scripts_is_not_empty() {
        assert!(HashedNgrams::default().encode("赤いマグ").iter().any(|x| *x != 0.0));
        assert!(HashedNgrams::default().encode(" -- \u{0} ").iter().all(|x| *x == 0.0));
    }

    #[test]
    fn similar_titles_are_nearer_than_unrelated_ones() {
        assert!(cosine("white metal lantern", "white metal lanterns") > 0.8);
        assert!(cosine("white metal lantern", "chocolate hot water bottle") < 0.4);
    }

    #[test]
    fn another_salt_gives_another_vector() {
        assert_ne!(HashedNgrams::new(b"a").encode("mug"), HashedNgrams::new(b"b").encode("mug"));
    }

    #[test]
    fn the_hash_is_the_same_on_every_platform() {
        // SHA-256 of two length-prefixed parts, first eight bytes, computed with Python's hashlib.
        assert_eq!(salted_hash(b"s", &[b"text", b"mug"]), 0x743785de6c8acb75);
    }

    #[test]
    fn attributes_count_by_name_and_value() {
        let one = hash_attributes(&[("genre".into(), "Bar".into())], DEFAULT_SALT);
        assert_eq!(one, hash_attributes(&[("genre".into(), " bar ".into())], DEFAULT_SALT));
        assert_ne!(one, hash_attributes(&[("area".into(), "Bar".into())], DEFAULT_SALT));
        assert_eq!(hash_attributes(&[("genre".into(), String::new())], DEFAULT_SALT), vec![0.0; ATTRIBUTE_BUCKETS]);
    }

    proptest! {
        #[test]
        fn every_text_has_norm_one_or_zero(text in "\\PC{0,80}") {
            let vector = HashedNgrams::default().encode(&text);
            prop_assert_eq!(vector.len(), TEXT_BUCKETS);
            let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            prop_assert!(norm == 0.0 || (norm - 1.0).abs() < 1e-4);
        }
    }
}
