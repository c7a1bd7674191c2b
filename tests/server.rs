//! A federation's server in a runtime of its own, so that it can end as a killed process does.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use forecastle_audit::verify::verify;
use forecastle_crypto::{
    dp::plan::PrivacyPlan,
    identity::MerchantId,
    ledger::{audit::Verdict, entry::Entry},
};
use forecastle_proto::{invitation::Invitation, model::ModelSnapshot};
use forecastle_server::{
    event::ServerEvent,
    init::{InitOptions, init},
    server::Server,
    state::FederationState,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{broadcast, oneshot},
};

use crate::{MERCHANTS, PATIENCE, model, read_entries};

/// A federation that is being served, or was until it was killed.
pub struct Federation {
    folder: tempfile::TempDir,
    address: SocketAddr,
    /// `None` after [`Self::kill`].
    runtime: Option<Runtime>,
    /// `None` after [`Self::kill`].
    server: Option<Server>,
    events: broadcast::Receiver<ServerEvent>,
}

impl Federation {
    /// Founds a federation of [`MERCHANTS`] merchants named `market` and serves it.
    ///
    /// # Panics
    /// Where plan and model do not fit.
    pub async fn found(plan: &PrivacyPlan) -> Self {
        Self::found_with(plan, &model(), MERCHANTS, Duration::from_secs(20)).await
    }

    /// Founds a federation with `model` for `merchants` merchants, or those that are enrolled where that is 0; a round waits
    /// for the last ones for `gather`.
    ///
    /// # Panics
    /// Where plan and model do not fit.
    pub async fn found_with(plan: &PrivacyPlan, model: &ModelSnapshot, merchants: usize, gather: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // The port is free once this listener is dropped; the server takes it at once.
        let address = {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            listener.local_addr().expect("its address")
        };
        let options = InitOptions {
            federation: "market".into(),
            listen: address.to_string(),
            advertise: format!("https://{address}"),
            gather,
            expected_merchants: u16::try_from(merchants).expect("a few"),
            ..InitOptions::new(plan.to_toml().into_bytes(), model.to_bytes())
        };
        init(&folder.path().join("state"), &options).await.expect("a founded federation");
        let (runtime, server) = serve(&folder.path().join("state")).await;
        let events = server.events();
        Self { folder, address, runtime: Some(runtime), server: Some(server), events }
    }

    /// The state directory.
    pub fn directory(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Where it is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The state directory, read beside the serving process.
    ///
    /// # Panics
    /// Where it cannot be opened.
    pub async fn state(&self) -> FederationState {
        FederationState::open(&self.directory()).await.expect("a federation's state")
    }

    /// A fresh invitation.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub async fn invite(&self) -> Invitation {
        self.state().await.invite(Duration::from_secs(600)).await.expect("an invitation")
    }

    /// Ends the server without a goodbye: all its tasks and connections are gone at once, nothing more is written.
    ///
    /// # Panics
    /// Where it is not being served.
    pub async fn kill(&mut self) {
        let runtime = self.runtime.take().expect("a server that runs");
        // It holds the lock on the state directory.
        self.server = None;
        let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(10))).await;
        ended.expect("the runtime ends");
    }

    /// Starts a killed server again, on the same directory and port.
    ///
    /// # Panics
    /// Where it does not start.
    pub async fn restart(&mut self) {
        let (runtime, server) = serve(&self.directory()).await;
        self.events = server.events();
        (self.runtime, self.server) = (Some(runtime), Some(server));
    }

    /// The server, as its operator has it.
    ///
    /// # Panics
    /// Where it is not being served.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("a server that runs")
    }

    /// Waits for an event of the server.
    ///
    /// # Panics
    /// Where it does not come.
    pub async fn event(&mut self, wanted: impl Fn(&ServerEvent) -> bool) -> ServerEvent {
        let waiting = async {
            loop {
                let event = self.events.recv().await.expect("a server that runs");
                if wanted(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the event comes in time")
    }

    /// Waits until round `round` published a model; names its survivors.
    ///
    /// # Panics
    /// Where it was abandoned or does not end.
    pub async fn closed(&mut self, round: u64) -> Vec<MerchantId> {
        let ended = self
            .event(|event| {
                matches!(event, ServerEvent::RoundClosed { round: r, .. } | ServerEvent::RoundAbandoned { round: r, .. } if *r == round)
            })
            .await;
        match ended {
            ServerEvent::RoundClosed { survivors, .. } => survivors,
            other => panic!("round {round} published no model: {other:?}"),
        }
    }

    /// Exports the log as the operator does, and lets the auditor judge it.
    ///
    /// # Panics
    /// Where it cannot be exported or judged.
    pub async fn audit(&self) -> (Vec<Entry>, Verdict) {
        let folder = self.folder.path().join("export");
        let _ = std::fs::remove_dir_all(&folder);
        let state = self.state().await;
        state.export_ledger(&folder).await.expect("an exported log");
        let verdict = verify(&folder, Some(state.server_key())).expect("a log that can be judged");
        (read_entries(&folder), verdict)
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test's runtime must not wait for another one.
            runtime.shutdown_background();
        }
    }
}

/// Serves `directory` on the address of its settings, in threads of its own.
async fn serve(directory: &Path) -> (Runtime, Server) {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (ready, served) = oneshot::channel();
    let directory = directory.to_owned();
    runtime.spawn(async move {
        let server = Server::open(&directory).await.expect("an opened server");
        let listener = server.bind().await.expect("the port is free");
        let _ = ready.send(server.clone());
        server.serve(listener, std::future::pending()).await.expect("a serving server");
    });
    let server = served.await.expect("the server starts");
    (runtime, server)
}
