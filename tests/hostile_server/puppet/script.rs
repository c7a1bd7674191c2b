//! Where a puppet lies: one hook for each thing that a server says.
//!
//! A hook gets what the honest server would have said and leaves what is said instead. Hooks are called once for each
//! answer, in the order of the answers, and may remember. Without a hook the honest answer passes unchanged, byte by byte.

use forecastle_crypto::secagg::{DeliveredShares, RoundOffer, SurvivorSet, UnmaskRequest};
use forecastle_proto::{
    enrolment::{JoinResponse, PreviewResponse},
    ledger::{EntriesChunk, InclusionResponse, LatestCheckpointResponse},
    model_service::ModelChunk,
    round::{AwaitMessageResponse, AwaitOfferResponse, AwaitOutcomeResponse, UploadOffsetResponse},
};
use tonic::{Status, codegen::BoxStream};

/// Changes what is said.
pub type Hook<T> = Option<Box<dyn FnMut(&mut T) + Send>>;
/// Cuts an answer into parts, or makes parts up.
pub type Parts<T, P> = Option<Box<dyn FnMut(T) -> BoxStream<P> + Send>>;

/// All hooks.
#[derive(Default)]
pub struct Script {
    /// What is shown before joining.
    pub preview: Hook<PreviewResponse>,
    /// What was joined.
    pub joined: Hook<JoinResponse>,
    /// How many pre-keys the server has left.
    pub prekeys_left: Hook<u32>,
    /// The offer; signed again where it was changed, its session translated from then on.
    pub offer: Hook<RoundOffer>,
    /// The whole answer to a merchant that waits for an offer, after `offer`.
    pub offer_answer: Hook<AwaitOfferResponse>,
    /// What a merchant that waits for an offer is told, without asking the real server.
    pub offer_instead: Option<AwaitOfferResponse>,
    /// The last offer is made again and again, whatever the merchant asks for.
    pub repeats_offer: bool,
    /// S2.
    pub shares: Hook<DeliveredShares>,
    /// S3.
    pub survivors: Hook<SurvivorSet>,
    /// S4.
    pub request: Hook<UnmaskRequest>,
    /// S2, S3 and S4, whole, without asking the real server. `None` for those that it may answer.
    pub instead: Option<Box<dyn FnMut(Awaited) -> Option<AwaitMessageResponse> + Send>>,
    /// How the round ended.
    pub outcome: Hook<AwaitOutcomeResponse>,
    /// What an upload is answered with.
    pub uploaded: Hook<Result<UploadOffsetResponse, Status>>,
    /// How much of an upload the server says to have.
    pub upload_offset: Hook<u64>,
    /// A model file.
    pub model: Hook<Vec<u8>>,
    /// The parts in which a model file is sent.
    pub model_parts: Parts<Vec<u8>, ModelChunk>,
    /// The log's entries. Every answer about the log, and the root in every offer, then follows from what is left here.
    pub log: Hook<Vec<Vec<u8>>>,
    /// The newest checkpoint and its proof.
    pub checkpoint: Hook<LatestCheckpointResponse>,
    /// Whether an entry is there.
    pub inclusion: Hook<InclusionResponse>,
    /// The parts in which entries are sent.
    pub entry_parts: Parts<Vec<Vec<u8>>, EntriesChunk>,
    /// Messages of the merchant that are taken and go no further.
    pub keeps: Vec<Upward>,
    /// Methods whose answers begin and never end, such as `Rounds/AwaitOffer`.
    pub silent: Vec<&'static str>,
}

/// What a merchant waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// S2.
    Shares,
    /// S3.
    Survivors,
    /// S4.
    Request,
}

/// A message of the merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upward {
    /// M1.
    Shares,
    /// M2.
    Update,
    /// M3.
    Confirmation,
    /// M4.
    Answer,
}

/// A hook that does `lie`.
pub fn hook<T>(lie: impl FnMut(&mut T) + Send + 'static) -> Hook<T> {
    Some(Box::new(lie))
}
