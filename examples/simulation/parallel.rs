//! Independent pieces of work on all processors, results in order.
//!
//! How work is cut into pieces is the caller's choice and does not depend on the number of processors, so neither
//! do the results.

use std::{sync::Mutex, thread};

/// Applies `work` to every item; the first error (in the order of completion) ends it.
///
/// # Errors
/// What `work` returned.
pub(super) fn each<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let count = items.len();
    let queue = Mutex::new(items.into_iter().enumerate());
    let done: Mutex<Result<Vec<(usize, R)>, E>> = Mutex::new(Ok(Vec::with_capacity(count)));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(count) {
            scope.spawn(|| {
                loop {
                    // A lock is poisoned only after a panic, which the scope passes on.
                    let Some((index, item)) = queue.lock().ok().and_then(|mut queue| queue.next()) else { return };
                    let result = work(item);
                    let Ok(mut done) = done.lock() else { return };
                    match (done.as_mut(), result) {
                        (Ok(list), Ok(result)) => list.push((index, result)),
                        (Ok(_), Err(error)) => *done = Err(error),
                        (Err(_), _) => return,
                    }
                }
            });
        }
    });
    let mut results = done.into_inner().expect("a panic while locked was passed on by the scope")?;
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use super::each;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let squares: Result<Vec<u64>, ()> = each((0..1000).collect(), |n: u64| Ok(n * n));
        assert_eq!(squares, Ok((0..1000).map(|n| n * n).collect()));
        assert_eq!(each(Vec::<u8>::new(), Ok::<u8, ()>), Ok(Vec::new()));
    }

    #[test]
    fn an_error_ends_the_work() {
        assert_eq!(each((0..100).collect(), |n: u8| if n == 57 { Err(n) } else { Ok(n) }), Err(57));
    }
}
