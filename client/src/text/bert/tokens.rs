//! Texts as token numbers, cut as the encoder's `tokenizer.json` says.
//!
//! The file's own padding and truncation are set aside: lengths are decided here. A damaged file can make the tokenizer
//! panic, with a word that may hold the text; that becomes an error without it.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::Once,
};

use tokenizers::{Tokenizer, TruncationParams};

use super::{EncoderError, directory::FileBytes, settings::Settings};

/// Characters of a text that are looked at; far more than any encoder has positions for.
const TEXT_CHARACTERS_MAX: usize = 20_000;

/// A tokenizer whose every token has a row in the encoder's table.
pub(super) struct Tokens {
    tokenizer: Tokenizer,
    path: PathBuf,
    settings: Settings,
}

impl Tokens {
    pub(super) fn new(file: &FileBytes, settings: &Settings) -> Result<Self, EncoderError> {
        let unusable =
            |why: &str| file.refuse(&format!("is no tokenizer that can be run ({why}): save the encoder again"));
        let read = || {
            let mut tokenizer = Tokenizer::from_bytes(&file.bytes)?;
            tokenizer.with_padding(None);
            let truncation = TruncationParams { max_length: settings.longest, ..TruncationParams::default() };
            tokenizer.with_truncation(Some(truncation))?;
            Ok::<_, tokenizers::Error>(tokenizer)
        };
        let tokenizer = quietly(read).ok_or_else(|| unusable("its parts do not fit together"))?;
        let tokenizer = tokenizer.map_err(|error| unusable(&error.to_string()))?;
        let highest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
        if highest >= settings.vocabulary {
            let why = format!(
                "has a token {highest}, but config.json has a vocabulary of {}: the files are of different encoders",
                settings.vocabulary
            );
            return Err(file.refuse(&why));
        }
        let tokens = Self { tokenizer, path: file.path.clone(), settings: settings.clone() };
        // One that fails at these fails at most others.
        for text in ["a red mug, 2 cups", ""] {
            tokens.of(text).map_err(|_| unusable("it fails at a simple text"))?;
        }
        Ok(tokens)
    }

    /// Numbers of a text's tokens, its ends included: at least one, at most the encoder's longest.
    pub(super) fn of(&self, text: &str) -> Result<Vec<u32>, EncoderError> {
        let failed = || EncoderError::Tokens(self.path.clone());
        let text: String = text.trim().chars().take(TEXT_CHARACTERS_MAX).collect();
        let text = if self.settings.lower_case { text.to_lowercase() } else { text };
        // What the tokenizer says of a failure may hold the text.
        let encoding = quietly(|| self.tokenizer.encode_fast(text, true)).and_then(Result::ok).ok_or_else(failed)?;
        let ids = encoding.get_ids();
        let known = ids.iter().all(|&id| (id as usize) < self.settings.vocabulary);
        let fits = (1..=self.settings.longest).contains(&ids.len());
        if known && fits { Ok(ids.to_vec()) } else { Err(failed()) }
    }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}
static HOOK: Once = Once::new();

/// Does work of which a panic leaves nothing to clean up; `None`, and no word on standard error, where it panicked.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |word| {
            if !QUIET.get() {
                usual(word);
            }
        }));
    });
    QUIET.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(false);
    done.ok()
}
