//! A local sentence encoder of the BERT family, in the layout of sentence-transformers, run on this machine's device.
//!
//! A folder with `config.json`, `tokenizer.json` and `model.safetensors` gives one vector a text; `modules.json` and
//! `1_Pooling/config.json` say how tokens become one vector, the mean of all where they are missing. Nothing is downloaded
//! and nothing is trained: the encoder is the merchant's own file. Its vectors are held against sentence-transformers'
//! own in the tests.
//!
//! Invariant: a text's vector is a function of that text and the folder alone, whatever is encoded beside it. Another
//! device, or another build, may round differently.
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

use std::{ops::Range, path::PathBuf};

pub use directory::Directory;
pub use error::EncoderError;

use self::{network::Network, settings::Settings, tokens::Tokens, weights::Weights};
use crate::device::{self, Place, Work, in_passes, passes};

/// Tokens of a GPU's pass, padding included; bounds memory.
const PASS_TOKENS: usize = 1 << 14;
/// Fewest tokens to which a GPU's texts are padded.
const WIDTH_MIN: usize = 8;

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
        if device::place().is_cpu() { self.one_by_one(&tokens) } else { self.in_filled_passes(&tokens) }
    }

    /// Each text by itself, without padding, texts on every core. A processor gains little from larger passes.
    fn one_by_one(&self, tokens: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, EncoderError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let work = |part: &[Vec<u32>]| {
            device::on(Place::CPU, || {
                let one =
                    |tokens: &Vec<u32>| self.finished(&passes::read(self.network.forward(&[tokens], 1, tokens.len()))?);
                part.iter().map(one).collect::<Result<Vec<_>, _>>()
            })
        };
        let parts = std::thread::scope(|scope| {
            let parts = tokens.chunks(tokens.len().div_ceil(threads).max(1));
            let running: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
            running
                .into_iter()
                .map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Result<Vec<_>, _>>()
        })?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Texts of like lengths together, each pass filled up: how large it is depends on a text's own length alone, so that
    /// other texts do not choose the kernels that compute it (see [`Passes::filled`](device::Passes)).
    fn in_filled_passes(&self, tokens: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, EncoderError> {
        let mut vectors = vec![Vec::new(); tokens.len()];
        let width = |text: usize| tokens[text].len().next_power_of_two().max(WIDTH_MIN);
        let mut order: Vec<usize> = (0..tokens.len()).collect();
        order.sort_by_key(|&text| width(text));
        for alike in order.chunk_by(|&a, &b| width(a) == width(b)) {
            let width = width(alike[0]);
            for group in alike.chunks((PASS_TOKENS / width).max(1)) {
                let pass = |piece: Range<usize>| {
                    let rows = (PASS_TOKENS / width).clamp(1, device::place().passes().rows).max(piece.len());
                    let texts: Vec<&[u32]> = group[piece].iter().map(|&text| &tokens[text][..]).collect();
                    Ok::<_, EncoderError>(passes::read(self.network.forward(&texts, rows, width))?)
                };
                in_passes(Work::Rows, group.len(), pass, |piece, values| {
                    for (&text, vector) in group[piece].iter().zip(values.chunks_exact(self.settings.hidden)) {
                        vectors[text] = self.finished(vector)?;
                    }
                    Ok(())
                })?;
            }
        }
        Ok(vectors)
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
