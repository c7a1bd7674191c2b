//! Why a sentence encoder cannot be used: each reason names the file, the setting or tensor, and what to do.
//!
//! No reason holds a text that was to be encoded.

use std::path::PathBuf;

use crate::{
    device::{DeviceFailure, passes::DeviceCause},
    durable::DiskError,
};

/// Why a folder is no encoder that this program can run, or why it encoded nothing.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// A file that every such folder has.
    #[error(
        "{} is missing: save the encoder in the layout of sentence-transformers, with a fast tokenizer and safetensors weights",
        .0.display()
    )]
    Missing(PathBuf),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A file beyond what is read.
    #[error("{} is larger than the {max} bytes that are read: choose a smaller encoder", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// The limit.
        max: u64,
    },
    /// A file that cannot be read as what it should be.
    #[error("{} {why}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A setting that is missing, out of bounds, or asks for what this program cannot do.
    #[error("{}: `{setting}` {why}", path.display())]
    Setting {
        /// Which file.
        path: PathBuf,
        /// Which setting.
        setting: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A tensor that is missing or not what the settings call for.
    #[error("{}: tensor `{tensor}` {why}", path.display())]
    Tensor {
        /// Which file.
        path: PathBuf,
        /// Which tensor.
        tensor: String,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The tokenizer failed at a text.
    #[error("{} cannot cut one of the texts into tokens: choose another encoder", .0.display())]
    Tokens(PathBuf),
    /// A vector with an infinite or undefined number.
    #[error("{} gives a vector that is no number for one of the texts: choose another encoder", .0.display())]
    NotFinite(PathBuf),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceFailure),
}

impl DeviceCause for EncoderError {
    fn device_failure(&self) -> Option<&DeviceFailure> {
        match self {
            Self::Device(failure) => Some(failure),
            _ => None,
        }
    }
}
