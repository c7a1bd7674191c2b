//! `forecastle train`.

use std::time::Duration;

use clap::Args;
use forecastle_crypto::dp::noise::NoiseSampler;
use serde_json::json;

use super::{
    DeviceArguments, Format, Outcome,
    base::{base_model, shared_model},
    print_json, runtime, text,
};
use crate::{
    data::{prepare, signals::private, store::DataStore},
    device,
    federation::home::Home,
    forecast::personal::Personal,
    round::{
        driver::{Participant, TrainOptions},
        event::RoundEvent,
    },
    train::{
        LocalTraining,
        merchant::{MerchantStep, training_series},
    },
};

/// Take part in the federation's rounds until its run ends.
///
/// Goes on where it stopped when run again. Every round is charged to this merchant's own ledger before anything
/// leaves; a round that would exceed the cap is refused.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle train
  forecastle train --once
  forecastle train --local")]
pub(super) struct Arguments {
    /// Stop after one round.
    #[arg(long)]
    once: bool,
    /// Only see what local training does to the model at hand; nothing is sent and nothing charged.
    #[arg(long, conflicts_with = "once")]
    local: bool,
    /// Seconds for which a server that does not answer is tried.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    patience: u64,
    /// Who draws the noise: exact, or opendp (OpenDP's sampler, some hundred times slower).
    #[arg(long, value_name = "SAMPLER", default_value_t)]
    noise: NoiseSampler,
    #[command(flatten)]
    device: DeviceArguments,
}

pub(super) fn run(home: Home, arguments: Arguments, format: Format) -> Outcome {
    arguments.device.choose()?;
    if arguments.local {
        return local(&home, format);
    }
    home.membership()?;
    let (plan, _) = home.plan()?;
    let store = DataStore::open(&home.data())?;
    // The federation's model decides the step of the series; before the first download the warm start stands in.
    let model = shared_model(&home)?.1;
    let unit = plan.privacy.unit;
    let inputs = if home.current_model()?.is_some() { model.config().inputs() } else { private::all(unit) };
    let choice = home.series_choice()?.for_inputs(inputs);
    let mut prepared = prepare::bounded_series(&(&store).into(), choice, model.config().frequency, &plan)?;
    if model.reads_text() {
        text::attach(&home, &model, &mut prepared.series)?;
    }
    let trained = training_series(prepared.series.clone(), model.config());
    let step = MerchantStep::over(trained, &plan).with_texts_for(model.config()).with_inputs_for(inputs, unit);
    if !device::place().is_cpu() {
        step.rehearse(&model)?;
    }
    if format == Format::Text {
        say!("{} series take part", prepared.series.len());
        if let Some(bounds) = &prepared.bounds {
            say!("{bounds}");
        }
    }
    drop(store);
    let options = TrainOptions { once: arguments.once, patience: Duration::from_secs(arguments.patience) };
    let runtime = runtime()?;
    // The connection starts a task of its own when it is opened.
    let _entered = runtime.enter();
    let mut participant = Participant::open(home, Box::new(step), options)?.with_sampler(arguments.noise);
    let mut observe = |event: RoundEvent| match format {
        Format::Json => {
            if let Ok(line) = serde_json::to_string(&event) {
                say!("{line}");
            }
        }
        Format::Text => describe(&event),
    };
    runtime.block_on(async {
        tokio::select! {
            result = participant.train(&mut observe) => result.map(|_| ()).map_err(Into::into),
            _ = tokio::signal::ctrl_c() => {
                eprintln!("stopped; run `forecastle train` again to go on with the next round");
                Ok(())
            }
        }
    })
}

fn describe(event: &RoundEvent) {
    match event {
        RoundEvent::Restored { charges } => say!(
            "this state was restored or copied: {charges} charges taken over from the federation's log, unused keys burnt"
        ),
        RoundEvent::Waiting { present } => say!("waiting for a round; {present} merchants are present"),
        RoundEvent::Started { round, cohort } => say!("round {round}: {cohort} merchants"),
        RoundEvent::Charged { round, epsilon, cap } => say!("round {round}: charged, ε = {epsilon:.4} of {cap}"),
        RoundEvent::Published { round, model_version } => say!("round {round}: model {model_version} published"),
        RoundEvent::Missed { round, reason } => say!("round {round}: missed ({reason})"),
        RoundEvent::Reconnecting { reason } => say!("{reason}; trying again"),
        RoundEvent::Finished { model_version } => say!("the run is over; model {model_version} is here"),
    }
}

fn local(home: &Home, format: Format) -> Outcome {
    let store = DataStore::open(&home.data())?;
    let (version, model) = base_model(home)?;
    let period = store.observed_period().ok_or(prepare::PrepareError::Empty)?;
    let mut prepared = prepare::local_series(
        &(&store).into(),
        home.series_choice()?.for_inputs(model.config().inputs()),
        model.config().frequency,
        period,
        model.shape().horizon,
    )?;
    text::attach(home, &model, &mut prepared.series)?;
    let personal = Personal::train(&model, &prepared.series, &LocalTraining::fine_tuning_of(&prepared.series, 1))?;
    match format {
        Format::Json => {
            print_json(&json!({ "model": version, "series": prepared.series.len(), "steps": personal.steps }))
        }
        Format::Text => {
            say!(
                "{} series; {} local steps improve model {version} on the last {} held-back steps",
                prepared.series.len(),
                personal.steps,
                model.shape().horizon
            );
            say!("`forecastle forecast` does these steps by itself");
            Ok(())
        }
    }
}
