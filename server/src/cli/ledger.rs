//! `forecastle-server ledger`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use forecastle_server::state::FederationState;

use super::{Format, Outcome, show};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  forecastle-server ledger export audit/ && forecastle-audit verify audit/")]
pub(crate) enum Ledger {
    /// Write log, checkpoint, server key and models into a folder for the offline auditor
    Export {
        /// The folder; it is made where it does not exist
        target: PathBuf,
    },
}

impl Ledger {
    pub(crate) async fn run(self, directory: &Path, format: Format) -> Outcome {
        let Self::Export { target } = self;
        let summary = FederationState::open(directory).await?.export_ledger(&target).await?;
        show(format, &summary, || {
            format!("wrote {} log entries and {} models into {}", summary.entries, summary.models, target.display())
        })
    }
}
