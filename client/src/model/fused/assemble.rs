//! Where each parameter of a model lies, and which tokens each input is added to.

use std::collections::BTreeMap;

use super::attention::Attention;
use super::network::{Block, Embedding, Gated, Network, Parameter};
use super::vectors::Vectors;
use crate::model::{
    Model,
    further::{self, Tokens},
};

/// The network of a model.
pub(super) fn network(model: &Model) -> Network {
    let config = model.config();
    let mut at = 0;
    let mut parameters = BTreeMap::new();
    for (number, entry) in model.layout().entries.iter().enumerate() {
        let range = at..at + entry.len();
        at = range.end;
        let columns = entry.shape.last().copied().unwrap_or(1);
        parameters.insert(entry.name.clone(), Parameter { entry: number, at: range, columns });
    }
    let get = |name: String| match parameters.get(&name) {
        Some(parameter) => parameter.clone(),
        None => unreachable!("the layout of this architecture has no `{name}`"),
    };
    let embedding = |kind: &str| Embedding {
        linear: get(format!("embed.{kind}.linear.weight")),
        hidden: get(format!("embed.{kind}.hidden.weight")),
        hidden_bias: get(format!("embed.{kind}.hidden.bias")),
        output: get(format!("embed.{kind}.output.weight")),
        bias: get(format!("embed.{kind}.bias")),
    };
    let (past_tokens, future_tokens) = (config.past_tokens(), config.future_tokens());
    let timed = past_tokens + future_tokens;
    let gated = |kind: &str, token: usize| Gated {
        weight: get(format!("embed.{kind}.weight")),
        gate: get(format!("embed.{kind}.gate")),
        bias: Some(get(format!("embed.{kind}.bias"))),
        tokens: token..token + 1,
    };
    let mut paths = vec![gated("attributes", timed), gated("text", timed + 1)];
    for input in further::token_inputs(config) {
        let tokens = match input.tokens {
            Tokens::Past => 0..past_tokens,
            Tokens::Future => past_tokens..timed,
            Tokens::Attributes => timed..timed + 1,
        };
        let get = |part: &str| get(format!("further.{}.{part}", input.name));
        paths.push(Gated { weight: get("weight"), gate: get("gate"), bias: None, tokens });
    }
    let block = |number: usize| {
        let get = |part: &str| get(format!("blocks.{number}.{part}"));
        Block {
            attention_norm: get("attention_norm"),
            qkv: get("qkv.weight"),
            attention_output: get("attention_output.weight"),
            feedforward_norm: get("feedforward_norm"),
            up: get("up.weight"),
            up_bias: get("up.bias"),
            down: get("down.weight"),
        }
    };
    Network {
        d: config.d_model,
        past_tokens,
        future_tokens,
        past: embedding("past"),
        future: embedding("future"),
        gated: paths,
        blocks: (0..config.layers).map(block).collect(),
        final_norm: get("final_norm".into()),
        codes: get("codes.weight".into()),
        codes_bias: get("codes.bias".into()),
        attention: Attention::new(timed + 2, config.heads, config.head_width()),
        arch: Vectors::new(),
    }
}
