//! Taking part in rounds: a merchant's data become a masked update, and a published model comes back.
//!
//! The protocol itself is `forecastle_crypto::secagg`, which knows no clock, network or disk. Here are the thin
//! parts around it:
//!
//! * [`terms`]: is this offer the one the plan promised? Nothing is computed before it is.
//! * [`prekeys`]: one-time secrets on disk, deleted before use.
//! * [`driver`]: messages in order, the charge on disk before the update leaves, the answer on disk before it is
//!   given. A round that was cut short is abandoned and stays charged; nothing is ever sent twice with other noise.
//! * [`pause`]: whoever makes offers that come to nothing is answered more and more slowly.
//! * [`event`]: what the person at the terminal sees.

pub mod driver;
pub mod event;
pub mod exchange;
pub mod pause;
pub mod prekeys;
pub mod terms;
