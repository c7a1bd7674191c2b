//! The primitives, as they are used here, held against other people's vectors: Project Wycheproof and the standards.
//!
//! Every case of a file is judged, none is skipped: what Wycheproof calls valid has to be accepted with the published
//! result, what it calls invalid has to be refused, and what it leaves open ("acceptable") is decided here, by a rule that
//! each file states. The number of cases is asserted, so that a new release of the vectors is looked at.
//!
//! Primitives are called as `secagg::keys`, `secagg::mask` and `entropy` call them; `chain` goes through the code itself, from
//! published keys to the bytes that leave. Signatures are judged in `identity`, whose functions for foreign formats are
//! private.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod agreement;
mod chain;
mod derivation;
mod keystream;
mod sealing;

fn hex<const N: usize>(text: &str) -> [u8; N] {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}
