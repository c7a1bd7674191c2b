//! `forecastle model`: the model that a federation begins with, as a file.

use std::{error::Error, fs, path::PathBuf};

use clap::{Args, Subcommand};
use forecastle_proto::model::ModelSnapshot;
use serde_json::json;

use super::{Format, Outcome, print_json};
use crate::{
    data::signals::{Chosen, Inputs, KnownFeature, PastChannel},
    durable::{self, Access},
    model::{Model, ModelConfig, Trained, assets},
};

/// What to do with model files.
#[derive(Subcommand)]
pub(super) enum Verb {
    Prepare(Prepare),
    Show(Show),
}

/// Make the model file that an operator founds a federation with.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle model prepare --out model.safetensors
  forecastle model prepare --preset nano-weekly --trained skip --counts --out model.safetensors
  forecastle model prepare --past-channels views,carts --known-channels promotion-type --out model.safetensors
  forecastle-server privacy-plan --model model.safetensors --merchants 12 --series-per-merchant 84 …

The more parameters rounds train, the more noise they carry in sum, and the more series it takes to hear anything: give
`privacy-plan` one file of each set and it names the largest that the federation can pay for.

What a model reads is public and the same for all merchants. A further input has no effect until rounds have trained it, and
none at a merchant that does not have it. Under the unit `customer` rounds cannot train on stock, which is what customers
bought before; the other channels of the past are bounded with order lines.")]
pub(super) struct Prepare {
    /// The network, from its warm start where one ships: nano-daily, nano-weekly, nano-weekly-long; or small-daily, small-weekly,
    /// which begin untrained, unless a file that `warm_start` made is given with --from.
    #[arg(long, value_name = "PRESET", default_value = "nano-daily", conflicts_with = "from")]
    preset: String,
    /// A model file to start from instead.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Which parameters rounds train: skip, heads, adapters or all.
    #[arg(long, value_name = "SET")]
    trained: Option<Trained>,
    /// Forecast a negative binomial of each step beside the quantiles.
    #[arg(long)]
    counts: bool,
    /// Forecast the share of each step's sales that comes back beside the quantiles.
    #[arg(long)]
    returns: bool,
    /// Channels of the past to read beside sales, with commas between them: views, carts, wishlists, searches, returns, reviews,
    /// review-score, stock.
    #[arg(long, value_name = "NAMES", default_value_t)]
    past_channels: Chosen<PastChannel>,
    /// Channels known in advance to read beside the usual ones: promotion-type, occasion.
    #[arg(long, value_name = "NAMES", default_value_t)]
    known_channels: Chosen<KnownFeature>,
    /// Read vectors that merchants bring for their products.
    #[arg(long)]
    vectors: bool,
    /// Seed of the parameters that are new.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the model goes; a file that is there already is left alone.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Show what a model file holds.
#[derive(Args)]
pub(super) struct Show {
    /// The model file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(verb: &Verb, format: Format) -> Outcome {
    match verb {
        Verb::Prepare(prepare) => prepare.run(format),
        Verb::Show(show) => describe(&read(&show.file)?, &show.file.display().to_string(), format),
    }
}

impl Prepare {
    fn run(&self, format: Format) -> Outcome {
        if self.out.exists() {
            return Err(format!("{} is there already: name another file", self.out.display()).into());
        }
        let start = match &self.from {
            Some(file) => read(file)?,
            None => match assets::warm_start(&self.preset) {
                Ok(snapshot) => Model::from_snapshot(&snapshot)?,
                // A preset without one begins with nothing learned; a name that is none is refused here.
                Err(missing) => {
                    let model = Model::untrained(&ModelConfig::preset(&self.preset)?, self.seed)?;
                    eprintln!("forecastle: {missing}. This model begins untrained.");
                    model
                }
            },
        };
        let Self { past_channels, known_channels, vectors, returns, .. } = *self;
        let inputs = Inputs { past_channels, known_channels, vectors, returns };
        let config = ModelConfig {
            trained: self.trained.unwrap_or(start.config().trained),
            counts: self.counts || start.config().counts,
            ..start.config().clone().with_inputs(start.config().inputs().or(inputs))
        };
        let model = start.with_settings(&config, self.seed)?;
        durable::write(&self.out, &model.snapshot().to_bytes(), Access::Ordinary)?;
        describe(&model, &self.out.display().to_string(), format)
    }
}

fn read(file: &std::path::Path) -> Result<Model, Box<dyn Error + Send + Sync>> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let bytes = fs::read(file).map_err(|e| named(&e))?;
    let snapshot = ModelSnapshot::from_bytes(&bytes).map_err(|e| named(&e))?;
    Ok(Model::from_snapshot(&snapshot).map_err(|e| named(&e))?)
}

