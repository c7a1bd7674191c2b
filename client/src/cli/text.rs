//! `forecastle data text`, and giving texts to a model on the verbs that forecast or train.

use std::{error::Error, fs, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{DeviceArguments, Format, Outcome, base::base_model, print_json};
use crate::{
    data::{prepare, series::Series, store::DataStore},
    federation::home::Home,
    model::Model,
    text::{
        bert::{Directory, SentenceEncoder},
        inputs::{self, TextChoice, TextInputs, TextReport},
    },
};

/// See or choose what reads products' texts: hashed letters, or a sentence encoder on this machine.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle data text --encoder ~/encoders/all-MiniLM-L6-v2
  forecastle data text --hashed

The folder holds config.json, tokenizer.json and model.safetensors of a BERT, RoBERTa or DistilBERT in the layout of
sentence-transformers. It is read where it lies and nothing is downloaded or sent. Vectors are kept in the state folder, so
that each text is encoded once. Forecasts learn from them by fine-tuning on this machine, unless the federation's model
was trained with texts of another encoder: then they are left out, and every verb that forecasts says so.")]
pub(in crate::cli) struct Arguments {
    /// Folder of a sentence encoder (BERT, RoBERTa or DistilBERT in the layout of sentence-transformers).
    #[arg(long, value_name = "FOLDER", conflicts_with = "hashed")]
    encoder: Option<PathBuf>,
    /// Go back to hashed letters.
    #[arg(long)]
    hashed: bool,
    #[command(flatten)]
    device: DeviceArguments,
}

pub(super) fn run(home: &Home, arguments: &Arguments, format: Format) -> Outcome {
    arguments.device.choose()?;
    if arguments.hashed {
        home.set_text_choice(None)?;
    }
    if let Some(folder) = &arguments.encoder {
        let directory = Directory::open(folder)?;
        SentenceEncoder::load(&directory)?;
        let encoder = fs::canonicalize(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        if encoder.to_str().is_none() {
            return Err(format!("{}: move the encoder to a folder whose name is plain text", encoder.display()).into());
        }
        home.set_text_choice(Some(&TextChoice { encoder, digest: directory.digest() }))?;
        if format == Format::Text {
            say!("vectors of {} numbers, from the first {} tokens of a text", directory.width(), directory.longest());
        }
    }
    let choice = home.text_choice()?;
    let (version, model) = base_model(home)?;
    let store = DataStore::open(&home.data())?;
    let mut series = match store.observed_period() {
        Some(period) => {
            let frequency = model.config().frequency;
            prepare::local_series(&(&store).into(), home.series_choice()?, frequency, period, 0)?.series
        }
        None => Vec::new(),
    };
    let report = encode(home, &model, &mut series)?;
    match format {
        Format::Json => print_json(&json!({
            "encoder": choice.as_ref().map(|choice| &choice.encoder),
            "digest": choice.as_ref().map(|choice| choice.digest),
            "model": version,
            "inputs": report.inputs,
            "texts": report.texts,
            "encoded": report.encoded,
        })),
        Format::Text => {
            match &choice {
                Some(choice) => say!("texts are read by {} ({})", choice.encoder.display(), choice.digest),
                None => say!("texts are hashed, letters by threes to fives"),
            }
            say!("{} different texts, {} of them encoded just now", report.texts, report.encoded);
            say!("{}", meaning(report.inputs));
            Ok(())
        }
    }
}

/// Gives every series the vector of its text that `model` is to see; says so where that is none.
pub(super) fn attach(home: &Home, model: &Model, series: &mut [Series]) -> Outcome {
    let report = encode(home, model, series)?;
    if report.inputs == TextInputs::Absent && report.texts > 0 {
        eprintln!("forecastle: {}", meaning(report.inputs));
    }
    Ok(())
}

fn encode(home: &Home, model: &Model, series: &mut [Series]) -> Result<TextReport, Box<dyn Error + Send + Sync>> {
    let choice = home.text_choice()?;
    let mut told = |done: usize, of: usize| {
        if done == 0 || done == of || done.is_multiple_of(4096) {
            eprintln!("forecastle: {done} of {of} texts encoded");
        }
    };
    Ok(inputs::attach(model, choice.as_ref(), &home.text_vectors(), series, &mut told)?)
}

/// What the model at hand makes of the texts.
fn meaning(inputs: TextInputs) -> &'static str {
    match inputs {
        TextInputs::Hashed => "the model at hand takes hashed texts",
        TextInputs::Encoder => "the model at hand was trained with this encoder",
        TextInputs::EncoderUntrained => {
            "the model at hand has learned nothing of texts yet; fine-tuning on this machine learns from these vectors"
        }
        TextInputs::Absent => {
            "the model at hand was trained with texts read in another way than `forecastle data text` says, so it forecasts \
             as if products had none"
        }
    }
}
