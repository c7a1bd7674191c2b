//! Which vectors a model is given for a merchant's texts, and giving them to its series.
//!
//! A merchant may choose a sentence encoder of its own (`text.toml` in the state folder). What a model learned about
//! texts holds for the vectors of one encoder and for no others, so its settings name that encoder, and:
//!
//! | model | merchant | the model is given |
//! |---|---|---|
//! | hashed n-grams | hashed n-grams | hashed n-grams |
//! | an encoder | the same | its vectors |
//! | has learned nothing of texts: its gate is 0 | an encoder | its vectors; they change nothing until the merchant's own fine-tuning opens the gate |
//! | anything else | anything else | no text, as for a product without one |
//!
//! The last row could have been a refusal. But a product without a text is what every model knows how to forecast, the
//! caller is told in a sentence, and a merchant that was turned away for its texts would be missing from a round. Wrong
//! vectors, which look like knowledge and are noise, reach no model.
//!
//! Privacy: a text is authored by the merchant, a vector depends on that text alone, and none is fitted to a catalogue.
//! Vectors stay on this machine.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use forecastle_crypto::identity::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::{
    bert::{Directory, EncoderError, SentenceEncoder},
    cache::VectorCache,
    projection::project,
};
use crate::{
    data::{series::Series, window::TEXT_BUCKETS},
    durable::DiskError,
    model::Model,
};

/// Texts after which the vectors so far are kept.
const KEPT_EVERY: usize = 4096;
/// Texts between two words about progress.
const TOLD_EVERY: usize = 256;

/// The encoder that a merchant chose; kept in `text.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TextChoice {
    /// Its folder.
    pub encoder: PathBuf,
    /// What the folder held when it was chosen (see [`Directory::digest`]).
    pub digest: Sha256Digest,
}

/// What a model is given for texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextInputs {
    /// Hashed n-grams.
    Hashed,
    /// The chosen encoder's vectors, with which the model was trained.
    Encoder,
    /// The chosen encoder's vectors, of which the model has learned nothing yet.
    EncoderUntrained,
    /// Nothing: what the model learned of texts is of other vectors.
    Absent,
}

/// What was done with a merchant's texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TextReport {
    /// What the model is given.
    pub inputs: TextInputs,
    /// Different texts.
    pub texts: usize,
    /// Of them, encoded just now; the others' vectors were kept.
    pub encoded: usize,
}

/// Why texts have no vectors.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The folder cannot be used any more.
    #[error("text encoder: {0}. Or go back to hashed texts with `forecastle data text --hashed`")]
    Encoder(#[from] EncoderError),
    /// The folder holds another encoder by now.
    #[error(
        "{} no longer holds the text encoder that was chosen; choose it again with `forecastle data text --encoder {}`",
        .0.display(), .0.display()
    )]
    Changed(PathBuf),
    /// Vectors cannot be kept.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl TextInputs {
    /// What `model` is given at a merchant that chose an encoder of this digest, or none.
    pub fn of(model: &Model, chosen: Option<Sha256Digest>) -> Self {
        match (model.config().text_encoder, chosen) {
            (None, None) => Self::Hashed,
            (Some(model), Some(chosen)) if model == chosen => Self::Encoder,
            (None, Some(_)) if !model.reads_text() => Self::EncoderUntrained,
            _ => Self::Absent,
        }
    }
}

/// Gives every series the vector of its text that `model` is to see. `kept` is the file of vectors kept from before;
/// `observe(done, of)` is told of texts that have to be encoded.
///
/// # Errors
/// [`TextError`] where an encoder is needed and cannot be used.
pub fn attach(
    model: &Model,
    choice: Option<&TextChoice>,
    kept: &Path,
    series: &mut [Series],
    observe: &mut dyn FnMut(usize, usize),
) -> Result<TextReport, TextError> {
    let inputs = TextInputs::of(model, choice.map(|choice| choice.digest));
    let texts: BTreeSet<String> =
        series.iter().map(|series| series.text.trim().to_owned()).filter(|text| !text.is_empty()).collect();
    let mut report = TextReport { inputs, texts: texts.len(), encoded: 0 };
    let nothing = Arc::new(vec![0.0; TEXT_BUCKETS]);
    match (inputs, choice) {
        (TextInputs::Hashed, _) => {}
        (TextInputs::Encoder | TextInputs::EncoderUntrained, Some(choice)) => {
            let mut cache = VectorCache::open(kept.to_owned(), choice.digest);
            let new: Vec<&str> = texts.iter().map(String::as_str).filter(|text| cache.get(text).is_none()).collect();
            report.encoded = new.len();
            encode(choice, &new, &mut cache, observe)?;
            for series in series {
                let vector = cache.get(series.text.trim());
                series.text_vector = Some(vector.unwrap_or_else(|| Arc::clone(&nothing)));
            }
        }
        _ => series.iter_mut().for_each(|series| series.text_vector = Some(Arc::clone(&nothing))),
    }
    Ok(report)
}

/// Encodes texts into the cache, which is written from time to time.
fn encode(
    choice: &TextChoice,
    texts: &[&str],
    cache: &mut VectorCache,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<(), TextError> {
    if texts.is_empty() {
        return Ok(());
    }
    let directory = Directory::open(&choice.encoder)?;
    if directory.digest() != choice.digest {
        return Err(TextError::Changed(choice.encoder.clone()));
    }
    let encoder = SentenceEncoder::load(&directory)?;
    drop(directory);
    let mut done = 0;
    for part in texts.chunks(TOLD_EVERY) {
        observe(done, texts.len());
        for (text, vector) in part.iter().zip(encoder.vectors(part)?) {
            cache.insert(text, Arc::new(project(&vector)));
        }
        done += part.len();
        if done.is_multiple_of(KEPT_EVERY) {
            cache.save()?;
        }
    }
    observe(done, texts.len());
    Ok(cache.save()?)
}

#[cfg(test)]
#[path = "inputs_tests.rs"]
mod tests;
