//! A federation whose merchants each meet a puppet.
//!
//! Merchants are real: state folders, TLS, `Participant`. Only what they compute is not: a made-up sum of gradients takes
//! the place of a model's, so that a round costs no training, and is noised by the real release. What it came to is noted,
//! because it is what no server may learn.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use forecastle_client::round::{
    driver::{LocalStep, TrainError, TrainOptions},
    event::RoundEvent,
};
use forecastle_crypto::{
    dp::{filter::MerchantPolicy, plan::PrivacyPlan, release::Release},
    entropy::SystemEntropy,
    identity::{MerchantId, SigningKey},
    ledger::entry::Entry,
    quantize::NoisedUpdate,
    secagg::{ParticipantNumber, RosterEntry, UnmaskRequest, generate_prekey},
};
use forecastle_proto::{
    model::ModelSnapshot,
    round::{AwaitMessageResponse, Pending, await_message_response::Answer},
};
use forecastle_tests::{
    MERCHANTS, PATIENCE, copy_folder,
    merchant::{Merchant, Trained, Training, Vanish},
    read_entries,
    server::Federation,
};

use crate::{
    cohort::set,
    puppet::{Backstage, Puppet, script::Script},
};

/// Time of a phase: far longer than any test needs one.
pub const PHASE_MS: u64 = 40_000;

/// A federation, its merchants, and who stands between them.
pub struct Scene {
    /// The real server.
    pub federation: Federation,
    /// The merchants, the first [`MERCHANTS`] joined before any round.
    pub merchants: Vec<Merchant>,
    /// Their puppets, in the same order.
    pub puppets: Vec<Puppet>,
    folder: tempfile::TempDir,
    noted: Noted,
}

/// A merchant's training, watched.
pub struct Watched {
    training: Training,
    /// What it reported so far.
    pub events: Vec<RoundEvent>,
}

/// The plan of most tests: two rounds.
pub fn plan() -> PrivacyPlan {
    forecastle_tests::plan(2, PHASE_MS)
}

impl Scene {
    /// Founds a federation under `plan` that [`MERCHANTS`] merchants join, each by way of its puppet.
    pub async fn open(plan: &PrivacyPlan) -> Self {
        let mut scene = Self {
            federation: Federation::found(plan).await,
            merchants: Vec::new(),
            puppets: Vec::new(),
            folder: tempfile::tempdir().expect("a temporary folder"),
            noted: Noted::default(),
        };
        for _ in 0..MERCHANTS {
            scene.one_more().await;
        }
        scene
    }

    /// One more merchant joins, under the default policy.
    pub async fn one_more(&mut self) {
        let number = self.merchants.len();
        let merchant = Merchant::new(self.folder.path(), &format!("shop-{number}"));
        let puppet = Puppet::before(&merchant, &self.federation).await;
        let invitation = puppet.diverted(self.federation.invite().await).to_string();
        merchant.join_under(&invitation, &MerchantPolicy::default()).await.expect("a joined merchant");
        self.merchants.push(merchant);
        self.puppets.push(puppet);
    }

    /// Changes what the puppet of a merchant says.
    pub fn script(&self, merchant: usize, change: impl FnOnce(&mut Script)) {
        self.puppets[merchant].script(change);
    }

    /// Lets a merchant train until the schedule ends.
    pub fn train(&self, merchant: usize) -> Watched {
        self.train_with(merchant, TrainOptions { once: false, patience: Duration::from_secs(30) })
    }

    /// Lets a merchant take part in one round.
    pub fn train_once(&self, merchant: usize) -> Watched {
        self.train_with(merchant, TrainOptions { once: true, patience: Duration::from_secs(30) })
    }

    /// Lets a merchant train.
    pub fn train_with(&self, merchant: usize, options: TrainOptions) -> Watched {
        let step = MadeUp { merchant, noted: self.noted.clone() };
        let training = self.merchants[merchant].train_by(Box::new(step), options, Vanish::Never);
        Watched { training, events: Vec::new() }
    }

    /// All merchants but the first take part, until the schedule ends.
    pub fn others(&self) -> Vec<Watched> {
        (1..self.merchants.len()).map(|merchant| self.train(merchant)).collect()
    }

    /// One round in which all merchants take part, undisturbed.
    pub async fn round(&self, version: u64) {
        let trainings: Vec<_> = (0..self.merchants.len()).map(|merchant| self.train_once(merchant)).collect();
        for training in trainings {
            let (trained, events) = training.end().await;
            assert_eq!(trained.result.expect("a published round"), version, "{events:?}");
        }
    }

    /// The entries of the real log.
    pub async fn entries(&self) -> Vec<Entry> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path().join("export");
        self.federation.state().await.export_ledger(&folder).await.expect("an exported log");
        read_entries(&folder)
    }

    /// Rounds for which the real log holds a charge of a merchant.
    pub async fn logged(&self, merchant: usize) -> Vec<u64> {
        self.merchants[merchant].rounds_in(&self.entries().await)
    }

    /// A place in a roster with a fresh pre-key, signed as merchant `merchant` would: what a merchant that is the server's
    /// own gives it.
    pub fn place_of(&self, merchant: usize) -> RosterEntry {
        // The folder may be in use; the key in it does not change.
        let copy = tempfile::tempdir().expect("a temporary folder");
        copy_folder(&self.merchants[merchant].folder, copy.path());
        let key = std::fs::read(copy.path().join("identity.p8")).expect("its identity");
        let identity = SigningKey::from_pkcs8(&key).expect("its identity");
        place(&self.merchants[merchant].name, &identity)
    }

    /// What a merchant put into a round and nobody else may see, round by round.
    pub fn secret_updates(&self, merchant: usize) -> Vec<Vec<u64>> {
        let noted = self.noted.0.lock().expect("nobody panics while holding it");
        noted.iter().filter(|(whose, _)| *whose == merchant).map(|(_, update)| update.clone()).collect()
    }
}

