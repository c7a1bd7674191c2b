//! Model files.
//!
//! What is accepted holds finite numbers that fit its layout; it is written to bytes that read the same, and every writing
//! of it has the same digest.
#![no_main]

use forecastle_fuzz::{bounded, seeds};
use forecastle_proto::model::{ModelManifest, ModelSnapshot, PARAMETERS_MAX, ParameterEntry, ParameterLayout};
use libfuzzer_sys::fuzz_target;

fn snapshot() -> ModelSnapshot {
    let entry =
        |name: &str, shape: &[usize], federated| ParameterEntry { name: name.into(), shape: shape.to_vec(), federated };
    let layout = ParameterLayout {
        entries: vec![entry("b.weight", &[2, 2], false), entry("a.bias", &[3], true), entry("c", &[], true)],
    };
    let settings = serde_json::from_str(r#"{"context":4,"scale":0.1}"#).expect("JSON");
    let manifest = ModelManifest { version: 1, architecture: "test".into(), settings, layout };
    ModelSnapshot::new(manifest, vec![1.0, 2.0, 3.0, 4.0, -0.0, 6e-40, 7.5, 8.0]).expect("a model")
}

fuzz_target!(
    init: seeds("model", || vec![snapshot().to_bytes()]),
    |data: &[u8]| {
        // The header is parsed twice, each tensor's name is kept in a map, and the values are copied once.
        let Ok(model) = bounded(data.len(), 96, || ModelSnapshot::from_bytes(data)) else { return };
        let layout = &model.manifest.layout;
        assert!(model.values.len() == layout.len() && layout.len() <= PARAMETERS_MAX);
        assert!(model.values.iter().all(|value| value.is_finite()));
        let written = model.to_bytes();
        let again = ModelSnapshot::from_bytes(&written).expect("what was written is read");
        assert_eq!(again, model);
        assert!(again.to_bytes() == written && again.digest() == model.digest());
        let federated = layout.gather_federated(&model.values);
        assert_eq!(federated.len(), layout.federated_len());
        let mut values = model.values.clone();
        layout.scatter_federated(&federated, &mut values);
        assert!(values.iter().zip(&model.values).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
);
