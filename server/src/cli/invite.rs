//! `forecastle-server invite`.

use std::{path::Path, time::Duration};

use clap::Subcommand;
use forecastle_server::{identity::invitations::InvitationState, state::FederationState};

use super::{Format, Outcome, at, show};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  forecastle-server invite create
  forecastle-server invite create --hours 2 --count 4
  forecastle-server invite list --format json
  forecastle-server invite revoke 3")]
pub(crate) enum Invite {
    /// Make one-time invitations and print them, one a line; hand each to one merchant over a private channel
    Create {
        /// Hours for which it can be used
        #[arg(long, value_name = "HOURS", default_value_t = 168, value_parser = clap::value_parser!(u64).range(1..=87_600))]
        hours: u64,
        /// How many to make
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=255))]
        count: u16,
    },
    /// List invitations and what became of them
    List,
    /// Take an unused invitation back
    Revoke {
        /// Number of the invitation, as `invite list` shows it
        id: u64,
    },
}

impl Invite {
    pub(crate) async fn run(self, directory: &Path, format: Format) -> Outcome {
        let state = FederationState::open(directory).await?;
        match self {
            Self::Create { hours, count } => {
                let mut lines = Vec::new();
                for _ in 0..count {
                    lines.push(state.invite(Duration::from_secs(hours * 3600)).await?.to_string());
                }
                show(format, &lines, || lines.join("\n"))
            }
            Self::List => {
                let rows = state.invitations().await?;
                show(format, &rows, || {
                    if rows.is_empty() {
                        return "no invitations yet: forecastle-server invite create".into();
                    }
                    let line = |row: &forecastle_server::identity::invitations::InvitationRow| {
                        let what = match &row.state {
                            InvitationState::Open => format!("open until {}", at(row.expires_ms)),
                            InvitationState::Expired => format!("expired {}", at(row.expires_ms)),
                            InvitationState::Revoked => "revoked".into(),
                            InvitationState::Used { merchant } => format!("used by {merchant}"),
                        };
                        format!("{:>4}  made {}  {what}", row.id, at(row.created_ms))
                    };
                    rows.iter().map(line).collect::<Vec<_>>().join("\n")
                })
            }
            Self::Revoke { id } => {
                state.revoke_invitation(id).await?;
                show(format, &serde_json::json!({ "revoked": id }), || format!("invitation {id} is revoked"))
            }
        }
    }
}
