//! Training: clipped gradients for private rounds, and plain training that never leaves the merchant.
//!
//! Two kinds of training share the network and nothing else. [`private`] yields a clipped gradient sum,
//! [`contribution`] what follows from it in a round: noise is added before anything leaves. [`local`] and [`plain`] are
//! ordinary training; their results stay at the merchant, because nothing bounds what they tell about a person.
//!
//! Left out on purpose: noise. It is drawn in integers by the cryptographic core, never by a tensor library.

mod adamw;
pub mod contribution;
pub mod local;
pub mod merchant;
pub mod per_example;
pub mod plain;
pub mod private;
pub mod sampler;
mod sgd;
mod windows;

pub use adamw::AdamW;
pub use contribution::{ContributionError, LocalSteps, RoundTraining};
pub use local::{LocalOutcome, LocalTraining, LocalTrainingError, Progress};
pub use per_example::{GradientError, clipped_gradient_sum, clipped_gradients, finite_gradient_sum};
pub use plain::{PlainError, Rule, Subset, Trainer, weighted_quantile_loss};
pub use private::{PrivateStep, PrivateStepError, TrainingSeries};
pub use sampler::{EntropyError, Sampling};
pub use sgd::Sgd;
pub use windows::{CutWindows, Windows};
