//! Reads the log out to merchants: the newest checkpoint, leaves, and proofs about both.

use std::sync::Arc;

use forecastle_crypto::{identity::Sha256Digest, ledger::merkle::ConsistencyProof};
use forecastle_proto::{
    ledger::{
        EntriesChunk, EntriesRequest, InclusionPath, InclusionRequest, InclusionResponse, LatestCheckpointRequest,
        LatestCheckpointResponse, ledger_server::Ledger,
    },
    limits::{ENTRIES_CHUNK_BYTES, ENTRIES_PER_CALL_MAX},
};
use tonic::{Request, Response, Status};

use crate::{
    identity::merchants::{caller, internal},
    ledger::store::{LedgerError, leaves},
    round::service::{Answers, answers},
    server::Shared,
};

/// The service.
pub(crate) struct LedgerService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Ledger for LedgerService {
    type EntriesStream = Answers<EntriesChunk>;

    async fn latest_checkpoint(
        &self,
        request: Request<LatestCheckpointRequest>,
    ) -> Result<Response<LatestCheckpointResponse>, Status> {
        let _caller = caller(&self.0, &request).await?;
        let growth = self.0.ledger.growth(&request.into_inner().seen).await.map_err(refused)?;
        let consistency = digests(growth.consistency);
        Ok(Response::new(LatestCheckpointResponse { checkpoint: growth.checkpoint, consistency }))
    }

    async fn inclusion(&self, request: Request<InclusionRequest>) -> Result<Response<InclusionResponse>, Status> {
        let _caller = caller(&self.0, &request).await?;
        let InclusionRequest { leaf_hash, seen } = request.into_inner();
        let leaf = leaf_hash
            .try_into()
            .map(Sha256Digest)
            .map_err(|_| Status::invalid_argument("a leaf hash has 32 bytes: SHA-256 of a zero byte and the entry"))?;
        let (growth, proof) = self.0.ledger.inclusion(&leaf, &seen).await.map_err(refused)?;
        Ok(Response::new(InclusionResponse {
            checkpoint: growth.checkpoint,
            consistency: digests(growth.consistency),
            inclusion: proof.map(|proof| InclusionPath { index: proof.index, path: bytes(&proof.path) }),
        }))
    }

    async fn entries(&self, request: Request<EntriesRequest>) -> Result<Response<Self::EntriesStream>, Status> {
        let caller = caller(&self.0, &request).await?;
        let EntriesRequest { from, to } = request.into_inner();
        let (size, _) = self.0.ledger.head().await.map_err(refused)?;
        if from > to || to > size {
            return Err(Status::out_of_range(format!("entries {from}..{to} were asked for; the log has {size}")));
        }
        if to - from > ENTRIES_PER_CALL_MAX {
            return Err(Status::invalid_argument(format!(
                "at most {ENTRIES_PER_CALL_MAX} entries are sent in one call: ask in parts"
            )));
        }
        let rows = leaves(self.0.state.pool(), from, to).await.map_err(internal)?;
        let mut chunks = Vec::new();
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        for leaf in rows {
            bytes += leaf.len();
            chunk.push(leaf);
            if bytes >= ENTRIES_CHUNK_BYTES {
                chunks.push(Ok(EntriesChunk { leaves: std::mem::take(&mut chunk) }));
                bytes = 0;
            }
        }
        if !chunk.is_empty() {
            chunks.push(Ok(EntriesChunk { leaves: chunk }));
        }
        Ok(Response::new(answers(caller, chunks)))
    }
}

fn digests(proof: Option<ConsistencyProof>) -> Vec<Vec<u8>> {
    proof.map_or_else(Vec::new, |proof| bytes(&proof.path))
}

fn bytes(path: &[Sha256Digest]) -> Vec<Vec<u8>> {
    path.iter().map(|digest| digest.0.to_vec()).collect()
}

/// What a merchant is told: a log that does not hold what was signed is named, everybody should know.
fn refused(error: LedgerError) -> Status {
    match error {
        LedgerError::Foreign(_) => Status::invalid_argument(error.to_string()),
        LedgerError::Shortened { .. } | LedgerError::Altered { .. } => {
            tracing::error!("{error}");
            Status::failed_precondition(format!(
                "this server no longer holds the log that it signed, and refuses to go on: {error}"
            ))
        }
        other => internal(other),
    }
}
