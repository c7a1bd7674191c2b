//! Text and attributes as vectors, without a vocabulary.
//!
//! A vocabulary or a list of categories would be a statistic of the merchants' catalogues; salted hashing needs
//! none. The salt is public and part of a model's definition: every merchant of a federation must hash alike.

mod ngram;

pub use ngram::{DEFAULT_SALT, HashedNgrams, hash_attributes};

/// Turns a text into a vector of fixed length.
pub trait TextEncoder {
    /// The vector of a text, always of the same length; all 0 for a text that says nothing.
    fn encode(&self, text: &str) -> Vec<f32>;
}
