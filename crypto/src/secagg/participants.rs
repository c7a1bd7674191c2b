//! Participants' numbers, and sets of them.
//!
//! The invariant: a [`ParticipantSet`] has one encoding, so a digest of the encoding is a digest of the set, and two
//! participants who signed the same digest saw the same set.

use std::fmt;
use std::num::NonZeroU16;

use crate::identity::{Sha256Digest, sha256};

/// A participant's place in the roster of a round, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParticipantNumber(NonZeroU16);

impl ParticipantNumber {
    /// The highest number: a roster's length at most.
    pub const MAX: u16 = 10_000;

    /// The participant `number`; `None` for 0 and above [`Self::MAX`].
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).filter(|number| number.get() <= Self::MAX).map(Self)
    }

    /// The participant at `position` of the roster, counted from 0; `None` from [`Self::MAX`] on.
    pub fn from_position(position: usize) -> Option<Self> {
        u16::try_from(position).ok().and_then(|position| Self::new(position.saturating_add(1)))
    }

    /// The number, from 1 on.
    pub fn get(self) -> u16 {
        self.0.get()
    }

    /// The place in the roster, counted from 0.
    pub fn position(self) -> usize {
        usize::from(self.get()) - 1
    }

    pub(super) fn to_bytes(self) -> [u8; 2] {
        self.get().to_be_bytes()
    }
}

impl fmt::Display for ParticipantNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "participant {}", self.get())
    }
}

/// A set of participants. Encoded as a bitmap: bit `n % 8` of byte `n / 8` stands for participant n, in
/// [`ParticipantSet::LENGTH_MIN`] bytes or, where that does not reach, in as few as hold the highest member.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ParticipantSet(Vec<u8>);

impl ParticipantSet {
    /// The shortest encoding in bytes: it holds 255 participants.
    pub const LENGTH_MIN: usize = 32;
    /// The longest encoding in bytes.
    pub const LENGTH_MAX: usize = ParticipantNumber::MAX as usize / 8 + 1;

    /// The empty set.
    pub fn new() -> Self {
        Self(vec![0; Self::LENGTH_MIN])
    }

    /// Participants 1 to `count`; larger counts are cut at [`ParticipantNumber::MAX`].
    pub fn first(count: usize) -> Self {
        (0..count).map_while(ParticipantNumber::from_position).collect()
    }

    /// Reads an encoding; `None` when it is none: too short or long, a last byte that is not needed, or a bit that
    /// stands for nobody.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let needed = bytes.len() == Self::LENGTH_MIN || bytes.last().is_some_and(|last| *last != 0);
        let lengths = Self::LENGTH_MIN..=Self::LENGTH_MAX;
        let set = (lengths.contains(&bytes.len()) && needed && bytes[0] & 1 == 0).then(|| Self(bytes.to_vec()))?;
        let highest = 8 * (bytes.len() - 1) + 7 - bytes.last().map_or(0, |last| last.leading_zeros() as usize % 8);
        (bytes.len() == Self::LENGTH_MIN || highest <= usize::from(ParticipantNumber::MAX)).then_some(set)
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Puts `number` in; false when it was there.
    pub fn insert(&mut self, number: ParticipantNumber) -> bool {
        let fresh = !self.contains(number);
        let byte = usize::from(number.get() / 8);
        if byte >= self.0.len() {
            self.0.resize(byte + 1, 0);
        }
        self.0[byte] |= 1 << (number.get() % 8);
        fresh
    }

    /// Takes `number` out; false when it was not there.
    pub fn remove(&mut self, number: ParticipantNumber) -> bool {
        let present = self.contains(number);
        if present {
            self.0[usize::from(number.get() / 8)] &= !(1 << (number.get() % 8));
            self.shorten();
        }
        present
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: ParticipantNumber) -> bool {
        self.0.get(usize::from(number.get() / 8)).is_some_and(|byte| byte >> (number.get() % 8) & 1 == 1)
    }

