//! What the files of an encoder's folder say about it, every number within bounds.

use std::{ops::RangeInclusive, path::Path};

use serde_json::{Map, Value};

use super::{EncoderError, pooling::Pooling};

/// Largest width of a token.
const HIDDEN_MAX: usize = 4096;
/// Most blocks.
const LAYERS_MAX: usize = 64;
/// Most attention heads.
const HEADS_MAX: usize = 64;
/// Largest width inside a block's feed-forward part.
const FEEDFORWARD_MAX: usize = 16_384;
/// Most words.
const VOCABULARY_MAX: usize = 1 << 20;
/// Most positions of a text.
const POSITIONS_MAX: usize = 8192;
/// Most kinds of segments.
const KINDS_MAX: usize = 16;

/// A family of encoders: the same network, other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", NAACL 2019.
    Bert,
    /// Liu et al., "RoBERTa", 2019: positions are counted from beyond the padding token's number.
    Roberta,
    /// Sanh et al., "DistilBERT", 2019: no kinds of segments.
    DistilBert,
}

/// An encoder's settings.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) family: Family,
    /// Width of a token, and of the vector.
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) feedforward: usize,
    pub(super) vocabulary: usize,
    /// Rows of the table of positions.
    pub(super) positions: usize,
    /// Row of a text's first token in it.
    pub(super) first_position: usize,
    /// Rows of the table of segments; 0 where there is none.
    pub(super) kinds: usize,
    /// Added to a variance before its root is taken.
    pub(super) norm_epsilon: f64,
    /// Most tokens of a text that are read, its ends included.
    pub(super) longest: usize,
    /// Whether texts are lower-cased before the tokenizer sees them.
    pub(super) lower_case: bool,
    pub(super) pooling: Pooling,
    /// Whether vectors are scaled to norm 1.
    pub(super) normalized: bool,
}

/// The folder's files of settings.
pub(super) struct Files<'a> {
    pub(super) config: Json<'a>,
    /// `sentence_bert_config.json`.
    pub(super) limits: Option<Json<'a>>,
    /// `tokenizer_config.json`.
    pub(super) tokenizer: Option<Json<'a>>,
    pub(super) pooling: Option<Json<'a>>,
}

impl Files<'_> {
    /// The settings that they amount to.
    pub(super) fn settings(&self, normalized: bool) -> Result<Settings, EncoderError> {
        let config = &self.config;
        let family = match config.word("model_type")? {
            Some("bert") => Family::Bert,
            Some("roberta" | "xlm-roberta" | "camembert") => Family::Roberta,
            Some("distilbert") => Family::DistilBert,
            other => {
                let found = other.map_or("is missing".to_owned(), |word| format!("is `{word}`"));
                let why = format!("{found}; bert, roberta, xlm-roberta, camembert and distilbert are run: choose one");
                return Err(config.refuse("model_type", why));
            }
        };
        let [hidden, layers, heads, feedforward, activation] = match family {
            Family::DistilBert => ["dim", "n_layers", "n_heads", "hidden_dim", "activation"],
            _ => ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act"],
        };
        config.expect(activation, "gelu")?;
        config.expect("position_embedding_type", "absolute")?;
        let hidden = config.count(hidden, 1..=HIDDEN_MAX)?;
        let head_count = config.count(heads, 1..=HEADS_MAX)?;
        if !hidden.is_multiple_of(head_count) {
            return Err(config.refuse(heads, format!("is {head_count}, which does not divide the width {hidden}")));
        }
        let vocabulary = config.count("vocab_size", 1..=VOCABULARY_MAX)?;
        let positions = config.count("max_position_embeddings", 1..=POSITIONS_MAX)?;
        let first_position = match family {
            Family::Roberta => 1 + config.optional_count("pad_token_id", 0..=POSITIONS_MAX)?.unwrap_or(1),
            _ => 0,
        };
        let usable = positions.saturating_sub(first_position);
        if usable < 2 {
            let why = format!("is {positions}, which leaves no place for a text");
            return Err(config.refuse("max_position_embeddings", why));
        }
        let (kinds, norm_epsilon) = match family {
            Family::DistilBert => (0, 1e-12),
            _ => (config.count("type_vocab_size", 1..=KINDS_MAX)?, config.number("layer_norm_eps", 1e-12, 1e-1)?),
        };
        Ok(Settings {
            family,
            hidden,
            layers: config.count(layers, 1..=LAYERS_MAX)?,
            heads: head_count,
            feedforward: config.count(feedforward, 1..=FEEDFORWARD_MAX)?,
            vocabulary,
            positions,
            first_position,
            kinds,
            norm_epsilon,
            longest: self.longest(usable)?,
            lower_case: self.limits.as_ref().map_or(Ok(None), |limits| limits.flag("do_lower_case"))?.unwrap_or(false),
            pooling: self.pooling(hidden)?,
            normalized,
        })
    }

    /// Most tokens: what the encoder was made for, else what its tokenizer says, never more than it has positions.
    fn longest(&self, usable: usize) -> Result<usize, EncoderError> {
        let told = match &self.limits {
            Some(limits) => limits.optional_count("max_seq_length", 2..=usize::MAX)?,
            None => None,
        };
        let told = match (told, &self.tokenizer) {
            // A tokenizer without a limit writes a number beyond all counts.
            (None, Some(tokenizer)) => {
                let limit = tokenizer.fields.get("model_max_length").and_then(Value::as_f64);
                limit.filter(|limit| *limit >= 2.0).map(|limit| limit as usize)
            }
            (told, _) => told,
        };
        Ok(told.unwrap_or(usable).min(usable))
    }

    fn pooling(&self, hidden: usize) -> Result<Pooling, EncoderError> {
        let Some(file) = &self.pooling else { return Ok(Pooling::Mean) };
        if let Some(width) = file.optional_count("word_embedding_dimension", 1..=usize::MAX)?
            && width != hidden
        {
            let why = format!("is {width}, but a token has {hidden} numbers: the files are of different encoders");
            return Err(file.refuse("word_embedding_dimension", why));
        }
        let mut asked = Vec::new();
        for (setting, value) in &file.fields {
            if setting.starts_with("pooling_mode") {
                match value {
                    Value::Bool(false) => {}
                    Value::Bool(true) => asked.push((setting.as_str(), setting.as_str())),
                    Value::String(word) => asked.push((setting.as_str(), word.as_str())),
                    _ => {
                        return Err(
                            file.refuse(setting, "is neither yes, no nor a name: save the encoder again".into())
                        );
                    }
                }
            }
        }
        match asked[..] {
            [(_, "pooling_mode_mean_tokens" | "mean")] => Ok(Pooling::Mean),
            [(_, "pooling_mode_cls_token" | "cls")] => Ok(Pooling::First),
            [(_, "pooling_mode_max_tokens" | "max")] => Ok(Pooling::Max),
            [] => Err(file.refuse("pooling_mode", "is missing: save the encoder again".into())),
            [(setting, _), ..] => {
                let why = "asks for what is not run: choose an encoder that takes the mean, the first or the largest of \
                           its tokens, one of them";
                Err(file.refuse(setting, why.into()))
            }
        }
    }
}

