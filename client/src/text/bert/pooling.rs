//! From one vector a token to one vector a text (Reimers and Gurevych, "Sentence-BERT", EMNLP 2019, section 3).

use burn::tensor::Tensor;

/// Taken from what padding holds before a maximum is taken.
const BEYOND_ALL: f32 = 1e30;

/// Which of a text's tokens make its vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Mean of all.
    Mean,
    /// The first, which stands for the whole.
    First,
    /// The largest of all, number by number.
    Max,
}

impl Pooling {
    /// `[text, token, hidden]` to `[text, hidden]`, where `present [text, token, 1]` is 1 for tokens and 0 for padding.
    pub(super) fn pool(self, tokens: Tensor<3>, present: Tensor<3>) -> Tensor<2> {
        let [texts, _, hidden] = tokens.dims();
        let pooled = match self {
            Self::Mean => (tokens * present.clone()).sum_dim(1) / present.sum_dim(1),
            Self::First => tokens.narrow(1, 0, 1),
            Self::Max => (tokens + (present - 1.0) * BEYOND_ALL).max_dim(1),
        };
        pooled.reshape([texts, hidden])
    }
}
