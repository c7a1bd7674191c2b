//! `forecastle-server status`.

use std::{fmt::Write as _, path::Path};

use forecastle_server::state::FederationState;

use super::{Format, Outcome, at, show};

pub(crate) async fn run(directory: &Path, format: Format) -> Outcome {
    let status = FederationState::open(directory).await?.status().await?;
    show(format, &status, || {
        let mut text = format!(
            "federation  {}\nserver key  {}\nrounds      {} of {} used, {} abandoned{}\nmodel       version {}\nprivacy     ε {} of {} (server with the assumed colluders)\nlog         {} entries\n",
            status.federation,
            status.server_key,
            status.rounds_used,
            status.rounds_planned,
            status.rounds_abandoned,
            status.round_open.map(|round| format!("; round {round} is running")).unwrap_or_default(),
            status.model_version,
            status.epsilon.map_or_else(|| "unknown".into(), |e| format!("{e:.3}")),
            status.epsilon_cap,
            status.ledger_entries,
        );
        if status.merchants.is_empty() {
            text.push_str("merchants   none yet: forecastle-server invite create");
        }
        for (i, merchant) in status.merchants.iter().enumerate() {
            let label = if i == 0 { "merchants" } else { "" };
            let _ = write!(
                text,
                "{}{label:<12}{}  {} pre-keys, last invited to round {}, certificate until {}{}",
                if i == 0 { "" } else { "\n" },
                merchant.merchant,
                merchant.prekeys_left,
                merchant.last_round,
                at(merchant.certificate_not_after_ms),
                if merchant.revoked { ", revoked" } else { "" },
            );
        }
        text
    })
}
