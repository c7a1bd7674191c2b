//! Named points at which a test can stop this process, in order to kill it there.
//!
//! With the feature `fault-points`, a process whose environment says `FORECASTLE_STOP_AT=NAME` prints one line when it
//! reaches the point of that name and goes no further; the test then kills it (SIGKILL), so that no destructor and no
//! buffer of its own runs. Without the feature, which no crate enables but the end-to-end tests for themselves, a
//! point is an empty function and the variable is never read.
//!
//! The points of a round are in `round::driver`, those of a reservation in `federation::budget`, in the order of
//! [`POINTS`].

/// Every point, in the order in which a merchant passes them.
pub const POINTS: [&str; 13] = [
    // Joining.
    "reserving",
    "reserved",
    "enrolled",
    // A round.
    "pre-key-taken",
    "shares-sent",
    "masked",
    "admitted",
    "charged",
    "update-sent",
    "confirmed",
    "answer-kept",
    "unmasked",
    "ended",
];

/// Stops here for good, if a test asked for it.
#[cfg(feature = "fault-points")]
pub fn point(name: &str) {
    debug_assert!(POINTS.contains(&name), "{name} is not in the list");
    if std::env::var_os("FORECASTLE_STOP_AT").is_some_and(|wanted| wanted == name) {
        println!("stopped at {name}");
        loop {
            std::thread::park();
        }
    }
}

/// Does nothing.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn point(_name: &str) {}
