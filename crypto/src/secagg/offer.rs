//! The round's offer: everything that must be the same for everybody, in one signed text.
//!
//! The offer is JSON. Its exact bytes as received are what is signed and hashed; they are parsed once, unknown fields
//! and impossible values are refused, and `sid` = SHA-256(bytes) enters every key, associated datum and signature of
//! the round. So two participants who saw different offers cannot even decrypt each other's shares.
//!
//! The invariant: a [`VerifiedOffer`] holds a roster of distinct merchants, identities and keys, each bundle signed by
//! its merchant; thresholds that hold together; a grid and a noise share that exist, and noise shares of m − n_C
//! participants that add up to the promised total.
//!
//! Left out on purpose: whether the terms are *acceptable* to a merchant. Its own plan is a floor, and the privacy
//! filter compares the two; directory inclusion proofs come with the directory.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::graph::Graph;
use super::keys::{AgreementKey, BundleError, PrekeyBundle, Sid};
use super::participants::{ParticipantNumber, ParticipantSet};
use super::threshold::{ThresholdError, ValidThreshold};
use crate::dp::noise::Variance;
use crate::identity::{BadSignature, MerchantId, Sha256Digest, Signature, SigningKey, VerifyingKey, sha256};
use crate::quantize::{Grid, GridError};

/// What offers are signed for.
pub const OFFER_CONTEXT: &str = "forecastle/secagg/offer/v1";

/// The version this code speaks.
pub const OFFER_VERSION: u16 = 1;

/// The largest offer that is parsed, in bytes: 10,000 roster entries with the longest names fit.
pub const OFFER_BYTES_MAX: usize = 8 << 20;

/// What a round does, apart from who takes part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundTerms {
    /// The federation's name, 1 to 128 characters.
    pub federation: String,
    /// The run: rounds under one privacy plan.
    pub run: u64,
    /// The round within the run.
    pub round: u64,
    /// The model version that participants start from.
    pub model_version: u64,
    /// SHA-256 of that model's file.
    pub model_sha256: Sha256Digest,
    /// SHA-256 of the layout of the parameter vector.
    pub layout_sha256: Sha256Digest,
    /// d, coordinates of the update.
    pub dimension: u32,
    /// b, width of the modulus.
    pub bits: u8,
    /// s, grid units per clip norm.
    pub units_per_clip: u64,
    /// The norm that is s units: C, or the norm of a whole update after noised local steps.
    pub clip: f64,
    /// σ, standard deviation of the total noise as a multiple of C, with m − n_C noise shares in it.
    pub sigma_total: f64,
    /// One participant's noise in squared grid units: its share, or all of it where every local step carries it.
    pub variance_local: Variance,
    /// m, the fewest survivors.
    pub survivors_min: u16,
    /// t, the shares that reconstruct.
    pub threshold: u16,
    /// k, against how many others each participant masks; absent on the complete graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<u16>,
    /// n_C, the assumed colluders.
    pub colluders_assumed: u16,
    /// SHA-256 of the privacy plan.
    pub plan_sha256: Sha256Digest,
    /// When masked updates are due, in milliseconds since 1970-01-01 UTC.
    pub deadline_ms: u64,
    /// Entries in the federation's log when the offer was made.
    pub ledger_size: u64,
    /// The log's root at that size.
    pub ledger_root: Sha256Digest,
}

impl RoundTerms {
    /// The grid that updates are rounded on.
    ///
    /// # Errors
    /// [`GridError`] when dimension, bits, units or clip are out of range.
    pub fn grid(&self) -> Result<Grid, GridError> {
        Grid::new(self.dimension, self.bits, self.units_per_clip, self.clip)
    }
}

/// One invited participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RosterEntry {
    /// Who.
    pub merchant: MerchantId,
    /// Its long-term identity key.
    pub identity: VerifyingKey,
    /// Its pre-key for this round.
    pub bundle: PrekeyBundle,
}

/// The offer as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundOffer {
    /// The protocol's version, [`OFFER_VERSION`].
    pub version: u16,
    /// What the round does.
    pub terms: RoundTerms,
    /// Who is invited; participant n is entry n − 1.
    pub roster: Vec<RosterEntry>,
}

