//! Merchants as attackers: a real server, honest merchants around it, and one or two that speak gRPC by hand over their own
//! certificate. The round goes on without them, the log stays in order, and the operator sees their names.
//!
//! | attack | what stops it | test |
//! |---|---|---|
//! | shares of the wrong shape, length, round, or for the wrong ones | one encoding for each message; the graph says for whom | [`shares`] |
//! | two different messages in one stage | the first counts | [`shares`], [`answers`] |
//! | shares that open for few or nobody, or fit no commitment | enough others; otherwise a clean end that names the dealer | [`shares`], `crypto/src/secagg/tests/hostile_client.rs` |
//! | a header that is not signed over U1, of another length, session or digest | checked before a byte is taken | [`uploads`] |
//! | chunks reordered, gapped, overlapping, repeated, too large, empty | an upload holds a prefix and nothing else | [`uploads`] |
//! | other bytes than announced, unused bits set | digest and padding, before anything is added | [`uploads`] |
//! | two uploads at once | one works on the slot | [`uploads`] |
//! | a charge that contradicts plan or round, of another round, forgetful, with invented rounds, for other bytes | `server/src/round/charge.rs`; no digest is charged for twice | [`names`], `server/tests/round.rs` |
//! | an upload that trickles, calls that are never finished | the phase's end; calls at one time | [`slow`] |
//! | connections without a handshake, without a call, too many of them | deadlines; the oldest of the same peer gives way | [`slow`], `server/src/connections.rs` |
//! | accepting every offer and vanishing | deadlines of the phases; named in every round | [`slow`] |
//! | confirmations that are forged, of other sets, too early | verified when they come | [`answers`] |
//! | wrong shares in an answer | commitments; left out while enough are right, otherwise no sum at all | [`answers`] |
//! | shares that were not asked for | the request says which | [`answers`] |
//! | somebody else's message, update, charge | the certificate decides who speaks | [`names`] |
//! | messages of an earlier round | the session id in every message, signature and charge | [`names`] |
//! | going on after being revoked, in mid-round and in mid-call | looked up at every call, and again when the charge is written | [`names`] |
//! | the same keys twice in a cohort | the second stays out | [`names`] |
//! | floods of calls, pre-keys, attempts to join; messages that are too large | allowances by certificate and address, before a message is read | [`floods`], `server/src/admission.rs`, `server/tests/round.rs` |
//!
//! Left out: an update that is well-formed and far too large, which no server can tell from another one (poisoning is outside
//! the promise), and how much traffic a network in front of the server takes.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

mod answers;
mod floods;
#[path = "../../server/tests/support/merchant.rs"]
#[allow(dead_code, reason = "the server's own tests use the rest")]
mod merchant;
mod names;
mod scene;
mod shares;
mod slow;
mod uploads;

use forecastle_tests::PATIENCE;
