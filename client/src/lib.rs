//! The merchant's side of Forecastle: orders in, private training, forecasts out.

pub mod data;
pub mod forecast;
pub mod model;
pub mod text;
pub mod train;
