//! Texts as token numbers, cut as the encoder's `tokenizer.json` says.
//!
//! The file's own padding and truncation are set aside: lengths are decided here.

use tokenizers::{Tokenizer, TruncationParams};

use super::{EncoderError, directory::FileBytes, settings::Settings};

/// Characters of a text that are looked at; far more than any encoder has positions for.
const TEXT_CHARACTERS_MAX: usize = 20_000;

/// A tokenizer whose every token has a row in the encoder's table.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    path: std::path::PathBuf,
    settings: Settings,
}

impl Tokens {
    pub(super) fn new(file: &FileBytes, settings: &Settings) -> Result<Self, EncoderError> {
        let unusable =
            |error| file.refuse(&format!("is no tokenizer that can be run ({error}): save the encoder again"));
        let mut tokenizer = Tokenizer::from_bytes(&file.bytes).map_err(unusable)?;
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: settings.longest, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(unusable)?;
        let highest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
        if highest >= settings.vocabulary {
            let why = format!(
                "has a token {highest}, but config.json has a vocabulary of {}: the files are of different encoders",
                settings.vocabulary
            );
            return Err(file.refuse(&why));
        }
        Ok(Self { tokenizer, path: file.path.clone(), settings: settings.clone() })
    }

    /// Numbers of a text's tokens, its ends included: at least one, at most the encoder's longest.
    pub(super) fn of(&self, text: &str) -> Result<Vec<u32>, EncoderError> {
        let failed = || EncoderError::Tokens(self.path.clone());
        let text: String = text.trim().chars().take(TEXT_CHARACTERS_MAX).collect();
        let text = if self.settings.lower_case { text.to_lowercase() } else { text };
        // What the tokenizer says of a failure may hold the text.
        let encoding = self.tokenizer.encode_fast(text, true).map_err(|_| failed())?;
        let ids = encoding.get_ids();
        let known = ids.iter().all(|&id| (id as usize) < self.settings.vocabulary);
        let fits = (1..=self.settings.longest).contains(&ids.len());
        if known && fits { Ok(ids.to_vec()) } else { Err(failed()) }
    }
}
