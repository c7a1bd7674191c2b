//! Which models followed: every published version from the one before, every file at hand the published one.

use std::collections::HashMap;

use super::{Auditor, Rule};
use crate::{identity::Sha256Digest, ledger::entry::RoundClosed};

impl Auditor {
    pub(super) fn judge_lineage(&mut self, index: u64, closed: &RoundClosed) {
        let terms = &closed.terms;
        let (version, digest, _) = *self.models.last().expect("version 0 is founded");
        self.expect((terms.model_version, terms.model_sha256) == (version, digest), index, Rule::ModelLineage, || {
            format!("trained model {} instead of the published version {version}", terms.model_version)
        });
        self.expect(closed.model_version == version.saturating_add(1), index, Rule::ModelLineage, || {
            format!("publishes version {} after {version}", closed.model_version)
        });
        self.models.push((closed.model_version, closed.model_sha256, index));
    }

    pub(super) fn judge_models(&mut self, files: &HashMap<u64, Sha256Digest>) {
        for (version, digest, index) in self.models.clone() {
            if let Some(file) = files.get(&version) {
                self.models_compared += 1;
                self.expect(*file == digest, index, Rule::ModelFile, || {
                    format!("the file of model {version} is not the one published")
                });
            }
        }
        let mut unpublished: Vec<u64> = files.keys().copied().collect();
        unpublished.retain(|version| !self.models.iter().any(|(v, _, _)| v == version));
        unpublished.sort_unstable();
        for version in unpublished {
            self.find(None, Rule::ModelFile, format!("model {version} was never published"));
        }
    }
}
