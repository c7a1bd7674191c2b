//! Merchants with order lines of their own, and the moments at which they can be made to vanish.

use std::{
    fmt::Write as _,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use forecastle_client::{
    data::store::{DataStore, ImportOptions},
    federation::{
        home::{Home, Membership},
        join::{JoinError, join},
        own_ledger::OwnLedger,
    },
    model::Model,
    round::{
        driver::{LocalStep, Participant, TrainError, TrainOptions, now_ms},
        event::RoundEvent,
    },
    train::merchant::MerchantStep,
};
use forecastle_crypto::{
    dp::{filter::MerchantPolicy, plan::PrivacyPlan, release::Release},
    ledger::entry::{Charge, Entry},
    quantize::NoisedUpdate,
};
use forecastle_proto::model::ModelSnapshot;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use crate::{MERCHANTS, PATIENCE, model, server::Federation};

/// Products of every merchant.
const PRODUCTS: usize = 3;

/// A merchant's state folder, while nobody has it open.
#[derive(Clone, Debug)]
pub struct Merchant {
    /// Name in the federation.
    pub name: String,
    /// The state folder.
    pub folder: PathBuf,
}

/// When a merchant vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vanish {
    /// It stays.
    Never,
    /// At once when the round has started for it: none of its messages has left.
    Started(u64),
    /// At once when the round's charge is on its disk: its masked update has not left.
    Charged(u64),
}

impl Vanish {
    fn at(self, event: &RoundEvent) -> bool {
        match (self, event) {
            (Self::Started(at), RoundEvent::Started { round, .. })
            | (Self::Charged(at), RoundEvent::Charged { round, .. }) => at == *round,
            _ => false,
        }
    }
}

/// How a training ended.
pub struct Trained {
    /// Version of the last model, or why training stopped.
    pub result: Result<u64, TrainError>,
    /// ε of everything charged, and the cap.
    pub spent: (f64, f64),
}

/// A training under way.
pub struct Training {
    /// What it reports as it goes.
    pub events: UnboundedReceiver<RoundEvent>,
    task: JoinHandle<Trained>,
}

impl Training {
    /// Its end, and what it reported since last asked.
    ///
    /// # Panics
    /// Where it does not end, or vanished.
    pub async fn end(mut self) -> (Trained, Vec<RoundEvent>) {
        let trained =
            tokio::time::timeout(PATIENCE, self.task).await.expect("training ends").expect("it has not vanished");
        let mut events = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            events.push(event);
        }
        (trained, events)
    }

    /// Waits until it has vanished, its state folder let go.
    ///
    /// # Panics
    /// Where it has not.
    pub async fn vanished(self) {
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it vanishes in time");
        assert!(ended.is_err_and(|error| error.is_panic()), "it did not vanish");
    }
}

/// Holds a local step back until it is opened.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets the step go on, now and from now on.
    ///
    /// # Panics
    /// Never, unless a step panicked.
    pub fn open(&self) {
        *self.0.0.lock().expect("nobody panics while holding it") = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let closed = self.0.0.lock().expect("nobody panics while holding it");
        let (open, _) =
            self.0.1.wait_timeout_while(closed, PATIENCE, |open| !*open).expect("nobody panics while holding it");
        assert!(*open, "the gate stays closed");
    }
}

/// A merchant's step that waits at a gate from its `from`-th call on, counted from 1.
struct Gated {
    step: Box<dyn LocalStep>,
    gate: Gate,
    from: u32,
    calls: u32,
}

impl LocalStep for Gated {
    fn contribute(&mut self, model: &ModelSnapshot, release: Release<'_>) -> Result<NoisedUpdate, String> {
        self.calls += 1;
        let update = self.step.contribute(model, release);
        if self.calls >= self.from {
            self.gate.pass();
        }
        update
    }
}

impl Merchant {
    /// The merchant `name` with a folder under `folder`; nothing is on disk yet.
    pub fn new(folder: &Path, name: &str) -> Self {
        Self { name: name.to_owned(), folder: folder.join(name) }
    }

    /// Opens the state folder.
    ///
    /// # Panics
    /// Where somebody has it open.
    pub fn home(&self) -> Home {
        Home::open(&self.folder).expect("a free state folder")
    }

    /// Joins with an invitation's text under the default policy.
    ///
    /// # Errors
    /// As [`join`].
    pub async fn join(&self, invitation: &str) -> Result<(Membership, PrivacyPlan), JoinError> {
        self.join_under(invitation, &MerchantPolicy::default()).await
    }

    /// Joins with an invitation's text.
    ///
    /// # Errors
    /// As [`join`].
    pub async fn join_under(
        &self,
        invitation: &str,
        policy: &MerchantPolicy,
    ) -> Result<(Membership, PrivacyPlan), JoinError> {
        let name = self.name.parse().expect("a merchant's name");
        join(&self.home(), invitation, name, policy, now_ms()).await
    }

    /// Imports order lines that differ with `seed`.
    ///
    /// # Panics
    /// Where they are refused.
    pub fn import(&self, seed: usize) {
        let mut store = DataStore::open(&self.home().data()).expect("a data folder");
        let report = store.import_bytes("orders.csv", orders(seed).as_bytes(), &ImportOptions::default());
        report.expect("a good file");
        assert!(store.orders().len() > 100, "{} lines were imported", store.orders().len());
    }

