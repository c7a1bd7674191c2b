//! A local sentence encoder of the BERT family, in the layout of sentence-transformers, run on this machine's device.
//!
//! A folder with `config.json`, `tokenizer.json` and `model.safetensors` gives one vector a text; `modules.json` and
//! `1_Pooling/config.json` say how tokens become one vector, the mean of all where they are missing. Nothing is downloaded
//! and nothing is trained: the encoder is the merchant's own file. Its vectors are held against sentence-transformers'
//! own in the tests.
//!
//! Invariant: a text's vector is a function of that text and the folder, up to the rounding of a device's kernels; texts
//! that are encoded together do not see each other.
//!
//! Left out on purpose: families with relative or rotary positions, modules beyond pooling and normalisation, prompts
//! before a text.

mod directory;
mod error;
mod network;
mod pooling;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;
mod weights;

use std::path::PathBuf;

pub use directory::Directory;
pub use error::EncoderError;

use self::{network::Network, settings::Settings, tokens::Tokens, weights::Weights};
use crate::device::{self, Work, in_passes, passes};

/// Tokens of one pass, padding included; bounds memory.
const PASS_TOKENS_MAX: usize = 1 << 14;

/// An encoder ready to run, on the device that this thread had when it was loaded.
pub struct SentenceEncoder {
    settings: Settings,
    tokens: Tokens,
    network: Network,
    path: PathBuf,
}

impl SentenceEncoder {
    /// Unpacks an encoder.
    ///
    /// # Errors
    /// [`EncoderError`] names the tensor that is missing or misshapen, or what is wrong with the tokenizer.
    pub fn load(directory: &Directory) -> Result<Self, EncoderError> {
        let settings = directory.settings.clone();
        let tokens = Tokens::new(&directory.tokenizer, &settings)?;
        let weights = Weights::new(&directory.weights, &settings)?;
        let network = Network::new(&weights, &settings, device::place().device())?;
        Ok(Self { settings, tokens, network, path: directory.path().to_owned() })
    }

    /// One vector a text, in order, as long as the encoder is wide.
    ///
    /// # Errors
    /// [`EncoderError::Tokens`], [`EncoderError::NotFinite`] or [`EncoderError::Device`]; none holds the text.
    pub fn vectors(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EncoderError> {
        let tokens = texts.iter().map(|text| self.tokens.of(text)).collect::<Result<Vec<_>, _>>()?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        // Texts of like lengths together: little padding, few shapes.
        order.sort_by_key(|&text| tokens[text].len());
        let mut vectors = vec![Vec::new(); texts.len()];
        let mut rest = &order[..];
        while let Some(&shortest) = rest.first() {
            let width = self.width(tokens[shortest].len());
            let most = (PASS_TOKENS_MAX / width).max(1);
            let count = rest.iter().take(most).take_while(|&&text| tokens[text].len() <= width).count();
            let (group, later) = rest.split_at(count);
            rest = later;
            let pass = |piece: std::ops::Range<usize>| {
                let rows = device::place().passes().rows_for(piece.len());
                let pieces: Vec<&[u32]> = group[piece].iter().map(|&text| &tokens[text][..]).collect();
                Ok::<_, EncoderError>(passes::read(self.network.forward(&pieces, rows, width))?)
            };
            in_passes(Work::Rows, group.len(), pass, |piece, values| {
                for (&text, vector) in group[piece].iter().zip(values.chunks_exact(self.settings.hidden)) {
                    vectors[text] = self.finished(vector)?;
                }
                Ok(())
            })?;
        }
        Ok(vectors)
    }

    /// Tokens to which a text of `count` is padded: a power of two from 8 on.
    fn width(&self, count: usize) -> usize {
        count.next_power_of_two().max(8).min(self.settings.longest.max(count))
    }

    fn finished(&self, vector: &[f32]) -> Result<Vec<f32>, EncoderError> {
        if vector.iter().any(|value| !value.is_finite()) {
            return Err(EncoderError::NotFinite(self.path.clone()));
        }
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        let scale = if self.settings.normalized && norm > 0.0 { norm.recip() } else { 1.0 };
        Ok(vector.iter().map(|x| x * scale).collect())
    }
}
