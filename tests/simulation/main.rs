//! Rounds on a simulated clock and network: thousands of random schedules a run, checked after every event.
//!
//! The states are the real ones of `forecastle_crypto::secagg`; around them stand a merchant and a server as small as can
//! be, each with a disk that survives a crash and a memory that does not, and a network that delays, loses, repeats and
//! reorders. A [`schedule::Schedule`] follows from a seed: how many merchants, which of them vanish, crash and come back
//! and when, how bad the network is, whether the server lies about who survived. [`invariants`] lists what must hold
//! whatever happens; [`reproductions`] keeps the worst schedules that were found.
//!
//! A run is repeated by its seed alone: `FORECASTLE_SEED=17 cargo test -p forecastle-tests --test simulation one_seed`
//! prints its events. `FORECASTLE_SCHEDULES=20000` runs more of them.
//!
//! Left out: the drivers over gRPC, which `tests/tests` runs in real time, and everything of privacy but the charge.

#![allow(clippy::unwrap_used, reason = "a simulation that contradicts itself fails")]

mod evidence;
mod invariants;
mod liar;
mod merchant;
mod message;
mod reproductions;
mod schedule;
mod server;
mod world;

use schedule::Schedule;
use world::World;

/// Schedules of each kind that a test run draws.
fn schedules() -> u64 {
    std::env::var("FORECASTLE_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(700)
}

/// Runs one schedule to its end; a failure names the seed.
fn run(schedule: Schedule) -> World {
    let mut world = World::new(schedule);
    world.run();
    world
}

#[test]
fn within_the_bounds_no_round_is_abandoned() {
    let (mut rounds, mut missing) = (0, 0);
    for seed in 0..schedules() {
        let world = run(Schedule::within_bounds(seed));
        rounds += world.server.published();
        missing += world.schedule.vanishing.len();
    }
    // The schedules are no picnic: many a run loses somebody.
    assert!(rounds as u64 >= schedules() && missing as u64 > schedules() / 4, "{rounds} rounds, {missing} missing");
}

#[test]
fn beyond_the_bounds_a_round_ends_cleanly_and_stays_charged() {
    let (mut published, mut abandoned) = (0, 0);
    for seed in 0..schedules() {
        let world = run(Schedule::anything(seed));
        published += world.server.published();
        abandoned += world.server.abandoned();
    }
    // Both ends are met often enough to mean something.
    assert!(published as u64 > schedules() / 10 && abandoned as u64 > schedules() / 10, "{published} {abandoned}");
}

#[test]
fn a_server_that_lies_about_the_survivors_never_gets_both_secrets_of_anybody() {
    let (mut refused, mut answered) = (0, 0);
    for seed in 0..schedules() {
        let world = run(Schedule::lying_server(seed));
        refused += world.evidence.refusals();
        answered += world.evidence.answers();
    }
    assert!(refused as u64 > schedules() && answered as u64 > schedules() / 10, "{refused} {answered}");
}

/// A merchant that dies at each of its steps in turn, then the server at each of its own.
#[test]
fn a_crash_at_every_step_overcharges_at_most() {
    for server in [false, true] {
        let mut step = 0;
        loop {
            let world = run(Schedule::crash_at(server, step));
            if world.crashes == 0 {
                break;
            }
            step += 1;
        }
        assert!(step >= if server { 25 } else { 8 }, "only {step} steps were there to die at");
    }
}

/// Repeats the schedule that the environment names, with its events.
#[test]
fn one_seed() {
    let Some(seed) = std::env::var("FORECASTLE_SEED").ok().and_then(|seed| seed.parse().ok()) else { return };
    for schedule in [Schedule::within_bounds(seed), Schedule::anything(seed), Schedule::lying_server(seed)] {
        let mut world = World::new(schedule);
        world.speaks = true;
        world.run();
    }
}
