//! Opens one secret of each participant, once.
//!
//! Advances on an [`UnmaskRequest`] that carries valid statements of at least q survivors about exactly the sets this
//! participant signed, the signature of every survivor it holds shares of that it masked against the same U1, and asks for exactly the self-masks of U2 and the mask keys of U1∖U2. The invariant: the answer
//! exists once. [`Answered`] is stored before it is sent, hands out the same bytes for the same request, and refuses
//! every other.

use zeroize::Zeroizing;

use super::super::error::ParticipantError;
use super::super::messages::{
    CONSISTENCY_CONTEXT, DecodeError, HeldShares, SHARERS_CONTEXT, SecretKind, UnmaskRequest, UnmaskResponse,
    consistency_message, sharers_message,
};
use super::super::participants::{ParticipantNumber, ParticipantSet};
use super::Member;
use crate::identity::{Sha256Digest, sha256};

/// Signed the survivors; waits for the proof that others signed the same.
pub struct Unmasking {
    member: Member,
    sharers: ParticipantSet,
    survivors: ParticipantSet,
    held: Vec<(ParticipantNumber, HeldShares)>,
}

impl Unmasking {
    pub(super) fn new(
        member: Member,
        sharers: ParticipantSet,
        survivors: ParticipantSet,
        held: Vec<(ParticipantNumber, HeldShares)>,
    ) -> Self {
        Self { member, sharers, survivors, held }
    }

    /// Answers the one request of the round.
    ///
    /// # Errors
    /// [`ParticipantError`]: a foreign round; a participant named on both lists; lists that are not the agreed sets;
    /// statements that are forged, of strangers, or of fewer than q survivors; a survivor that masked against another U1.
    pub fn unmask(self, request: &UnmaskRequest) -> Result<Answered, ParticipantError> {
        const MESSAGE: &str = "unmasking request";
        self.member.check_round(MESSAGE, request.sid)?;
        self.check_lists(request)?;
        self.check_statements(MESSAGE, request)?;
        self.check_sharers(request)?;
        let shares = self
            .held
            .into_iter()
            .map(|(subject, held)| {
                if self.survivors.contains(subject) {
                    (subject, SecretKind::SelfMask, held.self_mask.clone())
                } else {
                    (subject, SecretKind::MaskKey, held.mask_key.clone())
                }
            })
            .collect();
        let response = UnmaskResponse { sid: request.sid, shares };
        Ok(Answered { request: sha256(&request.encode()), response })
    }

    fn check_lists(&self, request: &UnmaskRequest) -> Result<(), ParticipantError> {
        let both = request.reveal_self_masks.intersection(&request.reveal_mask_keys);
        if !both.is_empty() {
            return Err(ParticipantError::BothSecrets(both));
        }
        let dropped = self.sharers.difference(&self.survivors);
        if request.reveal_self_masks != self.survivors || request.reveal_mask_keys != dropped {
            return Err(ParticipantError::OtherSets);
        }
        Ok(())
    }

    fn check_statements(&self, message: &'static str, request: &UnmaskRequest) -> Result<(), ParticipantError> {
        let signers: ParticipantSet = request.signatures.iter().map(|(signer, _)| *signer).collect();
        let strangers = signers.difference(&self.survivors);
        if !strangers.is_empty() {
            return Err(ParticipantError::Strangers { message, strangers });
        }
        // Counted as a set: a survivor listed twice is one survivor.
        let need = usize::from(self.member.offer.threshold().quorum());
        if signers.len() < need {
            return Err(ParticipantError::TooFew { message, have: signers.len(), need });
        }
        let statement = consistency_message(&request.sid, &self.sharers, &self.survivors);
        for (signer, signature) in &request.signatures {
            let entry = self.member.offer.entry(*signer).expect("invariant: U2 is within the roster");
            entry
                .identity
                .verify(CONSISTENCY_CONTEXT, &statement, signature)
                .map_err(|_| ParticipantError::ConsistencyForged(*signer))?;
        }
        Ok(())
    }

    /// Every survivor whose self-mask this participant would help to open masked against the U1 it knows itself.
    fn check_sharers(&self, request: &UnmaskRequest) -> Result<(), ParticipantError> {
        let statement = sharers_message(&request.sid, &self.sharers);
        let opened = self.held.iter().map(|(subject, _)| *subject);
        for subject in opened.filter(|subject| *subject != self.member.own && self.survivors.contains(*subject)) {
            let other = || ParticipantError::OtherSharers(subject);
            let at = request.sharers_signatures.binary_search_by_key(&subject, |(number, _)| *number);
            let (_, signature) = &request.sharers_signatures[at.map_err(|_| other())?];
            let entry = self.member.offer.entry(subject).expect("invariant: U2 is within the roster");
            entry.identity.verify(SHARERS_CONTEXT, &statement, signature).map_err(|_| other())?;
        }
        Ok(())
    }
}

/// The round's one answer. No `Debug`. Store [`Answered::to_bytes`] durably (mode 0600), then send.
pub struct Answered {
    request: Sha256Digest,
    response: UnmaskResponse,
}

impl Answered {
    /// What is stored: the digest of the request, then the response. Deleted when the round has closed.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.request.0.as_slice(), &self.response.encode()].concat())
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`ParticipantError::StoredAnswer`] when the bytes are damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParticipantError> {
        let stored = |error| ParticipantError::StoredAnswer(error);
        let (request, response) =
            bytes.split_first_chunk().ok_or_else(|| stored(DecodeError::Length("stored unmasking answer")))?;
        let response = UnmaskResponse::decode(response).map_err(stored)?;
        Ok(Self { request: Sha256Digest(*request), response })
    }

    /// The answer, for the request it was made for and for no other.
    ///
    /// # Errors
    /// [`ParticipantError::SecondRequest`].
    pub fn answer(&self, request: &UnmaskRequest) -> Result<&UnmaskResponse, ParticipantError> {
        if sha256(&request.encode()) == self.request {
            Ok(&self.response)
        } else {
            Err(ParticipantError::SecondRequest)
        }
    }
}
