//! The worst schedules found, kept as tests of their own: each made a build fail that had one rule taken out on purpose, and
//! is tried every time.

use crate::run;
use crate::schedule::Schedule;

/// Caught a merchant that sent its update's header before the charge was on disk: it dies in between.
#[test]
fn repro_a_merchant_dies_between_its_charge_and_its_update() {
    let world = run(Schedule::crash_at(false, 7));
    assert_eq!((world.server.published(), world.crashes), (2, 1));
}

/// Caught the same with the answer: a merchant that is lied to dies after it answered, before the answer is kept.
#[test]
fn repro_a_merchant_that_is_lied_to_dies_while_it_answers() {
    run(Schedule::lying_server(10));
}
