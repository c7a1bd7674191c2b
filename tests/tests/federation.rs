//! The whole schedule with everybody there.

use forecastle_crypto::{identity::sha256, ledger::entry::Entry};
use forecastle_tests::{MERCHANTS, merchant::joined, plan, server::Federation};

#[tokio::test(flavor = "multi_thread")]
async fn five_merchants_train_the_whole_schedule_and_hold_the_model_that_the_audited_log_names() {
    const ROUNDS: u64 = 3;
    let federation = Federation::found(&plan(ROUNDS as u32, 60_000)).await;
    let (_folder, merchants) = joined(&federation).await;
    let trainings: Vec<_> = merchants.iter().map(|merchant| merchant.train()).collect();
    for (merchant, training) in merchants.iter().zip(trainings) {
        let (trained, events) = training.end().await;
        assert_eq!(trained.result.unwrap(), ROUNDS, "{}: {events:?}", merchant.name);
        let (epsilon, cap) = trained.spent;
        assert!(epsilon > 0.0 && epsilon <= cap && cap <= 8.0, "{epsilon} of {cap}");
    }

    // A version a round, each named by the entry of its round, each another model than the one before.
    let models = federation.state().await.models().await.unwrap();
    assert_eq!(
        models.iter().map(|m| (m.version, m.round)).collect::<Vec<_>>(),
        [(0, None), (1, Some(1)), (2, Some(2)), (3, Some(3))]
    );
    assert!(models.windows(2).all(|pair| pair[0].sha256 != pair[1].sha256));
    let (entries, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    assert_eq!(
        (u64::from(verdict.rounds_closed), verdict.rounds_abandoned, verdict.model_version),
        (ROUNDS, 0, ROUNDS)
    );
    let published: Vec<_> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::RoundClosed(closed) => Some((closed.model_version, closed.model_sha256, closed.survivors.len())),
            _ => None,
        })
        .collect();
    assert_eq!(published.iter().map(|(version, ..)| *version).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(published.iter().all(|(.., survivors)| *survivors == MERCHANTS));

    let (_, last, _) = published[2];
    for merchant in &merchants {
        let (version, file) = merchant.current_model();
        assert_eq!((version, sha256(&file)), (ROUNDS, last), "{}", merchant.name);
        assert_eq!(merchant.rounds(), [1, 2, 3], "{}", merchant.name);
        assert_eq!(merchant.rounds_in(&entries), [1, 2, 3], "{}", merchant.name);
    }
    for spending in &verdict.merchants {
        assert_eq!(u64::from(spending.charges), ROUNDS);
        assert!(spending.epsilon.unwrap().server.epsilon <= verdict.epsilon_cap);
    }
}
