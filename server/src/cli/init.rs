//! `forecastle-server init`.

use std::{fs, path::Path, path::PathBuf, time::Duration};

use clap::Args;
use forecastle_server::{
    init::{InitOptions, init},
    plans,
};

use super::{Format, Outcome, show};

/// Found a federation in an empty state directory
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle-server init --model warm-start.safetensors
  forecastle-server init --model warm-start.safetensors --plan plan.toml --federation retail-de \\
      --listen 0.0.0.0:7443 --advertise https://federation.example:7443

Without --plan, the plan for four or five merchants is used; --show-plan prints it as a start for your own.")]
pub(crate) struct Init {
    /// Version 0 of the model, for instance the client's nano warm start
    #[arg(long, value_name = "FILE", required_unless_present = "show_plan")]
    model: Option<PathBuf>,
    /// Privacy plan [default: four or five merchants, customer-level ε ≤ 8]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Print the default plan and do nothing else
    #[arg(long)]
    show_plan: bool,
    /// Name of the federation
    #[arg(long, value_name = "NAME", default_value = "federation")]
    federation: String,
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7443")]
    listen: String,
    /// How merchants reach the server [default: https:// and the address to listen on]
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,
    /// One more host name or IP address for the server's certificate; may be repeated
    #[arg(long = "name", value_name = "HOST")]
    names: Vec<String>,
    /// Milliseconds a round waits for further merchants once enough are there
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    gather_ms: u64,
    /// Merchants to wait for even before so many are enrolled
    #[arg(long, value_name = "N", default_value_t = 0)]
    expected_merchants: u16,
    /// Days for which merchants' certificates are valid
    #[arg(long, value_name = "DAYS", default_value_t = 365)]
    certificate_days: u16,
}

impl Init {
    pub(crate) async fn run(self, directory: &Path, format: Format) -> Outcome {
        if self.show_plan {
            print!("{}", plans::FOUR_MERCHANTS);
            return Ok(());
        }
        let model = self.model.ok_or("name the model file with --model")?;
        let read = |path: &Path| fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()));
        let plan = match &self.plan {
            Some(path) => read(path)?,
            None => plans::FOUR_MERCHANTS.as_bytes().to_vec(),
        };
        let options = InitOptions {
            federation: self.federation,
            advertise: self.advertise.unwrap_or_else(|| format!("https://{}", self.listen)),
            listen: self.listen,
            names: self.names,
            gather: Duration::from_millis(self.gather_ms),
            expected_merchants: self.expected_merchants,
            certificate_days: self.certificate_days,
            ..InitOptions::new(plan, read(&model)?)
        };
        let founding = init(directory, &options).await?;
        show(format, &founding, || {
            format!(
                "founded `{}` in {}\nserver key  {}\nplan        {}\nmodel 0     {}, {} privately trained parameters\n\nnext: forecastle-server serve, and forecastle-server invite create for each merchant",
                founding.federation,
                directory.display(),
                founding.server_key,
                founding.plan_sha256,
                founding.model_sha256,
                founding.dimension
            )
        })
    }
}
