//! What will happen in a run, drawn from a seed.

use std::collections::BTreeMap;

use forecastle_crypto::secagg::ValidThreshold;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::message::Name;

/// Simulated milliseconds.
pub type Millis = u64;

/// Time that a phase may take.
pub const PHASE: Millis = 2_000;
/// A party that heard nothing sends again after this.
pub const REPEAT: Millis = 130;

/// When a merchant goes and whether it comes back.
#[derive(Clone, Copy, Debug)]
pub struct Vanishing {
    /// After so many of its own steps.
    pub after_steps: u64,
    /// So long after: a crash. `None`: never.
    pub returns_after: Option<Millis>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub merchants: u16,
    pub threshold: ValidThreshold,
    pub rounds: u64,
    /// Merchants that vanish.
    pub vanishing: BTreeMap<Name, Vanishing>,
    /// The server crashes after so many of its own steps.
    pub server_crashes_after: Option<u64>,
    /// The longest delay of a message.
    pub delay_max: Millis,
    /// Share of messages that are lost, and that arrive twice.
    pub lost: f64,
    pub repeated: f64,
    /// The server tells lies.
    pub lies: bool,
    /// No round may be abandoned.
    pub must_publish: bool,
}

impl Schedule {
    fn quiet(seed: u64, merchants: u16, threshold: ValidThreshold) -> Self {
        Self {
            seed,
            merchants,
            threshold,
            rounds: 1,
            vanishing: BTreeMap::new(),
            server_crashes_after: None,
            delay_max: 40,
            lost: 0.0,
            repeated: 0.0,
            lies: false,
            must_publish: false,
        }
    }

    fn drawn(seed: u64, kind: u64) -> (Self, ChaCha12Rng) {
        let mut rng = ChaCha12Rng::seed_from_u64(seed << 2 | kind);
        let (merchants, threshold) = loop {
            let n: u16 = rng.random_range(4..=9);
            let m = rng.random_range(n / 2..=n);
            let colluders = rng.random_range(0..=1);
            // One run in four on a k-regular graph, where such a small one exists.
            let threshold = if rng.random_range(0..4) == 0 {
                ValidThreshold::propose_regular(n, m, colluders)
            } else {
                let t = rng.random_range((n + colluders) / 2 + 1..=n);
                ValidThreshold::new(n, m, t, colluders).ok()
            };
            if let Some(threshold) = threshold {
                break (n, threshold);
            }
        };
        (Self::quiet(seed, merchants, threshold), rng)
    }

    /// No more vanish than the declared bound, the network is bad but in time, the server stays up.
    pub fn within_bounds(seed: u64) -> Self {
        let (mut schedule, mut rng) = Self::drawn(seed, 0);
        let spare = schedule.merchants - schedule.threshold.survivors_min();
        // Nobody before it was offered a round: a smaller cohort would be another round.
        for _ in 0..rng.random_range(0..=spare) {
            schedule.vanish(&mut rng, 4);
        }
        schedule.rounds = rng.random_range(1..=2);
        schedule.delay_max = rng.random_range(1..=150);
        // A message is sent again until it was heard: with so few lost, the odds that one stays unheard in a phase are
        // below 10⁻⁹.
        schedule.lost = rng.random_range(0.0..0.15);
        schedule.repeated = rng.random_range(0.0..0.3);
        schedule.must_publish = true;
        schedule
    }

    /// Whatever may happen to honest ends.
    pub fn anything(seed: u64) -> Self {
        let (mut schedule, mut rng) = Self::drawn(seed, 1);
        for _ in 0..rng.random_range(0..schedule.merchants) {
            schedule.vanish(&mut rng, 0);
        }
        schedule.rounds = rng.random_range(1..=3);
        schedule.server_crashes_after = rng.random_bool(0.3).then(|| rng.random_range(0..60));
        schedule.delay_max = rng.random_range(1..=PHASE);
        schedule.lost = rng.random_range(0.0..0.6);
        schedule.repeated = rng.random_range(0.0..0.5);
        schedule
    }

    /// A server that shows different survivors to different merchants and asks whatever it likes.
    pub fn lying_server(seed: u64) -> Self {
        let (mut schedule, mut rng) = Self::drawn(seed, 2);
        for _ in 0..rng.random_range(0..=2) {
            schedule.vanish(&mut rng, 0);
        }
        schedule.repeated = rng.random_range(0.0..0.3);
        schedule.lies = true;
        schedule
    }

    /// One crash, of the first merchant or of the server, after `step` of its steps; it comes back.
    pub fn crash_at(server: bool, step: u64) -> Self {
        let threshold = ValidThreshold::new(5, 4, 4, 1).unwrap();
        let mut schedule = Self { rounds: 2, ..Self::quiet(step, 5, threshold) };
        if server {
            schedule.server_crashes_after = Some(step);
        } else {
            schedule.vanishing.insert(0, Vanishing { after_steps: step, returns_after: Some(300) });
            schedule.must_publish = true;
        }
        schedule
    }

    fn vanish(&mut self, rng: &mut ChaCha12Rng, after: u64) {
        let returns_after = rng.random_bool(0.5).then(|| rng.random_range(0..2 * PHASE));
        let vanishing = Vanishing { after_steps: rng.random_range(after..16), returns_after };
        self.vanishing.insert(rng.random_range(0..usize::from(self.merchants)), vanishing);
    }
}
