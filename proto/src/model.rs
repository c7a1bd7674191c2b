//! A model as the server sees it: a flat vector of numbers with a layout, never a network.
//!
//! A model travels and is stored as one safetensors file. Its metadata carries a [`ModelManifest`]: which
//! architecture can read the numbers, and which parameters the federation trains privately. The order of
//! the parameters is the manifest's order, so every party flattens alike.
//!
//! Left out on purpose: what the parameters mean. Only the client knows the network.

use std::collections::{BTreeMap, HashMap, HashSet};

use forecastle_crypto::identity::{Sha256Digest, sha256};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

/// The largest model file accepted from a peer or a disk, in bytes.
pub const MODEL_BYTES_MAX: usize = 256 << 20;
/// The most parameters a model may have.
pub const PARAMETERS_MAX: usize = 32 << 20;
/// The key of the manifest in the safetensors metadata.
const MANIFEST_KEY: &str = "forecastle";

/// One named parameter: its shape and whether the federation trains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParameterEntry {
    /// Dotted path, for instance `blocks.0.qkv.weight`.
    pub name: String,
    /// Extent of each axis.
    pub shape: Vec<usize>,
    /// True when rounds of the federation train it; false when it stays as published.
    pub federated: bool,
}

impl ParameterEntry {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True for a parameter without values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The order, names and shapes of all parameters of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ParameterLayout {
    /// Entries in flattening order.
    pub entries: Vec<ParameterEntry>,
}

impl ParameterLayout {
    /// Number of values of the whole model.
    pub fn len(&self) -> usize {
        self.entries.iter().map(ParameterEntry::len).sum()
    }

    /// True for a layout without values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of values that rounds train: the dimension `d` of an update.
    pub fn federated_len(&self) -> usize {
        self.entries.iter().filter(|e| e.federated).map(ParameterEntry::len).sum()
    }

    /// Digest that a round offer commits to: SHA-256 of the JSON form.
    pub fn digest(&self) -> Sha256Digest {
        sha256(&serde_json::to_vec(self).expect("a layout always serialises"))
    }

    /// Picks the federated values out of a whole model, in order. `values` has length [`Self::len`].
    pub fn gather_federated(&self, values: &[f32]) -> Vec<f32> {
        let mut picked = Vec::with_capacity(self.federated_len());
        let mut at = 0;
        for entry in &self.entries {
            if entry.federated {
                picked.extend_from_slice(&values[at..at + entry.len()]);
            }
            at += entry.len();
        }
        picked
    }

    /// Writes federated values back into a whole model; the inverse of [`Self::gather_federated`].
    pub fn scatter_federated(&self, federated: &[f32], values: &mut [f32]) {
        let (mut from, mut at) = (0, 0);
        for entry in &self.entries {
            if entry.federated {
                values[at..at + entry.len()].copy_from_slice(&federated[from..from + entry.len()]);
                from += entry.len();
            }
            at += entry.len();
        }
    }
}

/// What a model file says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// Format version of this manifest.
    pub version: u16,
    /// Architecture that reads the numbers, for instance `patch-encoder-1`.
    pub architecture: String,
    /// Settings of that architecture (context, horizon, patch, width), opaque to the server.
    pub settings: serde_json::Value,
    /// Parameters in flattening order.
    pub layout: ParameterLayout,
}

/// A whole model: manifest and values.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSnapshot {
    /// What the numbers are.
    pub manifest: ModelManifest,
    /// All values in layout order.
    pub values: Vec<f32>,
}