    /// The merchant's step over its own data.
    ///
    /// # Panics
    /// Where the data do not fit `plan`.
    pub fn step(&self, plan: &PrivacyPlan) -> MerchantStep {
        let home = self.home();
        let store = DataStore::open(&home.data()).expect("a data folder");
        let config = Model::from_snapshot(&model()).expect("the warm start").config().clone();
        let choice = home.series_choice().expect("a series choice");
        let (step, prepared) =
            MerchantStep::new(&(&store).into(), choice, plan, &config).expect("data that fit the plan");
        assert_eq!(prepared.series.len(), PRODUCTS);
        step
    }

    /// Trains until the schedule ends.
    pub fn train(&self) -> Training {
        self.train_with(false, Vanish::Never, None)
    }

    /// Takes part in one round.
    pub fn train_once(&self) -> Training {
        self.train_with(true, Vanish::Never, None)
    }

    /// Trains, once or until the schedule ends, vanishing where told, its step held by a gate from the round on that
    /// `gate` names.
    ///
    /// # Panics
    /// Where the state folder is not ready.
    pub fn train_with(&self, once: bool, vanish: Vanish, gate: Option<(Gate, u32)>) -> Training {
        let (plan, _) = self.home().plan().expect("a joined merchant");
        let mut step: Box<dyn LocalStep> = Box::new(self.step(&plan));
        if let Some((gate, from)) = gate {
            step = Box::new(Gated { step, gate, from, calls: 0 });
        }
        self.train_by(step, TrainOptions { once, patience: Duration::from_secs(30) }, vanish)
    }

    /// Trains by a step of the test's own, vanishing where told.
    ///
    /// # Panics
    /// Where the state folder is not ready.
    pub fn train_by(&self, step: Box<dyn LocalStep>, options: TrainOptions, vanish: Vanish) -> Training {
        let mut participant = Participant::open(self.home(), step, options).expect("a state folder that is ready");
        let (sender, events): (UnboundedSender<RoundEvent>, _) = unbounded_channel();
        let task = tokio::spawn(async move {
            let mut observe = |event: RoundEvent| {
                let gone = vanish.at(&event);
                let _ = sender.send(event);
                if gone {
                    // Ends the task in this very line, without the words of a panic.
                    resume_unwind(Box::new("vanished"));
                }
            };
            let result = participant.train(&mut observe).await;
            Trained { result, spent: participant.spent().expect("an accountable ledger") }
        });
        Training { events, task }
    }

    /// The charges in the merchant's own ledger.
    ///
    /// # Panics
    /// Where it is damaged.
    pub fn charges(&self) -> Vec<Charge> {
        OwnLedger::open(&self.folder).expect("a readable ledger").charges()
    }

    /// The rounds in the merchant's own ledger, as charged.
    pub fn rounds(&self) -> Vec<u64> {
        self.charges().iter().map(|charge| charge.round).collect()
    }

    /// The rounds for which `entries` hold a charge of this merchant.
    pub fn rounds_in(&self, entries: &[Entry]) -> Vec<u64> {
        let charges = entries.iter().filter_map(|entry| match entry {
            Entry::Charge(signed) if signed.charge.merchant.as_str() == self.name => Some(signed.charge.round),
            _ => None,
        });
        charges.collect()
    }

    /// The model file that is current in the state folder.
    ///
    /// # Panics
    /// Where there is none.
    pub fn current_model(&self) -> (u64, Vec<u8>) {
        let (version, _) = self.home().current_model().expect("a readable model").expect("a downloaded model");
        let path = self.folder.join(format!("models/{version}.safetensors"));
        (version, std::fs::read(path).expect("its file"))
    }
}

/// Merchants `shop-0` … that have joined `federation` and imported their orders, with the folder that holds them.
///
/// # Panics
/// Where one is refused.
pub async fn joined(federation: &Federation) -> (tempfile::TempDir, Vec<Merchant>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut merchants = Vec::new();
    for number in 0..MERCHANTS {
        let merchant = Merchant::new(folder.path(), &format!("shop-{number}"));
        merchant.join(&federation.invite().await.to_string()).await.expect("a joined merchant");
        merchant.import(number);
        merchants.push(merchant);
    }
    (folder, merchants)
}

/// Half a year of order lines: [`PRODUCTS`] products with a weekly season, 40 customers.
fn orders(seed: usize) -> String {
    let mut text = "order_id,customer_id,product_id,ordered_at,quantity,unit_price\n".to_owned();
    let days = (1..=6).flat_map(|month| {
        let length = [31, 29, 31, 30, 31, 30][month - 1];
        (1..=length).map(move |day| (month, day))
    });
    for (index, (month, day)) in days.enumerate() {
        for product in 0..PRODUCTS {
            // A little more at the weekend, and not every product every day.
            let mixed = (index * 31 + product * 17 + seed * 7) % 11;
            if mixed == 0 {
                continue;
            }
            let quantity = 1 + mixed % 3 + usize::from(index % 7 >= 5) * 2;
            let customer = (index * 13 + product * 5 + seed) % 40;
            writeln!(
                text,
                "o{index}-{product},c{customer},p{product},2024-{month:02}-{day:02},{quantity},{}.50",
                5 + product
            )
            .expect("a string takes all");
        }
    }
    text
}
