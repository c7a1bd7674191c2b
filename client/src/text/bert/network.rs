//! The network of BERT (Devlin et al., NAACL 2019): embeddings, then blocks of attention and a feed-forward part, each
//! added to what it read and normalised *after* that.
//!
//! A text's tokens see each other and nothing else; padding is seen by none of them. Left out on purpose: dropout (the
//! network is never trained here), a second segment, the pooler that was trained for other tasks.

use burn::tensor::{Device, Tensor, TensorData, activation};

use super::{
    EncoderError,
    settings::Settings,
    weights::{WORDS, Weights},
};

/// Added to the score of padding: its share becomes exactly 0.
const NEVER: f32 = -1e30;

/// An encoder's network on a device.
pub(super) struct Network {
    settings: Settings,
    device: Device,
    /// `[vocabulary, hidden]`, on the host: of a large table few rows are needed at a time.
    words: Vec<f32>,
    /// Position and segment added up, `[longest, hidden]`.
    places: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    /// Query, key and value beside each other.
    qkv: Linear,
    attention_output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

struct Linear {
    /// `[in, out]`
    weight: Tensor<2>,
    /// `[1, out]`
    bias: Tensor<2>,
}

struct Norm {
    gain: Tensor<2>,
    shift: Tensor<2>,
    epsilon: f64,
}

impl Network {
    pub(super) fn new(weights: &Weights<'_>, settings: &Settings, device: Device) -> Result<Self, EncoderError> {
        let hidden = settings.hidden;
        let words = weights.get(WORDS, &[settings.vocabulary, hidden])?;
        let positions = weights.get("embeddings.position_embeddings.weight", &[settings.positions, hidden])?;
        let mut places = positions[settings.first_position * hidden..][..settings.longest * hidden].to_vec();
        if settings.kinds > 0 {
            let kinds = weights.get("embeddings.token_type_embeddings.weight", &[settings.kinds, hidden])?;
            for place in places.chunks_exact_mut(hidden) {
                place.iter_mut().zip(&kinds).for_each(|(value, kind)| *value += kind);
            }
        }
        let norm = Norm::new(weights, "embeddings.LayerNorm", settings, &device)?;
        let layers = (0..settings.layers)
            .map(|layer| Layer::new(weights, layer, settings, &device))
            .collect::<Result<_, _>>()?;
        Ok(Self { settings: settings.clone(), device, words, places, norm, layers })
    }

    /// Vectors of texts given as tokens, `[rows, hidden]`: as many rows as asked for, those beyond the texts without meaning;
    /// texts are padded to `width` tokens.
    ///
    /// Each text has 1 to `width` tokens, all in the vocabulary.
    pub(super) fn forward(&self, texts: &[&[u32]], rows: usize, width: usize) -> Tensor<2> {
        let hidden = self.settings.hidden;
        let mut embedded = vec![0.0; rows * width * hidden];
        let mut present = vec![0.0f32; rows * width];
        for (row, tokens) in texts.iter().enumerate() {
            for (at, &token) in tokens.iter().enumerate() {
                present[row * width + at] = 1.0;
                let sum = &mut embedded[(row * width + at) * hidden..][..hidden];
                let word = &self.words[token as usize * hidden..][..hidden];
                let place = &self.places[at * hidden..][..hidden];
                sum.iter_mut().zip(word.iter().zip(place)).for_each(|(sum, (word, place))| *sum = word + place);
            }
        }
        for row in texts.len()..rows {
            present[row * width] = 1.0;
        }
        let hidden_from: Vec<f32> = present.iter().map(|present| (1.0 - present) * NEVER).collect();
        let hidden_from = Tensor::<4>::from_data(TensorData::new(hidden_from, [rows, 1, 1, width]), &self.device);
        let present = Tensor::<3>::from_data(TensorData::new(present, [rows, width, 1]), &self.device);
        let x = Tensor::<2>::from_data(TensorData::new(embedded, [rows * width, hidden]), &self.device);
        let mut x = self.norm.apply(x);
        for layer in &self.layers {
            let mixed = self.attend(layer.qkv.apply(x.clone()), &hidden_from);
            x = layer.attention_norm.apply(x + layer.attention_output.apply(mixed));
            let inner = activation::gelu(layer.up.apply(x.clone()));
            x = layer.output_norm.apply(x + layer.down.apply(inner));
        }
        self.settings.pooling.pool(x.reshape([rows, width, hidden]), present)
    }

