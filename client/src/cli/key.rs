//! `forecastle data key …`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{Format, Outcome, print_json};
use crate::{
    data::{
        store::Importer,
        vault::{self, Vault},
    },
    federation::home::Home,
};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make a new key and seal everything with it. May be stopped at any point and run again.
    #[command(after_help = "Example:
  forecastle data key rotate

Backups made before hold what the old key opens. Where that is to be out of reach, destroy copies of the old key too.")]
    Rotate,
    /// Move the key file, to another disk for instance, and remember where it lies.
    #[command(after_help = "Example:
  forecastle data key move /media/keys/shop.key

A key beside the data protects copies of the tables alone; whoever takes the whole folder takes both.")]
    Move {
        /// Where to. The folder must be there, the file must not.
        #[arg(value_name = "FILE")]
        to: PathBuf,
    },
}

pub(super) fn run(home: &Home, verb: &Verb, format: Format) -> Outcome {
    let mut importer = Importer::open(&home.data())?;
    match verb {
        Verb::Rotate => {
            let rotated = importer.rotate_key()?;
            if format == Format::Json {
                return print_json(&rotated);
            }
            if rotated.went_on {
                say!("went on with a rotation that had been broken off");
            }
            say!("{} files are sealed with the new key {}", rotated.files, rotated.key);
            say!("keep a copy of the new key file apart from the data; copies of the old one open old backups only");
        }
        Verb::Move { to } => {
            drop(importer);
            let from = vault::move_key(&home.data(), to)?;
            let vault = Vault::open(&home.data())?;
            if format == Format::Json {
                return print_json(&json!({ "key": vault.key_id(), "from": from, "to": vault.key_file() }));
            }
            say!("key {} was moved from {} to {}", vault.key_id(), from.display(), vault.key_file().display());
        }
    }
    Ok(())
}