/// Why an offer is not taken part in.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OfferError {
    /// Longer than [`OFFER_BYTES_MAX`].
    #[error("the offer has {0} bytes, more than any roster needs")]
    TooLong(usize),
    /// Not signed by the federation that this merchant joined.
    #[error("the offer is not the federation's: {0}")]
    Signature(#[from] BadSignature),
    /// Not JSON of this version's shape.
    #[error("the offer cannot be read: {0}")]
    Malformed(String),
    /// Another version.
    #[error("the offer speaks version {0}, this program version {OFFER_VERSION}; update the older side")]
    Version(u16),
    /// No federation name, or one too long.
    #[error("the federation's name must have 1 to 128 characters")]
    FederationName,
    /// Thresholds that do not hold together.
    #[error("the offer's thresholds: {0}")]
    Threshold(#[from] ThresholdError),
    /// A grid that cannot exist.
    #[error("the offer's grid: {0}")]
    Grid(#[from] GridError),
    /// The promised total noise is not positive, or the shares do not add up to it.
    #[error("{honest} noise shares add up to a σ of {reached}·C, less than the {promised}·C that the offer promises")]
    NoiseShortfall {
        /// m − n_C.
        honest: u16,
        /// The σ that the shares reach, as a multiple of C.
        reached: f64,
        /// `sigma_total`.
        promised: f64,
    },
    /// A merchant, identity key or pre-key that appears twice.
    #[error("{merchant} appears in the roster with a {what} that an earlier entry has already")]
    Duplicate {
        /// The later of the two.
        merchant: MerchantId,
        /// What is repeated.
        what: &'static str,
    },
    /// A pre-key that is not its merchant's.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// An offer's exact bytes and the federation's signature over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedOffer {
    /// JSON of a [`RoundOffer`].
    pub bytes: Vec<u8>,
    /// Under [`OFFER_CONTEXT`].
    pub signature: Signature,
}

impl SignedOffer {
    /// Writes and signs an offer. It is not checked here; whoever publishes it opens it first.
    ///
    /// # Errors
    /// [`OfferError::Malformed`] when a number has no JSON form (a clip norm that is not finite).
    pub fn sign(offer: &RoundOffer, federation: &SigningKey) -> Result<Self, OfferError> {
        let bytes = serde_json::to_vec(offer).map_err(|error| OfferError::Malformed(error.to_string()))?;
        let signature = federation.sign(OFFER_CONTEXT, &bytes);
        Ok(Self { bytes, signature })
    }

    /// Checks everything that can be checked from the offer alone, against the federation's pinned key.
    ///
    /// # Errors
    /// [`OfferError`], before anything is parsed when the signature is wrong.
    pub fn open(&self, federation: &VerifyingKey) -> Result<VerifiedOffer, OfferError> {
        if self.bytes.len() > OFFER_BYTES_MAX {
            return Err(OfferError::TooLong(self.bytes.len()));
        }
        federation.verify(OFFER_CONTEXT, &self.bytes, &self.signature)?;
        let offer: RoundOffer =
            serde_json::from_slice(&self.bytes).map_err(|error| OfferError::Malformed(error.to_string()))?;
        if offer.version != OFFER_VERSION {
            return Err(OfferError::Version(offer.version));
        }
        if offer.terms.federation.is_empty() || offer.terms.federation.len() > 128 {
            return Err(OfferError::FederationName);
        }
        let participants = u16::try_from(offer.roster.len()).unwrap_or(u16::MAX);
        let terms = &offer.terms;
        let (m, t, colluders) = (terms.survivors_min, terms.threshold, terms.colluders_assumed);
        let threshold = match terms.neighbours {
            None => ValidThreshold::new(participants, m, t, colluders)?,
            Some(neighbours) => ValidThreshold::regular(participants, m, t, colluders, neighbours)?,
        };
        let grid = terms.grid()?;
        check_noise(terms, threshold)?;
        check_roster(&offer.roster)?;
        let sid = sha256(&self.bytes);
        let opened = Opened { sid, offer, threshold, grid, graph: threshold.graph(&sid) };
        Ok(VerifiedOffer(Arc::new(opened)))
    }
}

fn check_noise(terms: &RoundTerms, threshold: ValidThreshold) -> Result<(), OfferError> {
    let honest = threshold.survivors_min() - threshold.colluders();
    let reached = (f64::from(honest) * terms.variance_local.squared()).sqrt() / terms.units_per_clip as f64;
    // The comparison of two rounded square roots may err by a few units in the last place.
    let enough =
        terms.sigma_total.is_finite() && terms.sigma_total > 0.0 && reached >= terms.sigma_total * (1.0 - 1e-12);
    if enough { Ok(()) } else { Err(OfferError::NoiseShortfall { honest, reached, promised: terms.sigma_total }) }
}

fn check_roster(roster: &[RosterEntry]) -> Result<(), OfferError> {
    let mut merchants = HashSet::new();
    let mut identities = HashSet::new();
    let mut keys: HashSet<AgreementKey> = HashSet::new();
    for entry in roster {
        let duplicate = |what| OfferError::Duplicate { merchant: entry.merchant.clone(), what };
        if !merchants.insert(&entry.merchant) {
            return Err(duplicate("name"));
        }
        if !identities.insert(entry.identity) {
            return Err(duplicate("identity key"));
        }
        if !keys.insert(entry.bundle.channel_key) || !keys.insert(entry.bundle.mask_key) {
            return Err(duplicate("pre-key"));
        }
    }
    roster.iter().try_for_each(|entry| entry.bundle.verify(&entry.merchant, &entry.identity).map_err(OfferError::from))
}

/// An offer that [`SignedOffer::open`] accepted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct VerifiedOffer(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    sid: Sid,
    offer: RoundOffer,
    threshold: ValidThreshold,
    grid: Grid,
    graph: Graph,
}

impl VerifiedOffer {
    /// The round's name: SHA-256 of the offer's bytes.
    pub fn sid(&self) -> Sid {
        self.0.sid
    }

    /// What the round does.
    pub fn terms(&self) -> &RoundTerms {
        &self.0.offer.terms
    }

    /// Who is invited; participant n is entry n − 1.
    pub fn roster(&self) -> &[RosterEntry] {
        &self.0.offer.roster
    }

    /// Everybody's number.
    pub fn everyone(&self) -> ParticipantSet {
        ParticipantSet::first(self.roster().len())
    }

    /// n, m, q, t, k and n_C.
    pub fn threshold(&self) -> ValidThreshold {
        self.0.threshold
    }

    /// Who masks against whom, and who holds whose shares.
    pub fn graph(&self) -> &Graph {
        &self.0.graph
    }

    /// The grid that updates are rounded on.
    pub fn grid(&self) -> Grid {
        self.0.grid
    }

    /// The number of `merchant`; `None` when it is not invited.
    pub fn number_of(&self, merchant: &MerchantId) -> Option<ParticipantNumber> {
        let position = self.roster().iter().position(|entry| &entry.merchant == merchant)?;
        ParticipantNumber::from_position(position)
    }

    /// The entry of participant `number`; `None` beyond the roster.
    pub fn entry(&self, number: ParticipantNumber) -> Option<&RosterEntry> {
        self.roster().get(number.position())
    }
}