fn describe(model: &Model, name: &str, format: Format) -> Outcome {
    let (config, digest) = (model.config(), model.snapshot().digest());
    match format {
        Format::Json => print_json(&json!({
            "file": name, "sha256": digest, "parameters": model.values().len(),
            "trained-privately": model.federated_len(), "settings": config,
        })),
        Format::Text => {
            let step = match config.frequency {
                crate::data::series::Frequency::Daily => "days",
                crate::data::series::Frequency::Weekly => "weeks",
            };
            say!("{name}");
            say!("  forecasts   {} {step} from {} before them", config.horizon, config.context);
            say!("  network     {} wide, {} blocks, {} heads", config.d_model, config.layers, config.heads);
            say!(
                "  says        nine quantiles{}{}",
                if config.counts { ", and a negative binomial of counts" } else { "" },
                if config.returns { ", and what share of sales comes back" } else { "" }
            );
            for (what, names) in
                [("sees", config.past_channels.to_string()), ("knows", config.known_channels.to_string())]
            {
                if !names.is_empty() {
                    say!("  also {what:6} {names}");
                }
            }
            if config.vectors {
                say!("  also reads  vectors of products");
            }
            say!(
                "  parameters  {}, of which rounds train {} ({})",
                model.values().len(),
                model.federated_len(),
                config.trained
            );
            say!("  sha256      {digest}");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(out: PathBuf) -> Prepare {
        Prepare {
            preset: "nano-daily".into(),
            from: None,
            trained: None,
            counts: false,
            past_channels: Chosen::default(),
            known_channels: Chosen::default(),
            vectors: false,
            returns: false,
            seed: 1,
            out,
        }
    }

    #[test]
    fn a_prepared_model_is_the_warm_start_unless_something_else_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("plain.safetensors");
        prepare(plain.clone()).run(Format::Json).unwrap();
        assert_eq!(fs::read(&plain).unwrap(), assets::warm_start("nano-daily").unwrap().to_bytes());
        let wide = folder.path().join("wide.safetensors");
        let asked =
            Prepare { trained: Some(Trained::All), counts: true, from: Some(plain.clone()), ..prepare(wide.clone()) };
        asked.run(Format::Text).unwrap();
        let model = read(&wide).unwrap();
        assert!(model.config().counts && model.federated_len() == model.values().len());
        let views = "views".parse().unwrap();
        let reading = folder.path().join("reading.safetensors");
        Prepare { past_channels: views, from: Some(wide), ..prepare(reading.clone()) }.run(Format::Text).unwrap();
        assert!(!read(&reading).unwrap().config().returns);
        let carts = folder.path().join("carts.safetensors");
        let carted = "carts".parse().unwrap();
        let asked = Prepare { past_channels: carted, returns: true, from: Some(reading), ..prepare(carts.clone()) };
        asked.run(Format::Text).unwrap();
        let config = read(&carts).unwrap().config().clone();
        assert!(config.returns);
        assert!(config.counts && config.past_channels.to_string() == "views,carts", "what a model had is kept");
        let again = prepare(plain.clone()).run(Format::Json).unwrap_err().to_string();
        assert!(again.contains("plain.safetensors is there already"), "{again}");
        fs::write(&plain, b"no model").unwrap();
        let broken = read(&plain).unwrap_err().to_string();
        assert!(broken.contains("plain.safetensors"), "{broken}");
        let unknown = Prepare { preset: "giant".into(), ..prepare(folder.path().join("x")) };
        assert!(unknown.run(Format::Json).unwrap_err().to_string().contains("nano-weekly"));
    }
}