    /// How many are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    /// Whether nobody is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = ParticipantNumber> + '_ {
        let bits = self
            .0
            .iter()
            .zip(0u16..)
            .flat_map(|(byte, at)| (0..8u16).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| 8 * at + bit));
        bits.filter_map(ParticipantNumber::new)
    }

    /// Whether every member is in `other` too.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.difference(other).is_empty()
    }

    /// The members that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |own, theirs| own & !theirs)
    }

    /// The members that are in `other` too.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |own, theirs| own & theirs)
    }

    fn combine(&self, other: &Self, byte: impl Fn(u8, u8) -> u8) -> Self {
        let theirs = other.0.iter().copied().chain(std::iter::repeat(0));
        let mut out = Self(self.0.iter().zip(theirs).map(|(own, theirs)| byte(*own, theirs)).collect());
        out.shorten();
        out
    }

    fn shorten(&mut self) {
        while self.0.len() > Self::LENGTH_MIN && self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// The set without `number`.
    pub fn without(mut self, number: ParticipantNumber) -> Self {
        self.remove(number);
        self
    }

    /// SHA-256 of the encoding: H(U) of the signed statements.
    pub fn digest(&self) -> Sha256Digest {
        sha256(&[b"forecastle/participant-set/v1\0".as_slice(), &self.0].concat())
    }
}

impl Default for ParticipantSet {
    fn default() -> Self {
        Self::new()
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(numbers: &[u16]) -> ParticipantSet {
        numbers.iter().filter_map(|&n| ParticipantNumber::new(n)).collect()
    }

    #[test]
    fn sets_behave_like_sets() {
        let mut a = set(&[1, 8, 255, 1_000]);
        assert_eq!(a.len(), 4);
        assert_eq!(a.iter().map(ParticipantNumber::get).collect::<Vec<_>>(), vec![1, 8, 255, 1_000]);
        let eight = ParticipantNumber::new(8).expect("not zero");
        assert!(!a.insert(eight) && a.remove(eight) && !a.remove(eight) && a.insert(eight));
        assert!(set(&[1, 1_000]).is_subset(&a) && !set(&[2]).is_subset(&a) && !set(&[9_999]).is_subset(&a));
        assert_eq!(a.difference(&set(&[8, 9, 1_000])), set(&[1, 255]));
        assert_eq!(a.intersection(&set(&[8, 9])), set(&[8]));
        assert_eq!(ParticipantSet::first(300).len(), 300);
        assert_eq!(ParticipantSet::first(99_999).len(), usize::from(ParticipantNumber::MAX));
        assert_ne!(a.digest(), set(&[1, 8]).digest());
    }

    #[test]
    fn nobody_has_number_zero_or_one_above_the_highest() {
        let mut bytes = [0u8; 32];
        bytes[0] = 1;
        assert_eq!(ParticipantSet::from_bytes(&bytes), None);
        assert_eq!(ParticipantNumber::new(0), None);
        assert_eq!(ParticipantNumber::new(10_001), None);
        assert_eq!(ParticipantNumber::from_position(10_000), None);
        assert_eq!(ParticipantNumber::from_position(usize::MAX), None);
        assert_eq!(ParticipantNumber::from_position(0).map(ParticipantNumber::get), Some(1));
        // 10,000 is bit 0 of byte 1,250; bit 1 would be nobody's.
        let mut highest = vec![0; ParticipantSet::LENGTH_MAX];
        highest[1_250] = 1;
        assert_eq!(ParticipantSet::from_bytes(&highest), Some(set(&[10_000])));
        highest[1_250] = 2;
        assert_eq!(ParticipantSet::from_bytes(&highest), None);
    }

    #[test]
    fn a_set_has_one_encoding() {
        let short = set(&[1, 255]);
        assert_eq!(short.as_bytes().len(), 32);
        let longer = [short.as_bytes(), &[0]].concat();
        assert_eq!(ParticipantSet::from_bytes(&longer), None);
        assert_eq!(ParticipantSet::from_bytes(&short.as_bytes()[..31]), None);
        assert_eq!(ParticipantSet::from_bytes(&[]), None);
        assert_eq!(set(&[1, 255, 900]).without(ParticipantNumber::new(900).expect("not zero")), short);
    }

    proptest! {
        #[test]
        fn encodings_are_read_back(numbers in proptest::collection::vec(1u16..=10_000, 0..40), zeros in 0usize..3) {
            let set = set(&numbers);
            prop_assert_eq!(ParticipantSet::from_bytes(set.as_bytes()), Some(set.clone()));
            let padded = [set.as_bytes(), &vec![0; zeros]].concat();
            prop_assert_eq!(ParticipantSet::from_bytes(&padded).is_some(), zeros == 0);
        }
    }
}
