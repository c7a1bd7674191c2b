//! All merchants train at once, each in its own task over its own connection; the screen shows the rounds.

use std::time::{Duration, Instant};

use forecastle_client::{
    data::{bound::BoundReport, store::DataStore},
    federation::home::Home,
    model::ModelConfig,
    round::{
        driver::{Participant, TrainOptions},
        event::RoundEvent,
    },
    train::merchant::MerchantStep,
};
use forecastle_crypto::dp::plan::PrivacyPlan;
use forecastle_server::event::ServerEvent;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{
    broadcast::{Receiver, error::RecvError},
    mpsc::{UnboundedReceiver, unbounded_channel},
};

use super::AnyError;
use crate::report::Round;

/// What came of the rounds.
pub struct Trained {
    /// The rounds as they went.
    pub rounds: Vec<Round>,
    /// What the contribution bounds left out, all merchants together.
    pub bounded: BoundReport,
    /// Version of the last model.
    pub model_version: u64,
    /// Merchants that stopped early, and why.
    pub stopped: Vec<(String, String)>,
}

/// Runs the whole schedule.
///
/// # Errors
/// Where no merchant can train at all.
pub async fn train_all(
    homes: Vec<Home>,
    plan: &PrivacyPlan,
    config: &ModelConfig,
    events: Receiver<ServerEvent>,
) -> Result<Trained, AnyError> {
    let mut bounded = BoundReport::default();
    let mut tasks = Vec::new();
    let (missed, misses) = unbounded_channel();
    for home in homes {
        let merchant = home.membership()?.merchant.to_string();
        let store = DataStore::open(&home.data())?;
        let (step, prepared) = MerchantStep::new(&(&store).into(), home.series_choice()?, plan, config)?;
        if let Some(report) = prepared.bounds {
            bounded.add(&report);
        }
        let options = TrainOptions { once: false, patience: Duration::from_secs(60) };
        let mut participant = Participant::open(home, Box::new(step), options)?;
        let (name, missed) = (merchant.clone(), missed.clone());
        tasks.push((
            merchant,
            tokio::spawn(async move {
                let mut observe = |event| {
                    if let RoundEvent::Missed { round, reason } = event {
                        // The screen may be gone: that is no reason to stop training.
                        let _ = missed.send((name.clone(), round, reason));
                    }
                };
                participant.train(&mut observe).await
            }),
        ));
    }
    drop(missed);
    let watcher = tokio::spawn(watch(events, misses, plan.rounds.count, plan.privacy.epsilon_cap));
    let (mut model_version, mut stopped) = (0, Vec::new());
    for (merchant, task) in tasks {
        match task.await? {
            Ok(version) => model_version = model_version.max(version),
            Err(error) => stopped.push((merchant, error.to_string())),
        }
    }
    // Ends with the run; should every merchant have stopped early, it would wait for ever.
    let rounds = if stopped.is_empty() {
        watcher.await?
    } else {
        tokio::time::timeout(Duration::from_secs(5), watcher).await.unwrap_or_else(|_| Ok(Vec::new()))?
    };
    if model_version == 0 && !stopped.is_empty() {
        return Err(format!("no merchant could train; the first said: {}", stopped[0].1).into());
    }
    Ok(Trained { rounds, bounded, model_version, stopped })
}

/// Shows rounds as they go: who is waited for, ε so far against the cap.
async fn watch(
    mut events: Receiver<ServerEvent>,
    mut misses: UnboundedReceiver<(String, u64, String)>,
    planned: u32,
    cap: f64,
) -> Vec<Round> {
    let bar = ProgressBar::new(u64::from(planned));
    bar.set_style(
        ProgressStyle::with_template("  {bar:30} round {pos}/{len}  {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let mut rounds: Vec<Round> = Vec::new();
    let mut begun = Instant::now();
    let mut epsilon_text = format!("ε 0 of {cap}");
    loop {
        let event = tokio::select! {
            Some((merchant, round, reason)) = misses.recv() => {
                say(&bar, format!("  {merchant} missed round {round}: {reason}"));
                continue;
            }
            event = events.recv() => event,
        };
        let event = match event {
            Ok(event) => event,
            // The screen was slower than the server: what it missed is in the log.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => break,
        };
        match event {
            ServerEvent::Gathering { missing, .. } => {
                bar.set_message(format!("{epsilon_text}  gathering, waiting for {}", names(&missing)));
            }
            ServerEvent::RoundStarted { round, cohort } => {
                begun = Instant::now();
                rounds.push(Round {
                    number: round,
                    invited: cohort.len(),
                    survivors: 0,
                    epsilon: None,
                    model: None,
                    seconds: 0.0,
                });
            }
            ServerEvent::PhaseWaiting { phase, missing, .. } => {
                let phase = format!("{phase:?}").to_lowercase();
                bar.set_message(format!("{epsilon_text}  {phase}, waiting for {}", names(&missing)));
            }
            ServerEvent::RoundClosed { round, survivors, model_version, epsilon } => {
                let text = epsilon.map_or_else(|| "ε not computed".to_owned(), |e| format!("ε {e:.3} of {cap}"));
                if let Some(last) = rounds.last_mut() {
                    last.survivors = survivors.len();
                    last.epsilon = epsilon;
                    last.model = Some(model_version);
                    last.seconds = begun.elapsed().as_secs_f64();
                }
                epsilon_text = text;
                bar.set_position(round);
                if bar.is_hidden() && (round % 5 == 0 || round == u64::from(planned)) {
                    println!("  round {round}/{planned}  {} merchants  {epsilon_text}", survivors.len());
                }
            }
            ServerEvent::RoundAbandoned { round, reason } => {
                if let Some(last) = rounds.last_mut() {
                    last.seconds = begun.elapsed().as_secs_f64();
                }
                say(&bar, format!("  round {round} abandoned: {reason}"));
                bar.set_position(round);
            }
            ServerEvent::WentOnWithout { .. } | ServerEvent::TurnedAway { .. } => say(&bar, format!("  {event}")),
            ServerEvent::RunFinished { .. } => break,
            ServerEvent::MerchantJoined { .. } => {}
        }
    }
    bar.finish_and_clear();
    rounds
}

/// A line above the bar, or on its own where no terminal shows a bar.
fn say(bar: &ProgressBar, line: String) {
    if bar.is_hidden() { println!("{line}") } else { bar.println(line) }
}

fn names(missing: &[forecastle_crypto::identity::MerchantId]) -> String {
    match missing {
        [] => "nobody".into(),
        [one] => one.to_string(),
        [one, two] => format!("{one}, {two}"),
        [one, two, rest @ ..] => format!("{one}, {two} and {} more", rest.len()),
    }
}
