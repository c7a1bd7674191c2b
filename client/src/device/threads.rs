//! Passes of the processor, several at a time.
//!
//! The tensor library computes a pass on one thread, so passes that know nothing of each other are computed on as many
//! threads as there are processors. How work is cut into passes does not depend on that number and results are handed on
//! in order, so neither do results, to the bit.
//!
//! Left out on purpose: a pool of threads. A pass takes milliseconds, a thread's start some microseconds.

use std::{
    num::NonZero,
    ops::Range,
    panic::resume_unwind,
    thread::{self, available_parallelism},
};

use super::{Place, on};

/// Does `pass` over each of `pieces` and hands the results to `take` in order, at most as many passes ahead as there are
/// threads.
///
/// # Errors
/// The first error in the order of the pieces, of `pass` or `take`.
///
/// # Panics
/// When `pass` does.
pub(super) fn in_order<T: Send, E: Send>(
    place: Place,
    pieces: &[Range<usize>],
    pass: &(impl Fn(Range<usize>) -> Result<T, E> + Sync),
    mut take: impl FnMut(Range<usize>, T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = available_parallelism().map_or(1, NonZero::get);
    for wave in pieces.chunks(threads) {
        let (own, others) = wave.split_first().expect("chunks are never empty");
        // The calling thread does its share, and all of it where there is but one processor or one piece.
        let (first, rest) = thread::scope(|scope| {
            let others: Vec<_> =
                others.iter().map(|piece| scope.spawn(move || on(place, || pass(piece.clone())))).collect();
            let first = pass(own.clone());
            let rest: Vec<_> =
                others.into_iter().map(|thread| thread.join().unwrap_or_else(|word| resume_unwind(word))).collect();
            (first, rest)
        });
        for (piece, done) in wave.iter().zip(std::iter::once(first).chain(rest)) {
            take(piece.clone(), done?)?;
        }
    }
    Ok(())
}
