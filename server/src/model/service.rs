//! Hands published models out, in chunks.

use std::sync::Arc;

use forecastle_proto::{
    limits::CHUNK_BYTES,
    model_service::{GetModelRequest, LatestRequest, ModelChunk, ModelReference, models_server::Models},
};
use tonic::{Request, Response, Status};

use crate::{
    identity::merchants::{caller, internal},
    round::service::{Answers, answers},
    server::Shared,
};

/// The service.
pub(crate) struct ModelService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Models for ModelService {
    type GetStream = Answers<ModelChunk>;

    async fn latest(&self, request: Request<LatestRequest>) -> Result<Response<ModelReference>, Status> {
        let _caller = caller(&self.0, &request).await?;
        let latest = self.0.registry.latest();
        Ok(Response::new(ModelReference {
            version: latest.row.version,
            sha256: latest.row.sha256.as_bytes().to_vec(),
            length: latest.row.length,
        }))
    }

    async fn get(&self, request: Request<GetModelRequest>) -> Result<Response<Self::GetStream>, Status> {
        let caller = caller(&self.0, &request).await?;
        let version = request.into_inner().version;
        let (_, bytes) = self
            .0
            .registry
            .file(self.0.state.pool(), version)
            .await
            .map_err(internal)?
            .ok_or_else(|| Status::not_found(format!("there is no model version {version}")))?;
        // Cut as the connection takes them: one chunk is in memory twice, not the model.
        let chunks = (0..bytes.len().div_ceil(CHUNK_BYTES)).map(move |k| {
            let chunk = &bytes[k * CHUNK_BYTES..((k + 1) * CHUNK_BYTES).min(bytes.len())];
            Ok(ModelChunk { data: chunk.to_vec().into() })
        });
        Ok(Response::new(answers(caller, chunks)))
    }
}
