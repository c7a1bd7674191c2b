//! `forecastle data …`: the verbs for a merchant's own data.

use clap::Subcommand;

use super::{Format, Outcome, check, import, text};
use crate::federation::home::Home;

#[derive(Subcommand)]
pub(super) enum Verb {
    Import(import::Arguments),
    Check(check::Arguments),
    Text(text::Arguments),
}

pub(super) fn run(home: &Home, verb: Verb, format: Format) -> Outcome {
    match verb {
        Verb::Import(arguments) => import::run(home, arguments, format),
        Verb::Check(arguments) => check::run(home, &arguments, format),
        Verb::Text(arguments) => text::run(home, &arguments, format),
    }
}
