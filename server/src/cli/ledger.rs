//! `forecastle-server ledger`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use forecastle_crypto::ledger::{checkpoint::CHECKPOINT_BYTES_MAX, note::VerifierKey};
use forecastle_server::{state::FederationState, store::files};

use super::{Format, Outcome, show};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  forecastle-server ledger export audit/ && forecastle-audit verify audit/
  forecastle-audit witness cosign audit/ --state w1 --server-key KEY --out cosigned
  forecastle-server ledger cosign cosigned --witness $(cat w1/witness.vkey)
  forecastle-server ledger export audit/ --cosigned")]
pub(crate) enum Ledger {
    /// Write log, checkpoint, server key and models into a folder for auditors, witnesses or a web server
    Export {
        /// The folder; it is made where it does not exist
        target: PathBuf,
        /// Write the log as of the newest checkpoint that a witness cosigned; later entries are left out
        #[arg(long)]
        cosigned: bool,
    },
    /// Keep a witness's cosignature: exports and merchants get it with the checkpoint of its size
    Cosign {
        /// What `forecastle-audit witness cosign` wrote
        file: PathBuf,
        /// The witness's verifier key, NAME+HASH+KEY
        #[arg(long, value_name = "VKEY")]
        witness: VerifierKey,
    },
}

impl Ledger {
    pub(crate) async fn run(self, directory: &Path, format: Format) -> Outcome {
        let state = FederationState::open(directory).await?;
        match self {
            Self::Export { target, cosigned } => {
                let summary = if cosigned {
                    state.export_cosigned_ledger(&target).await?
                } else {
                    state.export_ledger(&target).await?
                };
                show(format, &summary, || {
                    format!(
                        "wrote {} log entries and {} models into {}",
                        summary.entries,
                        summary.models,
                        target.display()
                    )
                })
            }
            Self::Cosign { file, witness } => {
                let note = String::from_utf8(files::read_bounded(&file, CHECKPOINT_BYTES_MAX)?)?;
                let summary = state.cosign(&note, &witness).await?;
                show(format, &summary, || {
                    format!(
                        "kept the cosignature of {} over {} entries; {} witnesses cosigned them so far",
                        summary.witness, summary.entries, summary.cosignatures
                    )
                })
            }
        }
    }
}
