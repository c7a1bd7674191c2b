//! `forecastle data …`: the verbs for a merchant's own data.

use clap::Subcommand;

use super::{Format, Outcome, check, contents, erase, expire, export, import, key, text};
use crate::federation::home::Home;

#[derive(Subcommand)]
pub(super) enum Verb {
    Import(import::Arguments),
    Check(check::Arguments),
    /// See what is stored: tables, days, sources, the key they are sealed with, who was erased.
    #[command(after_help = "Examples:
  forecastle data show
  forecastle data show --format json")]
    Show,
    Export(export::Arguments),
    Erase(erase::Arguments),
    Expire(expire::Arguments),
    /// The key that the stored data are sealed with.
    Key {
        #[command(subcommand)]
        verb: key::Verb,
    },
    Text(text::Arguments),
}

impl Verb {
    /// Whether it is about where the key is to lie, and so takes it from where it lies.
    pub(super) fn moves_key(&self) -> bool {
        matches!(self, Self::Key { verb: key::Verb::Move { .. } })
    }
}

pub(super) fn run(home: &Home, verb: Verb, format: Format) -> Outcome {
    match verb {
        Verb::Import(arguments) => import::run(home, arguments, format),
        Verb::Check(arguments) => check::run(home, &arguments, format),
        Verb::Show => contents::run(home, format),
        Verb::Export(arguments) => export::run(home, &arguments, format),
        Verb::Erase(arguments) => erase::run(home, &arguments, format),
        Verb::Expire(arguments) => expire::run(home, &arguments, format),
        Verb::Key { verb } => key::run(home, &verb, format),
        Verb::Text(arguments) => text::run(home, &arguments, format),
    }
}
