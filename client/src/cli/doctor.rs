//! `forecastle doctor`: what this program and this machine offer. Says only what can be read off them.

use clap::Args;
use serde_json::json;

use super::{DeviceArguments, Format, Outcome, print_json};
use crate::device::{Survey, nvidia_driver};

/// See what this program and this machine offer, and which device would compute.
///
/// Fails where the device asked for cannot be had.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle doctor
  forecastle doctor --device cuda --format json")]
pub(super) struct Arguments {
    #[command(flatten)]
    device: DeviceArguments,
}

pub(super) fn run(arguments: &Arguments, format: Format) -> Outcome {
    let survey = Survey::take();
    let (version, cores) = (env!("CARGO_PKG_VERSION"), std::thread::available_parallelism().map_or(1, usize::from));
    let driver = nvidia_driver();
    let found: Vec<(String, Option<String>)> =
        survey.cuda_places().map(|place| (place.to_string(), place.model_name())).collect();
    let asked = arguments.device.device;
    let taken = asked.resolve(survey);
    match format {
        Format::Json => print_json(&json!({
            "version": version,
            "cpu_cores": cores,
            "cuda": {
                "compiled": survey.compiled,
                "driver": driver,
                "devices": found.iter().map(|(id, name)| json!({ "device": id, "name": name })).collect::<Vec<_>>(),
            },
            "device": {
                "asked": asked.to_string(),
                "taken": taken.as_ref().ok().map(|(place, _)| place.to_string()),
                "why": match &taken { Ok((_, reason)) => reason.to_string(), Err(error) => error.to_string() },
            },
        }))?,
        Format::Text => {
            say!("forecastle {version}");
            say!("CPU cores: {cores}");
            say!("built with CUDA: {}", if survey.compiled { "yes" } else { "no" });
            if let Some(driver) = driver {
                say!("NVIDIA driver: {driver}");
            }
            for (id, name) in &found {
                say!("{id}: {}", name.as_deref().unwrap_or("a device that does not name itself"));
            }
            if let Ok((place, reason)) = &taken {
                say!("device for --device {asked}: {place}, since {reason}");
            }
        }
    }
    taken?;
    Ok(())
}
