//! The encoder's numbers, out of a safetensors file: each tensor there, of the shape that the settings call for, finite.

use burn::tensor::f16;
use safetensors::{Dtype, SafeTensors};

use super::{
    EncoderError,
    directory::FileBytes,
    settings::{Family, Settings},
};

/// The tensors of one file. Numbers of 16 bits are widened to 32.
pub(super) struct Weights<'a> {
    file: &'a FileBytes,
    tensors: SafeTensors<'a>,
    /// Begins every name where the encoder was saved as part of something larger.
    prefix: &'static str,
}

/// Names of one block's parts.
pub(super) struct LayerNames {
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) attention_output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) output_norm: &'static str,
}

impl Family {
    /// Where block `layer` begins.
    pub(super) fn layer(self, layer: usize) -> String {
        match self {
            Self::Bert | Self::Roberta => format!("encoder.layer.{layer}"),
            Self::DistilBert => format!("transformer.layer.{layer}"),
        }
    }

    pub(super) fn names(self) -> LayerNames {
        match self {
            Self::Bert | Self::Roberta => LayerNames {
                query: "attention.self.query",
                key: "attention.self.key",
                value: "attention.self.value",
                attention_output: "attention.output.dense",
                attention_norm: "attention.output.LayerNorm",
                up: "intermediate.dense",
                down: "output.dense",
                output_norm: "output.LayerNorm",
            },
            Self::DistilBert => LayerNames {
                query: "attention.q_lin",
                key: "attention.k_lin",
                value: "attention.v_lin",
                attention_output: "attention.out_lin",
                attention_norm: "sa_layer_norm",
                up: "ffn.lin1",
                down: "ffn.lin2",
                output_norm: "output_layer_norm",
            },
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Bert => "bert.",
            Self::Roberta => "roberta.",
            Self::DistilBert => "distilbert.",
        }
    }
}

/// Name of the table of words, which every encoder has.
pub(super) const WORDS: &str = "embeddings.word_embeddings.weight";

impl<'a> Weights<'a> {
    pub(super) fn new(file: &'a FileBytes, settings: &Settings) -> Result<Self, EncoderError> {
        let tensors = SafeTensors::deserialize(&file.bytes)
            .map_err(|error| file.refuse(&format!("is no safetensors file ({error}): save the encoder again")))?;
        let prefix = if tensors.tensor(WORDS).is_ok() { "" } else { settings.family.prefix() };
        let prefix = if tensors.tensor(&format!("{prefix}{WORDS}")).is_ok() { prefix } else { "" };
        Ok(Self { file, tensors, prefix })
    }

    /// A tensor of this shape, row by row.
    pub(super) fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, EncoderError> {
        let name = format!("{}{name}", self.prefix);
        let refuse = |why: String| EncoderError::Tensor { path: self.file.path.clone(), tensor: name.clone(), why };
        let tensor = self
            .tensors
            .tensor(&name)
            .map_err(|_| refuse("is missing: config.json is of another encoder, or save this one again".into()))?;
        if tensor.shape() != shape {
            return Err(refuse(format!(
                "has the shape {:?}, config.json calls for {shape:?}: the files are of different encoders",
                tensor.shape()
            )));
        }
        let bytes = tensor.data();
        let two = |read: fn([u8; 2]) -> f32| bytes.chunks_exact(2).map(|b| read([b[0], b[1]])).collect::<Vec<f32>>();
        let values = match tensor.dtype() {
            Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F16 => two(|b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => two(|b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            other => return Err(refuse(format!("holds {other:?}; save the encoder with F32, F16 or BF16"))),
        };
        if values.iter().any(|value| !value.is_finite()) {
            return Err(refuse("holds an infinite or undefined number: save the encoder again".into()));
        }
        Ok(values)
    }

    /// A linear part's matrix, turned from `[out, in]` as it is stored to `[in, out]`, and its bias `[out]`.
    pub(super) fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<(Vec<f32>, Vec<f32>), EncoderError> {
        let stored = self.get(&format!("{name}.weight"), &[outputs, inputs])?;
        let mut turned = vec![0.0; stored.len()];
        for (output, row) in stored.chunks_exact(inputs).enumerate() {
            for (input, value) in row.iter().enumerate() {
                turned[input * outputs + output] = *value;
            }
        }
        Ok((turned, self.get(&format!("{name}.bias"), &[outputs])?))
    }
}
