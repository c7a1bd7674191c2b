//! Text and attributes as vectors, without a vocabulary of the merchants' own.
//!
//! A vocabulary or a list of categories would be a statistic of the merchants' catalogues; salted hashing needs
//! none. The salt is public and part of a model's definition: every merchant of a federation must hash alike.
//!
//! In place of hashed n-grams, texts can be read by a sentence encoder that the merchant has on its disk ([`bert`]). Its
//! vectors are brought to the model's length ([`projection`]), kept by content ([`cache`]) and given to a model that was
//! not trained with others ([`inputs`]). Attributes stay hashed.
//!
//! No text reaches a log, an error or a file of vectors.

pub mod bert;
pub mod cache;
pub mod inputs;
mod ngram;
pub mod projection;

pub use ngram::{DEFAULT_SALT, HashedNgrams, hash_attributes};

/// Turns a text into a vector of fixed length.
pub trait TextEncoder {
    /// The vector of a text, always of the same length; all 0 for a text that says nothing.
    fn encode(&self, text: &str) -> Vec<f32>;
}
