//! Settings of a network and the presets that have published warm starts.
//!
//! Settings travel in the model's manifest; two programs that agree on them agree on the layout.

use forecastle_crypto::identity::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::ModelError;
use crate::data::{
    series::Frequency,
    signals::{Chosen, Inputs, KnownFeature, PastChannel},
    window::WindowShape,
};

/// Names of the presets.
pub const PRESETS: [&str; 5] = ["nano-daily", "nano-weekly", "nano-weekly-long", "small-daily", "small-weekly"];

/// Settings of the patch encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Step of the series it forecasts.
    pub frequency: Frequency,
    /// Steps of the past, a multiple of `patch` and of `season`.
    pub context: usize,
    /// Steps of the future, a multiple of `patch`.
    pub horizon: usize,
    /// Steps a token.
    pub patch: usize,
    /// Steps of a season of the structural skip: 7 for daily sales, 1 for none, 52 for weeks of a year.
    pub season: usize,
    /// Width of a token.
    pub d_model: usize,
    /// Encoder blocks.
    pub layers: usize,
    /// Attention heads; `d_model / heads` is even.
    pub heads: usize,
    /// Width inside a block's feed-forward part.
    pub feedforward: usize,
    /// Numbers that the encoder hands to the day head for each future step.
    pub day_features: usize,
    /// Width inside the day head.
    pub day_hidden: usize,
    /// Whether the channels of the day's place in the year are read. With less than two years of history they are
    /// a clock that never returned, and training learns dates by heart.
    pub year_waves: bool,
    /// What the encoder corrects.
    #[serde(default, skip_serializing_if = "SkipKind::is_default")]
    pub skip: SkipKind,
    /// Whether a negative binomial of each step is forecast beside the quantiles.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counts: bool,
    /// Whether the share of each step's sales that comes back is forecast beside the quantiles.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub returns: bool,
    /// Which parameters rounds train.
    #[serde(default, skip_serializing_if = "Trained::is_default")]
    pub trained: Trained,
    /// Digest of the sentence encoder whose vectors the text's weights were trained with; hashed n-grams where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_encoder: Option<Sha256Digest>,
    /// Channels of the past that it reads beside the target; none by default.
    #[serde(default, skip_serializing_if = "Chosen::is_empty")]
    pub past_channels: Chosen<PastChannel>,
    /// Channels known in advance that it reads beside those that every model reads; none by default.
    #[serde(default, skip_serializing_if = "Chosen::is_empty")]
    pub known_channels: Chosen<KnownFeature>,
    /// Whether it reads vectors that merchants bring for their products.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub vectors: bool,
}

/// What the encoder's output corrects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SkipKind {
    /// The structural forecast of level, season and drift.
    #[default]
    Structural,
    /// A constant, the mean of the context: the encoder has to find everything itself. For comparisons.
    Mean,
}

impl SkipKind {
    /// Whether it is that of models whose settings name none.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Which parameters rounds train; each set holds those before it.
///
/// Under differential privacy the noise norm grows with the square root of their number, so a federation trains as many
/// as its series can pay for: a few hundred series pay for the heads, several thousand for everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trained {
    /// The structural forecast, effects of known channels, and the output layer.
    Skip,
    /// And the day head, which turns the encoder's codes into corrections.
    #[default]
    Heads,
    /// And gains, biases and gates of the encoder, whose matrices stay (Ben Zaken, Goldberg and Ravfogel 2022).
    Adapters,
    /// Everything.
    All,
}

impl Trained {
    /// All sets, smallest first.
    pub const ALL: [Self; 4] = [Self::Skip, Self::Heads, Self::Adapters, Self::All];

    /// Whether it is the set of models whose settings name none.
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the encoder stays as it is, so that its codes can be computed once.
    pub fn freezes_the_encoder(self) -> bool {
        self <= Self::Heads
    }
}

impl std::fmt::Display for Trained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Skip => "skip",
            Self::Heads => "heads",
            Self::Adapters => "adapters",
            Self::All => "all",
        })
    }
}

impl std::str::FromStr for Trained {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        let found = Self::ALL.into_iter().find(|set| set.to_string() == name);
        found.ok_or_else(|| ModelError::Setting {
            setting: "trained",
            why: format!("`{name}` is none of skip, heads, adapters, all"),
        })
    }
}

