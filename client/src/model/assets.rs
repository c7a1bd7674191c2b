//! Warm starts that ship with the program.
//!
//! Each was trained on generated windows only (`cargo run --release --example warm_start`), so it has cost nobody
//! any privacy. Left out: `small-daily` and `small-weekly`, of megabytes each; the error says
//! how to make them.

use forecastle_proto::model::ModelSnapshot;

use super::ModelError;

/// The embedded warm start of a preset.
///
/// # Errors
/// [`ModelError::NoWarmStart`] where none ships, [`ModelError::File`] if the program itself is damaged.
pub fn warm_start(preset: &str) -> Result<ModelSnapshot, ModelError> {
    let bytes: &[u8] = match preset {
        "nano-daily" => include_bytes!("../../assets/warm-start/nano-daily.safetensors"),
        "nano-weekly" => include_bytes!("../../assets/warm-start/nano-weekly.safetensors"),
        "nano-weekly-long" => include_bytes!("../../assets/warm-start/nano-weekly-long.safetensors"),
        other => return Err(ModelError::NoWarmStart(other.into())),
    };
    Ok(ModelSnapshot::from_bytes(bytes)?)
}
