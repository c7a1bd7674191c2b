//! Joining, models and the log, passed on with what the script changes.
//!
//! Where the script changes the log's entries, everything that is said about the log follows from what it left: the tree
//! is built anew and its head signed with the federation's own key. No proof can lead there from a head of the true log,
//! but whoever never saw one has no means to tell.

use forecastle_crypto::{
    identity::Sha256Digest,
    ledger::{
        checkpoint::{Checkpoint, SignedCheckpoint},
        merkle::{MerkleTree, leaf_hash},
    },
};
use forecastle_proto::{
    enrolment::{JoinRequest, JoinResponse, PreviewRequest, PreviewResponse, enrolment_server::Enrolment},
    ledger::{
        EntriesChunk, EntriesRequest, InclusionPath, InclusionRequest, InclusionResponse, LatestCheckpointRequest,
        LatestCheckpointResponse, ledger_server::Ledger,
    },
    limits::CHUNK_BYTES,
    model_service::{GetModelRequest, LatestRequest, ModelChunk, ModelReference, models_server::Models},
};
use tonic::{Request, Response, Status, codegen::BoxStream};

use super::Backstage;

#[tonic::async_trait]
impl Enrolment for Backstage {
    async fn preview(&self, request: Request<PreviewRequest>) -> Result<Response<PreviewResponse>, Status> {
        let mut answer = self.enrolment().preview(request.into_inner()).await?;
        if let Some(hook) = &mut self.script().preview {
            hook(answer.get_mut());
        }
        Ok(answer)
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let mut answer = self.enrolment().join(request.into_inner()).await?;
        if let Some(hook) = &mut self.script().joined {
            hook(answer.get_mut());
        }
        Ok(answer)
    }
}

#[tonic::async_trait]
impl Models for Backstage {
    type GetStream = BoxStream<ModelChunk>;

    async fn latest(&self, request: Request<LatestRequest>) -> Result<Response<ModelReference>, Status> {
        self.models().latest(request.into_inner()).await
    }

    async fn get(&self, request: Request<GetModelRequest>) -> Result<Response<Self::GetStream>, Status> {
        let mut chunks = self.models().get(request.into_inner()).await?.into_inner();
        let mut file = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            file.extend_from_slice(&chunk.data);
        }
        let mut script = self.script();
        if let Some(hook) = &mut script.model {
            hook(&mut file);
        }
        let parts = match &mut script.model_parts {
            Some(parts) => parts(file),
            None => {
                let chunks: Vec<_> =
                    file.chunks(CHUNK_BYTES).map(|data| Ok(ModelChunk { data: data.to_vec().into() })).collect();
                Box::pin(tokio_stream::iter(chunks))
            }
        };
        Ok(Response::new(parts))
    }
}

#[tonic::async_trait]
impl Ledger for Backstage {
    type EntriesStream = BoxStream<EntriesChunk>;

    async fn latest_checkpoint(
        &self,
        request: Request<LatestCheckpointRequest>,
    ) -> Result<Response<LatestCheckpointResponse>, Status> {
        let request = request.into_inner();
        let mut answer = match self.forged_log().await? {
            Some(log) => {
                LatestCheckpointResponse { checkpoint: log.note(self), consistency: log.consistency(&request.seen) }
            }
            None => self.ledger().latest_checkpoint(request).await?.into_inner(),
        };
        if let Some(hook) = &mut self.script().checkpoint {
            hook(&mut answer);
        }
        Ok(Response::new(answer))
    }

    async fn inclusion(&self, request: Request<InclusionRequest>) -> Result<Response<InclusionResponse>, Status> {
        let request = request.into_inner();
        let mut answer = match self.forged_log().await? {
            Some(log) => InclusionResponse {
                checkpoint: log.note(self),
                consistency: log.consistency(&request.seen),
                inclusion: log.inclusion(&request.leaf_hash),
            },
            None => self.ledger().inclusion(request).await?.into_inner(),
        };
        if let Some(hook) = &mut self.script().inclusion {
            hook(&mut answer);
        }
        Ok(Response::new(answer))
    }

    async fn entries(&self, request: Request<EntriesRequest>) -> Result<Response<Self::EntriesStream>, Status> {
        let EntriesRequest { from, to } = request.into_inner();
        let leaves = match self.forged_log().await? {
            Some(log) => log.leaves[from as usize..to as usize].to_vec(),
            None => self.honest_leaves(from, to).await?,
        };
        let parts = match &mut self.script().entry_parts {
            Some(parts) => parts(leaves),
            None => Box::pin(tokio_stream::once(Ok(EntriesChunk { leaves }))) as Self::EntriesStream,
        };
        Ok(Response::new(parts))
    }
}

/// A log as the merchant is to see it.
struct ForgedLog {
    leaves: Vec<Vec<u8>>,
    tree: MerkleTree,
}

impl Backstage {
    /// Size and root of the log that the merchant is shown, where it is not the true one.
    pub(super) async fn forged_head(&self) -> Result<Option<(u64, Sha256Digest)>, Status> {
        Ok(self.forged_log().await?.map(|log| (log.tree.size(), log.tree.root())))
    }

    async fn forged_log(&self) -> Result<Option<ForgedLog>, Status> {
        if self.script().log.is_none() {
            return Ok(None);
        }
        let head = self.ledger().latest_checkpoint(LatestCheckpointRequest::default()).await?.into_inner();
        let head = SignedCheckpoint::parse(&head.checkpoint).expect("the real server's own checkpoint");
        let mut leaves = self.honest_leaves(0, head.danger_unverified().size).await?;
        if let Some(hook) = &mut self.script().log {
            hook(&mut leaves);
        }
        let tree = MerkleTree::from_leaf_hashes(leaves.iter().map(|leaf| leaf_hash(leaf)));
        Ok(Some(ForgedLog { leaves, tree }))
    }

    async fn honest_leaves(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, Status> {
        let mut chunks = self.ledger().entries(EntriesRequest { from, to }).await?.into_inner();
        let mut leaves = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            leaves.extend(chunk.leaves);
        }
        Ok(leaves)
    }

    /// A head of any log, signed as the federation's.
    pub fn signed_head(&self, tree: &MerkleTree) -> String {
        let origin = "market";
        Checkpoint::of(origin, tree).sign(origin, &self.key).expect("a signed head").to_string()
    }
}

impl ForgedLog {
    fn note(&self, backstage: &Backstage) -> String {
        backstage.signed_head(&self.tree)
    }

    /// The proof that would be right if the log that was seen were a beginning of this one.
    fn consistency(&self, seen: &str) -> Vec<Vec<u8>> {
        let seen = SignedCheckpoint::parse(seen).map_or(0, |seen| seen.danger_unverified().size);
        let proof = self.tree.consistency_proof(seen, self.tree.size());
        proof.map_or_else(|_| Vec::new(), |proof| proof.path.iter().map(|digest| digest.0.to_vec()).collect())
    }

    fn inclusion(&self, wanted: &[u8]) -> Option<InclusionPath> {
        let index = self.leaves.iter().position(|leaf| leaf_hash(leaf).0 == wanted)? as u64;
        let proof = self.tree.inclusion_proof(index, self.tree.size()).expect("it is in the tree");
        Some(InclusionPath { index, path: proof.path.iter().map(|digest| digest.0.to_vec()).collect() })
    }
}
