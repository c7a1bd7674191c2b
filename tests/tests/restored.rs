//! A merchant's machine comes back from a backup.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use std::{collections::BTreeSet, path::Path};

use forecastle_client::{
    federation::{connection::Connection, log_copy::LogCopy, own_ledger::OwnLedger},
    round::event::RoundEvent,
};
use forecastle_tests::{
    copy_folder,
    merchant::{Merchant, joined},
    plan,
    server::Federation,
};

fn prekeys(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder.join("prekeys")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// All take part in one round. Returns what the first of them reported.
async fn one_round(merchants: &[Merchant], version: u64) -> Vec<RoundEvent> {
    let trainings: Vec<_> = merchants.iter().map(|merchant| merchant.train_once()).collect();
    let mut first = None;
    for training in trainings {
        let (trained, events) = training.end().await;
        assert_eq!(trained.result.unwrap(), version, "{events:?}");
        first.get_or_insert(events);
    }
    first.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_state_takes_over_what_the_log_says_it_spent_and_burns_its_prekeys() {
    let federation = Federation::found(&plan(3, 60_000)).await;
    let (folder, merchants) = joined(&federation).await;
    let restored = &merchants[0];
    let backup = folder.path().join("backup");
    one_round(&merchants, 1).await;
    copy_folder(&restored.folder, &backup);
    let events = one_round(&merchants, 2).await;
    assert!(!events.iter().any(|e| matches!(e, RoundEvent::Restored { .. })), "nothing was restored yet: {events:?}");
    assert_eq!(restored.rounds(), [1, 2]);

    std::fs::remove_dir_all(&restored.folder).unwrap();
    std::fs::rename(&backup, &restored.folder).unwrap();
    assert_eq!(restored.rounds(), [1], "the backup has forgotten round 2");
    let old_keys = prekeys(&restored.folder);
    assert!(!old_keys.is_empty());

    let events = one_round(&merchants, 3).await;
    assert!(events.contains(&RoundEvent::Restored { charges: 1 }), "{events:?}");
    assert_eq!(restored.rounds(), [1, 2, 3]);
    assert!(prekeys(&restored.folder).is_disjoint(&old_keys), "keys of the backup are left");
    let last = restored.charges().pop().unwrap();
    assert_eq!(last.charged_before, 2, "its third charge counts the two before it");

    let (entries, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    assert_eq!(restored.rounds_in(&entries), [1, 2, 3]);
}

/// Two machines with the same state work at the same time: what either sent is charged at both in the end, the log never
/// holds two updates of this merchant for one round.
#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_works_beside_its_original_hides_no_charge() {
    let mut federation = Federation::found(&plan(4, 8_000)).await;
    let (folder, merchants) = joined(&federation).await;
    let original = &merchants[0];
    one_round(&merchants, 1).await;
    federation.closed(1).await;
    let clone = Merchant { name: original.name.clone(), folder: folder.path().join("clone") };
    copy_folder(&original.folder, &clone.folder);

    let mut trainings: Vec<_> = merchants.iter().map(|merchant| merchant.train()).collect();
    let twin = clone.train();
    // Whatever the two do to each other's rounds, the others go on to the end of the schedule.
    for training in trainings.drain(1..) {
        training.end().await.0.result.unwrap();
    }
    let _ = (trainings.remove(0).end().await, twin.end().await);

    let (entries, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    let logged = original.rounds_in(&entries);
    let distinct: BTreeSet<u64> = logged.iter().copied().collect();
    assert_eq!(distinct.len(), logged.len(), "two updates of one merchant in a round: {logged:?}");
    assert!(logged.contains(&1));
    // Each looks at the log once more, as any later command that trains would, and knows what the other sent.
    for machine in [original, &clone] {
        let home = machine.home();
        let membership = home.membership().unwrap();
        let connection = Connection::open(&home, &membership).unwrap();
        let mut log = LogCopy::open(&home, &membership).unwrap();
        log.sync(&connection).await.unwrap();
        let mut ledger = OwnLedger::open(home.path()).unwrap();
        ledger.import_missing(&log).unwrap();
        let own: BTreeSet<u64> = ledger.charges().iter().map(|charge| charge.round).collect();
        assert!(distinct.is_subset(&own), "{own:?} lacks some of {distinct:?}");
        for charge in log.own_charges().map(|signed| &signed.charge) {
            assert!(ledger.charges().contains(charge), "round {} as sent", charge.round);
        }
    }
}
