//! The log as a whole: the federation's key, the signed checkpoint, the tree, and the histories that rounds were
//! offered on.

use super::{Auditor, Rule};
use crate::ledger::checkpoint::SignedCheckpoint;

impl Auditor {
    pub(super) fn judge_checkpoint(&mut self, note: &str) {
        let key = self.server_key;
        if key != self.founded.server_key {
            self.find(Some(0), Rule::FederationKey, "the federation was founded with another key than the one trusted");
        }
        let signed = match SignedCheckpoint::parse(note) {
            Ok(signed) => signed,
            Err(e) => return self.find(None, Rule::Checkpoint, format!("the checkpoint is not readable: {e}")),
        };
        let federation = self.founded.federation.clone();
        match signed.verify(&federation, &key) {
            Err(e) => self.find(None, Rule::Checkpoint, format!("the checkpoint is not signed by the federation: {e}")),
            Ok(checkpoint) if checkpoint.origin != federation => {
                self.find(None, Rule::Checkpoint, format!("the checkpoint is of `{}`", checkpoint.origin));
            }
            Ok(checkpoint) if checkpoint.size != self.tree.size() => self.find(
                None,
                Rule::Tree,
                format!("the checkpoint covers {} entries, {} are given", checkpoint.size, self.tree.size()),
            ),
            Ok(checkpoint) if checkpoint.root != self.tree.root() => {
                self.find(
                    None,
                    Rule::Tree,
                    "the entries do not give the root in the checkpoint: at least one was altered",
                );
            }
            Ok(_) => {}
        }
    }

    /// Every offer names the log's size and root when it was made. Merchants checked them against their own copies, so
    /// a history that was rewritten for the auditor shows here even where the federation signed it.
    ///
    /// Where the tree is already known to be wrong, the first mismatch only is a finding: it says from where on.
    pub(super) fn judge_offered_heads(&mut self) {
        let broken = self.findings.iter().any(|finding| finding.rule == Rule::Tree);
        let mut good = 0;
        for (index, size, root) in std::mem::take(&mut self.heads) {
            if size <= index && self.tree.root_at(size).is_ok_and(|own| own == root) {
                good = size;
                continue;
            }
            self.find(
                Some(index),
                Rule::OfferedHead,
                format!(
                    "the round was offered on a log of {size} entries with another root than this log had; the first {good} entries agree"
                ),
            );
            if broken {
                break;
            }
        }
    }
}
