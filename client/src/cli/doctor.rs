//! `forecastle doctor`: what this program and this machine offer. Says only what can be read off them.

use clap::Args;
use serde_json::json;

use super::{DeviceArguments, Format, Outcome, print_json};
use crate::device::{
    Place, Survey,
    kernels::{self, KernelCacheError},
    nvidia_driver,
};

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
    let found: Vec<Gpu> = survey.cuda_places().map(Gpu::open).collect();
    let kept = kernels::keep();
    let asked = arguments.device.device;
    let taken = asked.resolve(survey);
    match format {
        Format::Json => print_json(&json!({
            "version": version,
            "cpu_cores": cores,
            "cuda": {
                "compiled": survey.compiled,
                "driver": driver,
                "devices": found.iter().map(Gpu::json).collect::<Vec<_>>(),
            },
            "kernels": {
                "folder": kept.as_ref().ok(),
                "bytes": kept.as_deref().ok().map(kernels::size),
                "not_kept": kept.as_ref().err().map(KernelCacheError::to_string),
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
            for Gpu { id, name, memory } in &found {
                let memory = memory.map_or(String::new(), |bytes| format!(", {} of memory", gigabytes(bytes)));
                say!("{id}: {}{memory}", name.as_deref().unwrap_or("a device that does not name itself"));
            }
            match &kept {
                Ok(folder) => {
                    say!("compiled kernels: {} MB in {}", kernels::size(folder) / 1_000_000, folder.display())
                }
                // Said by the line about CUDA.
                Err(KernelCacheError::NotCompiled) => {}
                Err(error) => say!("compiled kernels: not kept, so that each start compiles them anew ({error})"),
            }
            if let Ok((place, reason)) = &taken {
                say!("device for --device {asked}: {place}, since {reason}");
            }
        }
    }
    taken?;
    Ok(())
}

/// A GPU, as it describes itself.
struct Gpu {
    id: String,
    name: Option<String>,
    memory: Option<u64>,
}

impl Gpu {
    fn open(place: Place) -> Self {
        Self { id: place.to_string(), name: place.model_name(), memory: place.memory() }
    }

    fn json(&self) -> serde_json::Value {
        json!({ "device": self.id, "name": self.name, "memory_bytes": self.memory })
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}
