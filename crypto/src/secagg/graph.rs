//! Who is masked against whom: participants' numbers, sets of them, and the complete graph over them.
//!
//! The claim against an active server holds for the complete graph only, and Shamir sharing over GF(2⁸) has 255
//! usable points, so a round has at most 255 participants. The invariant: a [`ParticipantSet`] has one encoding, so a
//! digest of the encoding is a digest of the set.
//!
//! Left out on purpose: the k-regular graphs of Bell et al. 2020 for larger cohorts. With neighbours drawn from public
//! randomness they protect against a semi-honest server only.

use std::fmt;
use std::num::NonZeroU8;

use crate::identity::{Sha256Digest, sha256};

/// A participant's place in the roster of a round, counted from 1; also its evaluation point in secret sharing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParticipantNumber(NonZeroU8);

impl ParticipantNumber {
    /// The participant `number`; `None` for 0.
    pub fn new(number: u8) -> Option<Self> {
        NonZeroU8::new(number).map(Self)
    }

    /// The participant at `position` of the roster, counted from 0; `None` from 255 on.
    pub fn from_position(position: usize) -> Option<Self> {
        u8::try_from(position + 1).ok().and_then(Self::new)
    }

    /// The number, 1 to 255.
    pub fn get(self) -> u8 {
        self.0.get()
    }

    /// The place in the roster, counted from 0.
    pub fn position(self) -> usize {
        usize::from(self.get()) - 1
    }
}

impl fmt::Display for ParticipantNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "participant {}", self.get())
    }
}

/// A set of participants. Encoded as 32 bytes: bit `n % 8` of byte `n / 8` stands for participant n.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ParticipantSet([u8; 32]);

impl ParticipantSet {
    /// The length of the encoding in bytes.
    pub const LENGTH: usize = 32;

    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Participants 1 to `count`.
    ///
    /// # Panics
    /// Never for counts up to 255, which is all that a roster holds; larger counts are cut there.
    pub fn first(count: usize) -> Self {
        (0..count).map_while(ParticipantNumber::from_position).collect()
    }

    /// Reads an encoding; `None` when bit 0, which stands for nobody, is set.
    pub fn from_bytes(bytes: [u8; 32]) -> Option<Self> {
        (bytes[0] & 1 == 0).then_some(Self(bytes))
    }

    /// The encoding.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0
    }

    /// Puts `number` in; false when it was there.
    pub fn insert(&mut self, number: ParticipantNumber) -> bool {
        let fresh = !self.contains(number);
        self.0[usize::from(number.get() / 8)] |= 1 << (number.get() % 8);
        fresh
    }

    /// Takes `number` out; false when it was not there.
    pub fn remove(&mut self, number: ParticipantNumber) -> bool {
        let present = self.contains(number);
        self.0[usize::from(number.get() / 8)] &= !(1 << (number.get() % 8));
        present
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: ParticipantNumber) -> bool {
        self.0[usize::from(number.get() / 8)] >> (number.get() % 8) & 1 == 1
    }

    /// How many are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Whether nobody is in the set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = ParticipantNumber> + use<> {
        let set = *self;
        (1..=u8::MAX).filter_map(ParticipantNumber::new).filter(move |number| set.contains(*number))
    }

    /// Whether every member is in `other` too.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).is_empty()
    }

    /// The members that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = *self;
        out.0.iter_mut().zip(other.0).for_each(|(byte, theirs)| *byte &= !theirs);
        out
    }

    /// The members that are in `other` too.
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = *self;
        out.0.iter_mut().zip(other.0).for_each(|(byte, theirs)| *byte &= theirs);
        out
    }

    /// The set without `number`.
    pub fn without(mut self, number: ParticipantNumber) -> Self {
        self.remove(number);
        self
    }

    /// SHA-256 of the encoding: H(U) of the consistency round.
    pub fn digest(&self) -> Sha256Digest {
        sha256(&[b"forecastle/participant-set/v1\0".as_slice(), &self.0].concat())
    }
}

impl FromIterator<ParticipantNumber> for ParticipantSet {
    fn from_iter<I: IntoIterator<Item = ParticipantNumber>>(numbers: I) -> Self {
        let mut set = Self::new();
        for number in numbers {
            set.insert(number);
        }
        set
    }
}

impl fmt::Debug for ParticipantSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(ParticipantNumber::get)).finish()
    }
}

/// Whether `own`'s pairwise mask with `other` is added or subtracted. Both ends share the mask, so the two signs are
/// opposite: the lower number adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The mask is added.
    Plus,
    /// The mask is subtracted.
    Minus,
}

impl Sign {
    pub(crate) fn of_pair(own: ParticipantNumber, other: ParticipantNumber) -> Self {
        if own < other { Self::Plus } else { Self::Minus }
    }

    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[u8]) -> ParticipantSet {
        numbers.iter().filter_map(|&n| ParticipantNumber::new(n)).collect()
    }

    #[test]
    fn sets_behave_like_sets() {
        let mut a = set(&[1, 8, 255]);
        assert_eq!(a.len(), 3);
        assert_eq!(a.iter().map(ParticipantNumber::get).collect::<Vec<_>>(), vec![1, 8, 255]);
        let eight = ParticipantNumber::new(8).expect("not zero");
        assert!(!a.insert(eight) && a.remove(eight) && !a.remove(eight) && a.insert(eight));
        assert!(set(&[1, 255]).is_subset(&a) && !set(&[2]).is_subset(&a));
        assert_eq!(a.difference(&set(&[8, 9])), set(&[1, 255]));
        assert_eq!(a.intersection(&set(&[8, 9])), set(&[8]));
        assert_eq!(ParticipantSet::first(300).len(), 255);
        assert_eq!(ParticipantSet::from_bytes(a.to_bytes()), Some(a));
        assert_ne!(a.digest(), set(&[1, 8]).digest());
    }

    #[test]
    fn nobody_has_number_zero() {
        let mut bytes = [0u8; 32];
        bytes[0] = 1;
        assert_eq!(ParticipantSet::from_bytes(bytes), None);
        assert_eq!(ParticipantNumber::new(0), None);
        assert_eq!(ParticipantNumber::from_position(255), None);
        assert_eq!(ParticipantNumber::from_position(0).map(ParticipantNumber::get), Some(1));
    }

    #[test]
    fn the_two_ends_of_a_pair_have_opposite_signs() {
        let (a, b) = (ParticipantNumber::new(3).expect("3"), ParticipantNumber::new(9).expect("9"));
        assert_eq!(Sign::of_pair(a, b), Sign::of_pair(b, a).opposite());
    }
}
