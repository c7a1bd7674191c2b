//! The round's messages and their bytes.
//!
//! Every encoding starts with a tag byte and `sid`; numbers are big-endian, participants take two bytes, lists are in
//! strictly ascending order of participants and preceded by their length in two bytes, as are the bytes of a set. The
//! invariant: decoding accepts exactly what encoding
//! writes, one byte string for each message, so a repeated message can be recognised by its bytes and no duplicate
//! index gets in. Masked updates themselves are not framed here: a [`MaskedUpdateHeader`] announces them, and their
//! bytes travel in chunks of the transport's choice.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::keys::{Channel, Sid};
use super::participants::{ParticipantNumber, ParticipantSet};
use super::shamir::{SECRET_LENGTH, Share};
use crate::identity::{Sha256Digest, Signature};

/// What consistency statements are signed for.
pub const CONSISTENCY_CONTEXT: &str = "forecastle/secagg/consistency/v1";

/// What a survivor signs about whom it masked against.
pub const SHARERS_CONTEXT: &str = "forecastle/secagg/sharers/v1";

/// Bytes of the plaintext under each [`Sealed`]: sender, recipient, share of S, share of b.
pub(super) const SHARES_LENGTH: usize = 4 + 2 * SECRET_LENGTH;

/// Two shares encrypted from one participant to another.
pub type Sealed = [u8; SHARES_LENGTH + Channel::OVERHEAD];

/// Bytes of a [`Sealed`].
pub const SEALED_LENGTH: usize = SHARES_LENGTH + Channel::OVERHEAD;

/// Why bytes are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The tag is another message's, or nobody's.
    #[error("expected a {0}, found another kind of message")]
    Tag(&'static str),
    /// Too short or too long.
    #[error("a {0} of this content has another length")]
    Length(&'static str),
    /// A list that is not strictly ascending, a participant 0, or an unknown kind of share.
    #[error("a {0} lists participants out of order, twice, or with an impossible number or kind")]
    List(&'static str),
}

/// Participant → server: its secrets, shared and encrypted (M1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareKeys {
    /// The round.
    pub sid: Sid,
    /// H(b): what the self-mask seed will be checked against.
    pub commitment: Sha256Digest,
    /// One for every other holder of its shares, in ascending order.
    pub sealed: Vec<(ParticipantNumber, Sealed)>,
}

/// Server → participant: the others' shares for it, and U1 (S2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveredShares {
    /// The round.
    pub sid: Sid,
    /// U1: who shared keys, this participant included.
    pub sharers: ParticipantSet,
    /// One from every neighbour in U1, in ascending order.
    pub sealed: Vec<(ParticipantNumber, Sealed)>,
}

/// Participant → server: announces the bytes of a masked update (M2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedUpdateHeader {
    /// The round.
    pub sid: Sid,
    /// How many bytes follow.
    pub length: u64,
    /// Their SHA-256, which the merchant's charge names too.
    pub sha256: Sha256Digest,
    /// Over sid and H(U1), under [`SHARERS_CONTEXT`]: against whom this update is masked. Nobody opens a self-mask of
    /// somebody who masked against another U1 than its own.
    pub sharers_signature: Signature,
}

/// Server → participant: U2, whose masked updates arrived whole (S3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurvivorSet {
    /// The round.
    pub sid: Sid,
    /// U2.
    pub survivors: ParticipantSet,
}

/// Participant → server: its signature over sid, H(U1) and H(U2) (M3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencySignature {
    /// The round.
    pub sid: Sid,
    /// Under [`CONSISTENCY_CONTEXT`].
    pub signature: Signature,
}

/// Server → participant: which secrets to open, and the proof that the survivors agree (S4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmaskRequest {
    /// The round.
    pub sid: Sid,
    /// Whose self-mask seeds to open: U2.
    pub reveal_self_masks: ParticipantSet,
    /// Whose mask keys to open: U1 without U2.
    pub reveal_mask_keys: ParticipantSet,
    /// Consistency signatures of at least q survivors, in ascending order.
    pub signatures: Vec<(ParticipantNumber, Signature)>,
    /// [`MaskedUpdateHeader::sharers_signature`] of every other survivor whose self-mask the recipient holds a share of, in
    /// ascending order.
    pub sharers_signatures: Vec<(ParticipantNumber, Signature)>,
}

