//! The merchant's side of Forecastle: orders in, private training, forecasts out.
//!
//! [`data`] turns a merchant's files into series, [`model`] and [`train`] learn from them, [`forecast`] uses what
//! was learnt, on the [`device`] that was chosen; [`backtest`] tells what each way to forecast would have done,
//! [`receipt`] what joining was worth and cost, [`plot`] draws both. [`federation`] is the membership and what is believed of the server; [`round`] takes part in secure aggregation. [`canaries`] audits private training by what it gives away. [`cli`] is the
//! command line over all of it. [`fault`] lets tests kill a process at named points.
//!
//! Invariant: nothing computed from orders leaves the machine except masked updates, which [`round::driver`] sends
//! after their charge is on disk.

pub mod backtest;
pub mod canaries;
pub mod cli;
pub mod data;
pub mod device;
pub mod durable;
pub mod fault;
pub mod federation;
pub mod forecast;
pub mod model;
pub mod plot;
pub mod receipt;
pub mod round;
pub mod text;
pub mod train;
