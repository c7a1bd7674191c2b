//! `forecastle-server model`.

use std::path::Path;

use clap::Subcommand;
use forecastle_server::state::FederationState;

use super::{Format, Outcome, at, show};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  forecastle-server model list
  forecastle-server model list --format json")]
pub(crate) enum Model {
    /// List published versions
    List,
}

impl Model {
    pub(crate) async fn run(self, directory: &Path, format: Format) -> Outcome {
        let Self::List = self;
        let rows = FederationState::open(directory).await?.models().await?;
        show(format, &rows, || {
            let line = |row: &forecastle_server::model::registry::ModelRow| {
                let origin = row.round.map_or_else(|| "given at the start".into(), |round| format!("round {round}"));
                format!(
                    "version {:>4}  {}  {origin}, {} bytes, log entry {}, SHA-256 {}",
                    row.version,
                    at(row.at_ms),
                    row.length,
                    row.ledger_index,
                    row.sha256
                )
            };
            rows.iter().map(line).collect::<Vec<_>>().join("\n")
        })
    }
}