/// Which of a participant's two secrets a share belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// b, the seed of the self-mask.
    SelfMask,
    /// S, the mask key.
    MaskKey,
}

impl SecretKind {
    fn to_byte(self) -> u8 {
        match self {
            Self::SelfMask => 1,
            Self::MaskKey => 2,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::SelfMask, Self::MaskKey].into_iter().find(|kind| kind.to_byte() == byte)
    }
}

/// Participant → server: the shares asked for (M4). No `Debug`; wiped on drop.
#[derive(Clone)]
pub struct UnmaskResponse {
    /// The round.
    pub sid: Sid,
    /// The subject, which secret, and this participant's share of it; in ascending order of subjects.
    pub(super) shares: Vec<(ParticipantNumber, SecretKind, Share)>,
}

/// What a participant signs when it has masked its update.
pub fn sharers_message(sid: &Sid, sharers: &ParticipantSet) -> Vec<u8> {
    [sid.0, sharers.digest().0].concat()
}

/// What survivors sign.
pub fn consistency_message(sid: &Sid, sharers: &ParticipantSet, survivors: &ParticipantSet) -> Vec<u8> {
    [sid.0, sharers.digest().0, survivors.digest().0].concat()
}

/// Writes one message.
struct Writer(Vec<u8>);

impl Writer {
    fn new(tag: u8, sid: &Sid) -> Self {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&sid.0);
        Self(bytes)
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn count(self, count: usize) -> Self {
        let count = u16::try_from(count).expect("invariant: lists and sets name distinct participants, of whom 10,000");
        self.put(&count.to_be_bytes())
    }

    fn set(self, set: &ParticipantSet) -> Self {
        self.count(set.as_bytes().len()).put(set.as_bytes())
    }

    fn list<T>(self, items: &[(ParticipantNumber, T)], bytes_of: impl Fn(&T) -> &[u8]) -> Self {
        let counted = self.count(items.len());
        items.iter().fold(counted, |writer, (number, item)| writer.put(&number.to_bytes()).put(bytes_of(item)))
    }
}

/// Reads one message, from the front.
struct Reader<'a> {
    name: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(name: &'static str, tag: u8, bytes: &'a [u8]) -> Result<(Self, Sid), DecodeError> {
        let (first, rest) = bytes.split_first().ok_or(DecodeError::Length(name))?;
        if *first != tag {
            return Err(DecodeError::Tag(name));
        }
        let mut reader = Self { name, rest };
        let sid = Sha256Digest(reader.take()?);
        Ok((reader, sid))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Length(self.name))?;
        self.rest = rest;
        Ok(*head)
    }

    fn number(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.take()?))
    }

    fn set(&mut self) -> Result<ParticipantSet, DecodeError> {
        let length = usize::from(self.number()?);
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Length(self.name))?;
        self.rest = rest;
        ParticipantSet::from_bytes(bytes).ok_or(DecodeError::List(self.name))
    }

    fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<(ParticipantNumber, T)>, DecodeError> {
        let mut items: Vec<(ParticipantNumber, T)> = Vec::new();
        for _ in 0..self.number()? {
            let number = ParticipantNumber::new(self.number()?).ok_or(DecodeError::List(self.name))?;
            if items.last().is_some_and(|(last, _)| *last >= number) {
                return Err(DecodeError::List(self.name));
            }
            items.push((number, item(self)?));
        }
        Ok(items)
    }

    fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Length(self.name)) }
    }
}

impl ShareKeys {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        Writer::new(1, &self.sid).put(&self.commitment.0).list(&self.sealed, |sealed| sealed).0
    }

    /// Reads [`ShareKeys::encode`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut reader, sid) = Reader::new("share-keys message", 1, bytes)?;
        let commitment = Sha256Digest(reader.take()?);
        let sealed = reader.list(Reader::take::<SEALED_LENGTH>)?;
        reader.end()?;
        Ok(Self { sid, commitment, sealed })
    }
}

impl DeliveredShares {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        Writer::new(2, &self.sid).set(&self.sharers).list(&self.sealed, |sealed| sealed).0
    }

    /// Reads [`DeliveredShares::encode`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut reader, sid) = Reader::new("delivery of shares", 2, bytes)?;
        let sharers = reader.set()?;
        let sealed = reader.list(Reader::take::<SEALED_LENGTH>)?;
        reader.end()?;
        Ok(Self { sid, sharers, sealed })
    }
}