/// Why a model file was refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// Too many bytes or parameters.
    #[error("the model has {found} {what}; at most {max} are accepted")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// How many were found.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Not a safetensors file.
    #[error("not a safetensors file: {0}")]
    Format(String),
    /// The manifest is missing or unreadable.
    #[error("the model file has no readable `forecastle` manifest in its metadata: {0}")]
    Manifest(String),
    /// The manifest and the tensors disagree.
    #[error("parameter `{name}`: {why}")]
    Parameter {
        /// Which parameter.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl ModelSnapshot {
    /// Checks that the values fit the layout and are finite.
    ///
    /// # Errors
    /// [`ModelFileError`] names the parameter that does not fit.
    pub fn new(manifest: ModelManifest, values: Vec<f32>) -> Result<Self, ModelFileError> {
        let expected = manifest.layout.len();
        if expected > PARAMETERS_MAX {
            return Err(ModelFileError::TooLarge { what: "parameters", found: expected, max: PARAMETERS_MAX });
        }
        if values.len() != expected {
            return Err(ModelFileError::Manifest(format!(
                "the layout holds {expected} values, the file {}",
                values.len()
            )));
        }
        let mut at = 0;
        for entry in &manifest.layout.entries {
            if values[at..at + entry.len()].iter().any(|v| !v.is_finite()) {
                return Err(ModelFileError::Parameter {
                    name: entry.name.clone(),
                    why: "holds a value that is not finite".into(),
                });
            }
            at += entry.len();
        }
        Ok(Self { manifest, values })
    }

    /// The file's bytes; the same snapshot always gives the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut views = Vec::with_capacity(self.manifest.layout.entries.len());
        let mut at = 0;
        for entry in &self.manifest.layout.entries {
            let bytes: Vec<u8> = self.values[at..at + entry.len()].iter().flat_map(|v| v.to_le_bytes()).collect();
            views.push((entry.name.clone(), entry.shape.clone(), bytes));
            at += entry.len();
        }
        let tensors: BTreeMap<&str, TensorView<'_>> = views
            .iter()
            .map(|(name, shape, bytes)| {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes were cut to the shape");
                (name.as_str(), view)
            })
            .collect();
        let manifest = serde_json::to_string(&self.manifest).expect("a manifest always serialises");
        let metadata = HashMap::from([(MANIFEST_KEY.to_owned(), manifest)]);
        safetensors::serialize(tensors, Some(metadata)).expect("names are unique and sizes agree")
    }

    /// Parses a file's bytes.
    ///
    /// # Errors
    /// [`ModelFileError`] says what the file lacks.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelFileError> {
        if bytes.len() > MODEL_BYTES_MAX {
            return Err(ModelFileError::TooLarge { what: "bytes", found: bytes.len(), max: MODEL_BYTES_MAX });
        }
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| ModelFileError::Format(e.to_string()))?;
        let text = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get(MANIFEST_KEY))
            .ok_or_else(|| ModelFileError::Manifest("the key is absent".into()))?;
        let manifest: ModelManifest =
            serde_json::from_str(text).map_err(|e| ModelFileError::Manifest(e.to_string()))?;
        if manifest.version != 1 {
            return Err(ModelFileError::Manifest(format!("version {} is not 1", manifest.version)));
        }
        let mut count = 0usize;
        let mut seen = HashSet::new();
        for entry in &manifest.layout.entries {
            let size = entry.shape.iter().try_fold(1usize, |n, &k| n.checked_mul(k));
            count = size.and_then(|s| count.checked_add(s)).unwrap_or(usize::MAX);
            if count > PARAMETERS_MAX {
                return Err(ModelFileError::TooLarge { what: "parameters", found: count, max: PARAMETERS_MAX });
            }
            if !seen.insert(entry.name.as_str()) {
                return Err(ModelFileError::Parameter { name: entry.name.clone(), why: "is listed twice".into() });
            }
        }
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| ModelFileError::Format(e.to_string()))?;
        if tensors.len() != manifest.layout.entries.len() {
            return Err(ModelFileError::Manifest("it lists other tensors than the file holds".into()));
        }
        let mut values = Vec::with_capacity(count);
        for entry in &manifest.layout.entries {
            let refuse = |why: String| ModelFileError::Parameter { name: entry.name.clone(), why };
            let view = tensors.tensor(&entry.name).map_err(|_| refuse("is missing".into()))?;
            if view.dtype() != Dtype::F32 || view.shape() != entry.shape {
                return Err(refuse(format!(
                    "is {:?} {:?}; the manifest says F32 {:?}",
                    view.dtype(),
                    view.shape(),
                    entry.shape
                )));
            }
            values.extend(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        }
        Self::new(manifest, values)
    }

    /// SHA-256 of the file's bytes: the name under which ledger entries and offers refer to a model.
    pub fn digest(&self) -> Sha256Digest {
        sha256(&self.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> ModelSnapshot {
        let entry = |name: &str, shape: &[usize], federated| ParameterEntry {
            name: name.into(),
            shape: shape.to_vec(),
            federated,
        };
        let layout = ParameterLayout { entries: vec![entry("b.weight", &[2, 2], false), entry("a.bias", &[3], true)] };
        let manifest = ModelManifest {
            version: 1,
            architecture: "test".into(),
            settings: serde_json::json!({"context": 4}),
            layout,
        };
        ModelSnapshot::new(manifest, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]).unwrap()
    }

    #[test]
    fn a_file_round_trips_to_the_same_bytes_and_digest() {
        let model = snapshot();
        let back = ModelSnapshot::from_bytes(&model.to_bytes()).unwrap();
        assert_eq!(back, model);
        assert_eq!(back.digest(), model.digest());
    }

    #[test]
    fn federated_values_are_gathered_in_layout_order_and_scattered_back() {
        let mut model = snapshot();
        let layout = model.manifest.layout.clone();
        assert_eq!(layout.gather_federated(&model.values), vec![5.0, 6.0, 7.0]);
        layout.scatter_federated(&[8.0, 9.0, 10.0], &mut model.values);
        assert_eq!(model.values, vec![1.0, 2.0, 3.0, 4.0, 8.0, 9.0, 10.0]);
    }

    #[test]
    fn a_value_that_is_not_finite_is_refused_by_name() {
        let model = snapshot();
        let mut values = model.values.clone();
        values[5] = f32::NAN;
        let error = ModelSnapshot::new(model.manifest, values).unwrap_err().to_string();
        assert!(error.contains("a.bias"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_model_are_refused() {
        assert!(matches!(ModelSnapshot::from_bytes(b"order_id,quantity\n1,2\n"), Err(ModelFileError::Format(_))));
        let mut torn = snapshot().to_bytes();
        torn.truncate(torn.len() - 3);
        assert!(ModelSnapshot::from_bytes(&torn).is_err());
    }
}
