//! Parameters as tensors with a leading unit axis.
//!
//! Every parameter becomes a tensor `[unit, rows, columns]`. Its unit axis has extent 1 where all privacy units
//! share it, or one copy a unit. With one copy a unit, the gradient of a *sum* of unit losses with respect to
//! copy `u` is the gradient of unit `u`'s own loss: the copies meet nowhere in the graph.

use std::{collections::HashMap, sync::Arc};

use burn::tensor::{Device, Tensor, TensorData};
use forecastle_proto::model::ParameterEntry;

use super::{Model, fused::Encoder};

/// The parameters of one forward pass.
#[derive(Clone)]
pub struct Weights {
    tensors: HashMap<String, Tensor<3>>,
    /// The encoder's way over the processor, where its parameters are constants.
    encoder: Option<Arc<Encoder>>,
}

impl Weights {
    /// Shared weights without gradients.
    pub fn shared(model: &Model, device: &Device) -> Self {
        let encoder = crate::device::place().is_cpu().then(|| Arc::new(Encoder::new(model)));
        Self { encoder, ..Self::build(model, device, |_, tensor| tensor) }
    }

    /// Weights of which `trained` says which require gradients, each in `units` copies; the others are shared and
    /// constant.
    pub fn trained(model: &Model, units: usize, device: &Device, trained: impl Fn(&ParameterEntry) -> bool) -> Self {
        Self::build(model, device, |entry, tensor| {
            if !trained(entry) {
                return tensor;
            }
            let copies = if units == 1 { tensor } else { tensor.repeat_dim(0, units) };
            copies.autodiff().require_grad()
        })
    }

    fn build(model: &Model, device: &Device, prepare: impl Fn(&ParameterEntry, Tensor<3>) -> Tensor<3>) -> Self {
        let mut tensors = HashMap::new();
        let mut at = 0;
        for entry in &model.layout().entries {
            let values = model.values()[at..at + entry.len()].to_vec();
            at += entry.len();
            let (rows, columns) = match entry.shape[..] {
                [columns] => (1, columns),
                [rows, columns] => (rows, columns),
                _ => unreachable!("this architecture has vectors and matrices only"),
            };
            let tensor = Tensor::from_data(TensorData::new(values, [1, rows, columns]), device);
            tensors.insert(entry.name.clone(), prepare(entry, tensor));
        }
        Self { tensors, encoder: None }
    }

    /// The encoder's way over the processor, if that is where these weights are and they are constants.
    pub(super) fn encoder(&self) -> Option<&Encoder> {
        self.encoder.as_deref()
    }

    /// A parameter by name, `[unit, rows, columns]`.
    pub(crate) fn get(&self, name: &str) -> Tensor<3> {
        match self.tensors.get(name) {
            Some(tensor) => tensor.clone(),
            None => unreachable!("the layout of this architecture has no `{name}`"),
        }
    }

    /// A single number a unit, `[unit, 1, 1, 1]`.
    pub(super) fn scalar(&self, name: &str) -> Tensor<4> {
        self.get(name).unsqueeze_dim(3)
    }
}

/// Matrix product of activations `[unit, row, in]` with a parameter `[unit or 1, in, out]`.
pub(super) fn product(x: Tensor<3>, weight: Tensor<3>) -> Tensor<3> {
    let [units, rows, inputs] = x.dims();
    let [copies, _, outputs] = weight.dims();
    if copies == units {
        return x.matmul(weight);
    }
    // One shared matrix: a single large product instead of `units` small ones.
    x.reshape([1, units * rows, inputs]).matmul(weight).reshape([units, rows, outputs])
}