impl MaskedUpdateHeader {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let signature = &self.sharers_signature.0;
        Writer::new(3, &self.sid).put(&self.length.to_be_bytes()).put(&self.sha256.0).put(signature).0
    }

    /// Reads [`MaskedUpdateHeader::encode`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut reader, sid) = Reader::new("masked update's header", 3, bytes)?;
        let length = u64::from_be_bytes(reader.take()?);
        let sha256 = Sha256Digest(reader.take()?);
        let sharers_signature = Signature(reader.take()?);
        reader.end()?;
        Ok(Self { sid, length, sha256, sharers_signature })
    }
}

impl SurvivorSet {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        Writer::new(4, &self.sid).set(&self.survivors).0
    }

    /// Reads [`SurvivorSet::encode`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut reader, sid) = Reader::new("survivor set", 4, bytes)?;
        let survivors = reader.set()?;
        reader.end()?;
        Ok(Self { sid, survivors })
    }
}

impl ConsistencySignature {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        Writer::new(5, &self.sid).put(&self.signature.0).0
    }

    /// Reads [`ConsistencySignature::encode`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut reader, sid) = Reader::new("consistency signature", 5, bytes)?;
        let signature = Signature(reader.take()?);
        reader.end()?;
        Ok(Self { sid, signature })
    }
}

impl UnmaskRequest {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        Writer::new(6, &self.sid)
            .set(&self.reveal_self_masks)
            .set(&self.reveal_mask_keys)
            .list(&self.signatures, |signature| &signature.0)
            .list(&self.sharers_signatures, |signature| &signature.0)
            .0
    }

    /// Reads [`UnmaskRequest::encode`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut reader, sid) = Reader::new("unmasking request", 6, bytes)?;
        let (reveal_self_masks, reveal_mask_keys) = (reader.set()?, reader.set()?);
        let signatures = reader.list(|reader| reader.take().map(Signature))?;
        let sharers_signatures = reader.list(|reader| reader.take().map(Signature))?;
        reader.end()?;
        Ok(Self { sid, reveal_self_masks, reveal_mask_keys, signatures, sharers_signatures })
    }
}

impl UnmaskResponse {
    /// The message's bytes, which are secret until the round's sum is known.
    pub fn encode(&self) -> Vec<u8> {
        let counted = Writer::new(7, &self.sid).count(self.shares.len());
        let put = |writer: Writer, (subject, kind, share): &(ParticipantNumber, SecretKind, Share)| {
            writer.put(&subject.to_bytes()).put(&[kind.to_byte()]).put(&share.0)
        };
        self.shares.iter().fold(counted, put).0
    }

    /// Reads [`UnmaskResponse::encode`].
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut reader, sid) = Reader::new("unmasking answer", 7, bytes)?;
        let listed = reader.list(|reader| {
            let [kind] = reader.take()?;
            let kind = SecretKind::from_byte(kind).ok_or(DecodeError::List(reader.name))?;
            Ok((kind, Share(reader.take()?)))
        })?;
        reader.end()?;
        let shares = listed.into_iter().map(|(subject, (kind, share))| (subject, kind, share)).collect();
        Ok(Self { sid, shares })
    }
}

/// The shares one participant holds of another's two secrets.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct HeldShares {
    pub(super) mask_key: Share,
    pub(super) self_mask: Share,
}

impl HeldShares {
    /// The plaintext that travels from `from` to `to`.
    pub(super) fn write(&self, from: ParticipantNumber, to: ParticipantNumber) -> zeroize::Zeroizing<Vec<u8>> {
        let ends = [from.to_bytes(), to.to_bytes()];
        zeroize::Zeroizing::new([ends.as_flattened(), &self.mask_key.0, &self.self_mask.0].concat())
    }

    /// Reads it back; `None` when it was meant for somebody else.
    pub(super) fn read(plain: &[u8], from: ParticipantNumber, to: ParticipantNumber) -> Option<Self> {
        let (ends, rest) = plain.split_first_chunk::<4>()?;
        let (mask_key, rest) = rest.split_first_chunk::<SECRET_LENGTH>()?;
        let self_mask: &[u8; SECRET_LENGTH] = rest.try_into().ok()?;
        let expected = [from.to_bytes(), to.to_bytes()];
        (ends == expected.as_flattened()).then(|| Self { mask_key: Share(*mask_key), self_mask: Share(*self_mask) })
    }
}
