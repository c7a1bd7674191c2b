//! Models at the server: flat vectors that an optimizer moves and a registry publishes.

pub mod optimizer;
pub mod registry;
pub(crate) mod service;