/// A file of settings.
pub(super) struct Json<'a> {
    pub(super) path: &'a Path,
    pub(super) fields: Map<String, Value>,
}

impl Json<'_> {
    fn refuse(&self, setting: &str, why: String) -> EncoderError {
        EncoderError::Setting { path: self.path.to_owned(), setting: setting.to_owned(), why }
    }

    /// A setting that may be missing or null.
    fn get(&self, setting: &str) -> Option<&Value> {
        self.fields.get(setting).filter(|value| !value.is_null())
    }

    fn word(&self, setting: &str) -> Result<Option<&str>, EncoderError> {
        self.get(setting)
            .map(|value| value.as_str().ok_or_else(|| self.refuse(setting, "is no word".into())))
            .transpose()
    }

    fn flag(&self, setting: &str) -> Result<Option<bool>, EncoderError> {
        self.get(setting)
            .map(|value| value.as_bool().ok_or_else(|| self.refuse(setting, "is neither true nor false".into())))
            .transpose()
    }

    /// Refuses any word but `only`; a missing one means it.
    fn expect(&self, setting: &str, only: &str) -> Result<(), EncoderError> {
        match self.word(setting)? {
            Some(word) if word != only => {
                Err(self.refuse(setting, format!("is `{word}`; only `{only}` is run: choose an encoder with it")))
            }
            _ => Ok(()),
        }
    }

    fn count(&self, setting: &str, within: RangeInclusive<usize>) -> Result<usize, EncoderError> {
        self.optional_count(setting, within)?
            .ok_or_else(|| self.refuse(setting, "is missing: save the encoder again".into()))
    }

    fn optional_count(&self, setting: &str, within: RangeInclusive<usize>) -> Result<Option<usize>, EncoderError> {
        let Some(value) = self.get(setting) else { return Ok(None) };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|n| within.contains(n));
        match count {
            Some(count) => Ok(Some(count)),
            None => {
                let bounds = match *within.end() {
                    usize::MAX => format!("at least {}", within.start()),
                    end => format!("within {}..={end}", within.start()),
                };
                Err(self.refuse(setting, format!("is {value}, not a whole number {bounds}: choose another encoder")))
            }
        }
    }

    /// A positive number of at most `max`.
    fn number(&self, setting: &str, default: f64, max: f64) -> Result<f64, EncoderError> {
        let Some(value) = self.get(setting) else { return Ok(default) };
        match value.as_f64() {
            Some(number) if number > 0.0 && number <= max => Ok(number),
            _ => Err(self.refuse(setting, format!("is {value}, not a number above 0 and at most {max}"))),
        }
    }
}