/// How a merchant's training ends that never comes to a round.
///
/// # Panics
/// Where it ends well.
pub async fn stopped_alone(merchant: &Merchant) -> TrainError {
    let step = MadeUp { merchant: 0, noted: Noted::default() };
    let options = TrainOptions { once: true, patience: Duration::from_secs(1) };
    let training = merchant.train_by(Box::new(step), options, Vanish::Never);
    Watched { training, events: Vec::new() }.stopped().await
}

/// A place in a roster with a fresh pre-key of the holder of `identity`.
pub fn place(name: &str, identity: &SigningKey) -> RosterEntry {
    let merchant: MerchantId = name.parse().expect("a merchant's name");
    let (bundle, _) = generate_prekey(&merchant, identity, 9, &mut SystemEntropy::new()).expect("entropy");
    RosterEntry { merchant, identity: identity.verifying_key(), bundle }
}

/// How often a merchant can have been put off since `begun`, if every pause is twice the one before and the first 50 ms.
pub fn put_off_at_most(begun: Instant) -> usize {
    2 + (begun.elapsed().as_millis() / 50 + 1).ilog2() as usize
}

/// The unmasking request that would follow from what the merchants stated, each about whatever it was told, if the round of
/// `puppets[0]` were everybody's; to be asked for again until all of `survivors` have stated something.
pub fn made_up_request(puppets: &[Arc<Backstage>], survivors: &[u16], gone: &[u16]) -> AwaitMessageResponse {
    let of = |n: &u16| &puppets[usize::from(*n) - 1];
    let stated: Option<Vec<_>> =
        survivors.iter().map(|n| Some((number(usize::from(*n)), of(n).confirmation()?.signature))).collect();
    let answer = match (stated, puppets[0].confirmation()) {
        (Some(signatures), Some(own)) => {
            let sharers = survivors.iter().filter_map(|n| Some((number(usize::from(*n)), of(n).sharers_signature()?)));
            let request = UnmaskRequest {
                sid: own.sid,
                reveal_self_masks: set(survivors),
                reveal_mask_keys: set(gone),
                signatures,
                sharers_signatures: sharers.collect(),
            };
            Answer::Message(request.encode())
        }
        _ => Answer::Pending(Pending { present: 5 }),
    };
    AwaitMessageResponse { answer: Some(answer) }
}

/// The participant `number`, counted from 1.
pub fn number(number: usize) -> ParticipantNumber {
    ParticipantNumber::from_position(number - 1).expect("a small number")
}

impl Watched {
    /// Waits for an event.
    ///
    /// # Panics
    /// Where it does not come: the message says what came instead.
    pub async fn event(&mut self, wanted: impl Fn(&RoundEvent) -> bool) -> RoundEvent {
        let begun = tokio::time::Instant::now();
        loop {
            match tokio::time::timeout_at(begun + PATIENCE, self.training.events.recv()).await {
                Ok(Some(event)) => {
                    self.events.push(event.clone());
                    if wanted(&event) {
                        return event;
                    }
                }
                ended => {
                    panic!("{} came instead: {:#?}", if ended.is_ok() { "the end" } else { "nothing" }, self.events)
                }
            }
        }
    }

    /// Waits until it missed a round, and returns why.
    pub async fn missed(&mut self) -> String {
        match self.event(|event| matches!(event, RoundEvent::Missed { .. })).await {
            RoundEvent::Missed { reason, .. } => reason,
            _ => unreachable!("that is what was waited for"),
        }
    }

    /// Whether it charged anything so far.
    pub fn charged(&self) -> bool {
        self.events.iter().any(|event| matches!(event, RoundEvent::Charged { .. }))
    }

    /// Its end, and everything that it reported.
    pub async fn end(self) -> (Trained, Vec<RoundEvent>) {
        let (trained, later) = self.training.end().await;
        (trained, [self.events, later].concat())
    }

    /// Its end, which is not a good one.
    ///
    /// # Panics
    /// Where it ended well.
    pub async fn stopped(self) -> TrainError {
        let (trained, events) = self.end().await;
        trained.result.expect_err(&format!("it did not stop: {events:#?}"))
    }
}

/// Updates as they were before masking, with whose they are.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<Secret>>>);

/// Whose update, and its residues.
type Secret = (usize, Vec<u64>);

/// A step over made-up gradients, under the real release.
struct MadeUp {
    merchant: usize,
    noted: Noted,
}

impl LocalStep for MadeUp {
    fn contribute(&mut self, model: &ModelSnapshot, release: Release<'_>) -> Result<NoisedUpdate, String> {
        let dimension = model.manifest.layout.federated_len();
        let sum: Vec<f64> = (0..dimension).map(|i| ((i + 3 * self.merchant) % 11) as f64 / 1e3 - 0.005).collect();
        let update = release.gradient_sum(&sum).map_err(|error| error.to_string())?;
        let mut noted = self.noted.0.lock().map_err(|error| error.to_string())?;
        noted.push((self.merchant, update.residues().to_vec()));
        Ok(update)
    }
}
