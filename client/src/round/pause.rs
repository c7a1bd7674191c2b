//! Time between rounds that came to nothing.
//!
//! An offer costs the server nothing, and each one that is taken up costs this merchant a pre-key and a step of training,
//! before anything can be charged for it. So whoever makes offers that never become rounds is answered more and more
//! slowly; the first rounds missed, as an honest federation misses some, cost hardly any time.
//!
//! Left out on purpose: a limit after which a merchant gives up. The budget ends rounds that are charged; those that are
//! not cost only time, and a person sees each of them.

use std::time::Duration;

/// After the first round missed.
const SHORTEST: Duration = Duration::from_millis(50);
/// After very many.
const LONGEST: Duration = Duration::from_secs(30);

/// Doubles with every round missed in a row.
#[derive(Debug)]
pub struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl Pause {
    /// How long to wait after one more round missed.
    pub fn after_a_miss(&mut self) -> Duration {
        let now = self.0;
        self.0 = (2 * now).min(LONGEST);
        now
    }

    /// A round came to its end.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_offers_that_come_to_nothing_take_minutes_and_two_hardly_any_time() {
        let mut pause = Pause::default();
        let mut waited = Vec::new();
        for _ in 0..20 {
            waited.push(pause.after_a_miss());
        }
        assert!(waited[..2].iter().sum::<Duration>() < Duration::from_millis(200));
        assert!(waited.iter().sum::<Duration>() > Duration::from_secs(180));
        assert!(waited.iter().all(|pause| *pause <= LONGEST));
        pause.reset();
        assert_eq!(pause.after_a_miss(), SHORTEST);
    }
}
