//! A real server, honest merchants that speak the protocol without any training, and what the operator sees meanwhile.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use forecastle_crypto::ledger::entry::Entry;
use forecastle_proto::model::{ModelManifest, ModelSnapshot, ParameterEntry, ParameterLayout};
use forecastle_server::event::{PhaseName, ServerEvent};
use forecastle_tests::{plan, server::Federation};
use tokio::{sync::broadcast::error::RecvError, task::JoinHandle};
use tonic::{Code, Status};

use crate::{
    PATIENCE,
    merchant::{Merchant, Seen, Vanish},
};

/// Trained parameters: few, and at 26 bits each they leave two bits of the last byte unused.
pub const DIMENSION: usize = 7;
/// The name under which an attacker joins; it comes first in every cohort.
pub const MALLORY: &str = "mallory";

/// What a test plays on.
pub struct Scene {
    pub federation: Federation,
    pub honest: Vec<Merchant>,
    seen: Arc<Mutex<Vec<ServerEvent>>>,
}

/// Honest merchants in the middle of a round.
pub struct Playing(Vec<JoinHandle<Played>>);

/// A merchant, and what it saw of the round and contributed to it.
type Played = (Merchant, Result<(Seen, Vec<u64>), Status>);

impl Scene {
    /// A federation with `honest` merchants `shop-0` …, `rounds` rounds and phases of `phase_ms`.
    pub async fn new(honest: usize, rounds: u32, phase_ms: u64) -> Self {
        let plan = plan(rounds, phase_ms);
        let federation = Federation::found_with(&plan, &model(), 0, Duration::from_secs(2)).await;
        let seen = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn({
            let (mut events, seen) = (federation.server().events(), Arc::clone(&seen));
            async move {
                loop {
                    match events.recv().await {
                        Ok(event) => seen.lock().unwrap().push(event),
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    }
                }
            }
        });
        let mut scene = Self { federation, honest: Vec::new(), seen };
        for number in 0..honest {
            let merchant = scene.join(&format!("shop-{number}")).await;
            scene.honest.push(merchant);
        }
        scene
    }

    /// One more merchant, with pre-keys for eight rounds.
    pub async fn join(&self, name: &str) -> Merchant {
        let mut merchant = Merchant::join(&self.federation.invite().await, name).await.unwrap();
        merchant.leave_prekeys(8).await.unwrap();
        merchant
    }

    /// Lets the honest ones take part in the next round after `after_round`.
    pub fn play(&mut self, after_round: u64) -> Playing {
        let honest = std::mem::take(&mut self.honest).into_iter().enumerate();
        let tasks = honest.map(|(number, mut merchant)| {
            tokio::spawn(async move {
                let outcome = merchant.take_part(after_round, &gradient(number), Vanish::Never).await;
                (merchant, outcome)
            })
        });
        Playing(tasks.collect())
    }

    async fn end(&mut self, playing: Playing) -> Vec<Result<Seen, Status>> {
        let mut outcomes = Vec::new();
        for task in playing.0 {
            let (merchant, outcome) = tokio::time::timeout(PATIENCE, task).await.expect("the round ends").unwrap();
            outcomes.push(outcome.map(|(seen, _)| seen));
            self.honest.push(merchant);
        }
        outcomes
    }

    /// The round is published for all honest ones; names the survivors.
    pub async fn published(&mut self, playing: Playing, round: u64) -> Vec<String> {
        for outcome in self.end(playing).await {
            assert!(matches!(outcome, Ok(Seen::Published { .. })), "{outcome:?}");
        }
        let closed = self.event(|e| matches!(e, ServerEvent::RoundClosed { round: r, .. } if *r == round)).await;
        let ServerEvent::RoundClosed { survivors, .. } = closed else { unreachable!() };
        let survivors: Vec<String> = survivors.iter().map(ToString::to_string).collect();
        assert!(self.honest.iter().all(|m| survivors.contains(&m.name.to_string())), "{survivors:?}");
        survivors
    }

