//! A federation of any size in one process, for measuring what privacy costs in accuracy.
//!
//! Sampling, clipped gradients, rounding, noise shares and the server's optimizer are the very functions that
//! merchants and server call. Two things are left out: the network, and the masks of secure aggregation, which
//! cancel exactly in the sum, so that the plain sum modulo 2^b is the same number.
//!
//! * [`federation`]: rounds over all merchants; `updates`: those of plans with local steps.
//! * [`run`]: a task's rolling windows, from series to scored forecasts.
//! * [`bounded`]: training series of order lines, each customer's contribution bounded.
//! * [`generated`]: a made-up marketplace of any size as such a task.
//! * [`presets`]: plans that ship with the program, and plans proposed for a task.
//!
//! What differs from a real run, and has to be kept in mind with its figures:
//! * Every merchant takes part in every round and none drops out. Cohorts may be larger than one complete graph of
//!   secure aggregation carries (255 merchants); a larger graph would compute the same sum.
//! * A plan's training period is informational: a window trains on what lies before its own cut.
//! * Series are totals read from the task's files. Under a plan of the unit customer, merchants train on series of their
//!   order lines instead, imported and bounded as by a client; tasks without order lines have no such plan.
//! * Sampling and noise come from a seed. Whoever knows it can subtract the noise: nothing here protects anybody.

pub mod bounded;
pub mod federation;
pub mod generated;
mod parallel;
pub mod presets;
pub mod run;
mod updates;

#[cfg(test)]
mod tests;
