//! Reads the log out to merchants: the newest checkpoint, and leaves.

use std::sync::Arc;

use forecastle_proto::{
    ledger::{EntriesChunk, EntriesRequest, LatestCheckpointRequest, LatestCheckpointResponse, ledger_server::Ledger},
    limits::{ENTRIES_CHUNK_BYTES, ENTRIES_PER_CALL_MAX},
};
use tonic::{Request, Response, Status};

use crate::{
    identity::merchants::{caller, internal},
    ledger::store::leaves,
    round::service::Answers,
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
        caller(self.0.state.pool(), &request).await?;
        let checkpoint = self.0.ledger.checkpoint().await.map_err(internal)?;
        Ok(Response::new(LatestCheckpointResponse { checkpoint }))
    }

    async fn entries(&self, request: Request<EntriesRequest>) -> Result<Response<Self::EntriesStream>, Status> {
        caller(self.0.state.pool(), &request).await?;
        let EntriesRequest { from, to } = request.into_inner();
        let (size, _) = self.0.ledger.head().await.map_err(internal)?;
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
        Ok(Response::new(Box::pin(tokio_stream::iter(chunks))))
    }
}
