//! `forecastle data …`: the verbs for a merchant's own data.

use std::{error::Error, io::Read as _};

use clap::{Args, Subcommand};

use super::{Format, Outcome, check, contents, erase, expire, export, import, key, text};
use crate::{
    data::{order::CustomerPseudonym, store::Importer},
    federation::home::Home,
};

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

/// Which customer.
#[derive(Args)]
#[group(multiple = false)]
pub(super) struct Customer {
    /// The customer's number, as the shop's files have it; `-` reads it from standard input, so that it is in no history.
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// The customer's pseudonym, as tables that were exported have it.
    #[arg(long, value_name = "HEX")]
    pseudonym: Option<String>,
}

impl Customer {
    /// The pseudonym; `None` where no customer is named.
    pub(super) fn pseudonym(
        &self,
        importer: &Importer,
    ) -> Result<Option<CustomerPseudonym>, Box<dyn Error + Send + Sync>> {
        if let Some(hex) = &self.pseudonym {
            let pseudonym = CustomerPseudonym::from_hex(&hex.to_lowercase());
            return Ok(Some(pseudonym.ok_or("--pseudonym takes 32 hexadecimal digits, as `data export` writes them")?));
        }
        let Some(raw) = &self.customer else { return Ok(None) };
        let mut read = String::new();
        let raw = if raw == "-" {
            std::io::stdin().take(4096).read_to_string(&mut read)?;
            &read
        } else {
            raw
        };
        if raw.trim().is_empty() {
            return Err("the customer's number is empty".into());
        }
        Ok(Some(importer.pseudonym(raw)))
    }
}