    /// Attention of `[row × token, 3 × hidden]` to `[row × token, hidden]`.
    fn attend(&self, qkv: Tensor<2>, hidden_from: &Tensor<4>) -> Tensor<2> {
        let (hidden, heads) = (self.settings.hidden, self.settings.heads);
        let [rows, _, _, width] = hidden_from.dims();
        let size = hidden / heads;
        let part =
            |i: usize| qkv.clone().narrow(1, i * hidden, hidden).reshape([rows, width, heads, size]).swap_dims(1, 2);
        let scores = part(0).matmul(part(1).transpose()) * (size as f64).powf(-0.5);
        let mixed = activation::softmax(scores + hidden_from.clone(), 3).matmul(part(2));
        mixed.swap_dims(1, 2).reshape([rows * width, hidden])
    }
}

impl Layer {
    fn new(weights: &Weights<'_>, layer: usize, settings: &Settings, device: &Device) -> Result<Self, EncoderError> {
        let (hidden, inner) = (settings.hidden, settings.feedforward);
        let (names, at) = (settings.family.names(), settings.family.layer(layer));
        let linear = |part: &str, inputs, outputs| {
            let (weight, bias) = weights.linear(&format!("{at}.{part}"), inputs, outputs)?;
            Ok::<_, EncoderError>(Linear::new(weight, bias, device))
        };
        let norm = |part: &str| Norm::new(weights, &format!("{at}.{part}"), settings, device);
        let parts = [names.query, names.key, names.value].map(|part| linear(part, hidden, hidden));
        let [query, key, value] = parts;
        let (query, key, value) = (query?, key?, value?);
        Ok(Self {
            qkv: Linear {
                weight: Tensor::cat(vec![query.weight, key.weight, value.weight], 1),
                bias: Tensor::cat(vec![query.bias, key.bias, value.bias], 1),
            },
            attention_output: linear(names.attention_output, hidden, hidden)?,
            attention_norm: norm(names.attention_norm)?,
            up: linear(names.up, hidden, inner)?,
            down: linear(names.down, inner, hidden)?,
            output_norm: norm(names.output_norm)?,
        })
    }
}

impl Linear {
    fn new(weight: Vec<f32>, bias: Vec<f32>, device: &Device) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        Self {
            weight: Tensor::from_data(TensorData::new(weight, [inputs, outputs]), device),
            bias: Tensor::from_data(TensorData::new(bias, [1, outputs]), device),
        }
    }

    fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        x.matmul(self.weight.clone()) + self.bias.clone()
    }
}

impl Norm {
    fn new(weights: &Weights<'_>, name: &str, settings: &Settings, device: &Device) -> Result<Self, EncoderError> {
        let hidden = settings.hidden;
        let row = |part: &str| {
            let values = weights.get(&format!("{name}.{part}"), &[hidden])?;
            Ok::<_, EncoderError>(Tensor::from_data(TensorData::new(values, [1, hidden]), device))
        };
        Ok(Self { gain: row("weight")?, shift: row("bias")?, epsilon: settings.norm_epsilon })
    }

    /// Layer normalisation (Ba, Kiros and Hinton 2016) of each row.
    fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        let centred = x.clone() - x.mean_dim(1);
        let deviation = (centred.clone().square().mean_dim(1) + self.epsilon).sqrt();
        centred / deviation * self.gain.clone() + self.shift.clone()
    }
}
