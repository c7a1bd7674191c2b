//! `forecastle ledger pull`.

use std::{fs, path::PathBuf};

use clap::Subcommand;
use forecastle_crypto::ledger::{
    note::{SignatureType, VerifierKey},
    tiles,
};
use serde_json::json;

use super::{Format, Outcome, print_json, runtime};
use crate::{
    durable::{self, Access, DiskError},
    federation::{connection::Connection, home::Home, log_copy::LogCopy},
};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Fetch and verify the federation's log, and write it where `forecastle-audit verify` can judge it.
    #[command(after_help = "Example:
  forecastle ledger pull --out log && forecastle-audit verify log")]
    Pull {
        /// Folder to write (default: only the own copy is brought up to date).
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Do not ask the server; write the copy at hand.
        #[arg(long)]
        offline: bool,
    },
}

pub(super) fn run(home: &Home, verb: Verb, format: Format) -> Outcome {
    let Verb::Pull { out, offline } = verb;
    let membership = home.membership()?;
    let mut log = LogCopy::open(home, &membership)?;
    let fresh = if offline {
        0
    } else {
        runtime()?.block_on(async {
            let connection = Connection::open(home, &membership)?;
            log.sync(&connection).await
        })?
    };
    if let Some(out) = &out {
        let (leaves, checkpoint) = log.export()?;
        durable::create_private_folder(&out.join("models"))?;
        for (path, bytes) in tiles::files(&leaves) {
            let path = out.join(path);
            let folder = path.parent().unwrap_or(out);
            fs::create_dir_all(folder).map_err(DiskError::of("create", folder))?;
            durable::write(&path, &bytes, Access::Ordinary)?;
        }
        let key = VerifierKey::new(&membership.federation, SignatureType::Ed25519, membership.server_key)?;
        let origin = json!({
            "origin": membership.federation,
            "server-key": membership.server_key,
            "log-key": key.to_string(),
        });
        durable::write(&out.join("federation.json"), origin.to_string().as_bytes(), Access::Ordinary)?;
        // Last: a folder that has a checkpoint has all that it covers.
        durable::write(&out.join("checkpoint"), checkpoint.as_bytes(), Access::Ordinary)?;
        if let Some((version, model)) = home.current_model()? {
            let path = out.join("models").join(format!("{version}.safetensors"));
            durable::write(&path, &model.to_bytes(), Access::Ordinary)?;
        }
    }
    let root = log.root_at(log.size());
    match format {
        Format::Json => print_json(&json!({ "entries": log.size(), "new": fresh, "root": root })),
        Format::Text => {
            say!("{} entries ({fresh} new), verified against the federation's signed root", log.size());
            if let Some(out) = out {
                say!("written to {}; judge it with: forecastle-audit verify {}", out.display(), out.display());
            }
            Ok(())
        }
    }
}
