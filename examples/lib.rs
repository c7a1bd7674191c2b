//! What the examples share: a generated marketplace, readers of published data sets, and the report.

pub mod dataset;
pub mod job;
pub mod memory;
pub mod report;
pub mod simulation;
pub mod world;