    /// The round is abandoned, and every honest one is told so; returns the reason.
    pub async fn abandoned(&mut self, playing: Playing, round: u64) -> String {
        for outcome in self.end(playing).await {
            // Who repeats its answer while the others' end the round hears it from that call.
            let told = match &outcome {
                Ok(Seen::Ended(_)) => true,
                Err(status) => status.message().contains("was abandoned"),
                _ => false,
            };
            assert!(told, "{outcome:?}");
        }
        let gone = self.event(|e| matches!(e, ServerEvent::RoundAbandoned { round: r, .. } if *r == round)).await;
        let ServerEvent::RoundAbandoned { reason, .. } = gone else { unreachable!() };
        reason
    }

    /// The first event of this kind; waits for it.
    pub async fn event(&self, wanted: impl Fn(&ServerEvent) -> bool) -> ServerEvent {
        let find = || self.seen.lock().unwrap().iter().find(|event| wanted(event)).cloned();
        let waiting = async {
            loop {
                if let Some(event) = find() {
                    return event;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE / 4, waiting).await;
        found.unwrap_or_else(|_| panic!("the operator does not see it: {:#?}", self.seen.lock().unwrap()))
    }

    /// The operator sees that `merchant` was turned away for a reason with these words.
    pub async fn named(&self, merchant: &str, words: &str) {
        self.event(|event| {
            matches!(event, ServerEvent::TurnedAway { merchant: m, reason, .. } if m.as_str() == merchant && reason.contains(words))
        })
        .await;
    }

    /// How often the operator was told of `merchant` so far.
    pub fn times_named(&self, merchant: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        let of = |event: &&ServerEvent| matches!(event, ServerEvent::TurnedAway { merchant: m, .. } if m.as_str() == merchant);
        seen.iter().filter(of).count()
    }

    /// The operator sees that a phase ended without `merchant` alone.
    pub async fn went_on_without(&self, round: u64, phase: PhaseName, merchant: &str) {
        self.event(|event| {
            matches!(event, ServerEvent::WentOnWithout { round: r, phase: p, merchants }
                if (*r, *p) == (round, phase) && merchants.iter().map(|m| m.as_str()).eq([merchant]))
        })
        .await;
    }

    /// The log stands up to the auditor, with so many rounds closed and abandoned; its entries.
    pub async fn clean_log(&self, closed: u32, abandoned: u32) -> Vec<Entry> {
        let (entries, verdict) = self.federation.audit().await;
        assert_eq!(verdict.findings, []);
        assert_eq!((verdict.rounds_closed, verdict.rounds_abandoned), (closed, abandoned));
        // Nobody honest is named by mistake.
        assert!(self.honest.iter().all(|m| self.times_named(m.name.as_str()) == 0));
        entries
    }
}

/// An update of the honest merchant `number`.
pub fn gradient(number: usize) -> Vec<f64> {
    (0..DIMENSION).map(|k| 0.01 * (number as f64 + 1.0) - 0.002 * k as f64).collect()
}

/// How many charges of `merchant` are in the log.
pub fn charges_of(merchant: &str, entries: &[Entry]) -> usize {
    entries.iter().filter(|e| matches!(e, Entry::Charge(s) if s.charge.merchant.as_str() == merchant)).count()
}

/// A refusal with this code and these words.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, words: &str) -> Status {
    let status = answer.expect_err("it is refused");
    assert!(
        status.code() == code && status.message().contains(words),
        "expected {code:?} with `{words}`, got {status:?}"
    );
    status
}

/// Ten values, seven of them trained.
fn model() -> ModelSnapshot {
    let entry = |name: &str, size: usize, federated| ParameterEntry { name: name.into(), shape: vec![size], federated };
    let manifest = ModelManifest {
        version: 1,
        architecture: "test".into(),
        settings: serde_json::json!({}),
        layout: ParameterLayout { entries: vec![entry("frozen", 3, false), entry("trained", DIMENSION, true)] },
    };
    ModelSnapshot::new(manifest, (0..10).map(|i| i as f32 / 8.0).collect()).unwrap()
}
