//! The main job: a real server and real merchants on one machine, private rounds, forecasts, a verdict.
//!
//! * [`plan`]: the privacy plan for a size, and whether the size carries its noise.
//! * [`merchants`]: who takes part and with which files: a generated marketplace or a published data set.
//! * [`launch`]: server on loopback, merchants joined by invitation, data imported.
//! * [`rounds`]: all merchants train at once; what the screen shows meanwhile.
//! * [`evaluate`]: the held-back days, by merchant and method.
//! * [`present`]: the report's data from all of it.

pub mod evaluate;
pub mod launch;
pub mod merchants;
pub mod plan;
pub mod present;
pub mod rounds;

/// Any library's error; the examples only print it.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;