impl ModelConfig {
    /// A preset by name, one of [`PRESETS`].
    ///
    /// # Errors
    /// [`ModelError::Preset`] lists the names there are.
    pub fn preset(name: &str) -> Result<Self, ModelError> {
        let nano = Self {
            frequency: Frequency::Daily,
            context: 112,
            horizon: 28,
            patch: 7,
            season: 7,
            d_model: 32,
            layers: 2,
            heads: 4,
            feedforward: 128,
            day_features: 8,
            day_hidden: 10,
            year_waves: false,
            skip: SkipKind::Structural,
            counts: false,
            returns: false,
            trained: Trained::Heads,
            text_encoder: None,
            past_channels: Chosen::default(),
            known_channels: Chosen::default(),
            vectors: false,
        };
        let small = Self {
            d_model: 128,
            layers: 4,
            heads: 8,
            feedforward: 512,
            day_features: 16,
            day_hidden: 16,
            ..nano.clone()
        };
        let weekly =
            |daily| Self { frequency: Frequency::Weekly, context: 52, horizon: 13, patch: 1, season: 1, ..daily };
        match name {
            "nano-daily" => Ok(nano),
            "nano-weekly" => Ok(weekly(nano)),
            "nano-weekly-long" => Ok(Self { horizon: 39, season: 52, ..weekly(nano) }),
            "small-daily" => Ok(small),
            "small-weekly" => Ok(weekly(small)),
            other => Err(ModelError::Preset(other.into())),
        }
    }

    /// Extent of the windows that such a network reads.
    pub fn shape(&self) -> WindowShape {
        WindowShape { context: self.context, horizon: self.horizon }
    }

    /// What it reads beside numbers, calendar, attributes and text.
    pub fn inputs(&self) -> Inputs {
        let Self { past_channels, known_channels, vectors, returns, .. } = *self;
        Inputs { past_channels, known_channels, vectors, returns }
    }

    /// The same network, set to read these inputs and no others.
    #[must_use]
    pub fn with_inputs(self, inputs: Inputs) -> Self {
        let Inputs { past_channels, known_channels, vectors, returns } = inputs;
        Self { past_channels, known_channels, vectors, returns, ..self }
    }

    /// Width of one attention head.
    pub fn head_width(&self) -> usize {
        self.d_model / self.heads
    }

    /// Tokens of the past.
    pub fn past_tokens(&self) -> usize {
        self.context / self.patch
    }

    /// Tokens of the future.
    pub fn future_tokens(&self) -> usize {
        self.horizon / self.patch
    }

    /// Checks that a network of these settings exists and is of a bounded size.
    ///
    /// # Errors
    /// [`ModelError::Setting`] names the first setting that does not fit.
    pub fn check(&self) -> Result<(), ModelError> {
        let refuse = |setting, why: String| Err(ModelError::Setting { setting, why });
        for (setting, value, max) in [
            ("context", self.context, 4096),
            ("horizon", self.horizon, 1024),
            ("patch", self.patch, 512),
            ("season", self.season, 512),
            ("d_model", self.d_model, 2048),
            ("layers", self.layers, 64),
            ("heads", self.heads, 64),
            ("feedforward", self.feedforward, 8192),
            ("day_features", self.day_features, 1024),
            ("day_hidden", self.day_hidden, 1024),
        ] {
            if value == 0 || value > max {
                return refuse(setting, format!("{value} is not within 1..={max}"));
            }
        }
        if !self.context.is_multiple_of(self.patch) {
            return refuse("context", format!("{} is no multiple of patch {}", self.context, self.patch));
        }
        if !self.context.is_multiple_of(self.season) {
            return refuse("context", format!("{} is no multiple of season {}", self.context, self.season));
        }
        if !self.horizon.is_multiple_of(self.patch) {
            return refuse("horizon", format!("{} is no multiple of patch {}", self.horizon, self.patch));
        }
        if !self.d_model.is_multiple_of(self.heads) || !self.head_width().is_multiple_of(2) {
            let why = format!("{} heads do not cut d_model {} into even widths", self.heads, self.d_model);
            return refuse("heads", why);
        }
        Ok(())
    }
}
