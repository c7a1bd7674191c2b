//! A server on loopback and merchants that join it with one-time invitations.

use std::{path::Path, time::Duration};

use forecastle_client::{
    data::{
        ingest::ImportReport,
        store::{DataStore, ImportOptions},
    },
    federation::{home::Home, join::join},
    round::driver::now_ms,
};
use forecastle_crypto::dp::{filter::MerchantPolicy, plan::PrivacyPlan};
use forecastle_proto::model::ModelSnapshot;
use forecastle_server::{
    init::{InitOptions, init},
    server::Server,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use super::{AnyError, merchants::Cast};

/// The server while it runs.
pub struct RunningServer {
    /// The server.
    pub server: Server,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), AnyError>>,
}

impl RunningServer {
    /// Founds a federation in `directory` and serves it on a free loopback port.
    ///
    /// # Errors
    /// Where plan and model do not fit, or disk or network refuse.
    pub async fn found(
        directory: &Path,
        plan: &PrivacyPlan,
        model: &ModelSnapshot,
        merchants: usize,
    ) -> Result<Self, AnyError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut options = InitOptions::new(plan.to_toml().into_bytes(), model.to_bytes());
        options.federation = "marketplace".into();
        options.listen = address.to_string();
        options.advertise = format!("https://{address}");
        options.gather = Duration::from_secs(20);
        options.expected_merchants = u16::try_from(merchants)?;
        init(directory, &options).await?;
        let server = Server::open(directory).await?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = server.clone();
        let task = tokio::spawn(async move {
            serving
                .serve(listener, async {
                    let _ = stopped.await;
                })
                .await
                .map_err(Into::into)
        });
        Ok(Self { server, stop, task })
    }

    /// Stops serving and waits until it has.
    ///
    /// # Errors
    /// What serving ended with.
    pub async fn stop(self) -> Result<(), AnyError> {
        let _ = self.stop.send(());
        self.task.await?
    }
}

/// What one merchant's import reported, file by file.
pub struct Imported {
    /// The merchant.
    pub merchant: String,
    /// The reports.
    pub reports: Vec<ImportReport>,
}

/// Joins every merchant with an invitation of its own and imports its files. Returns the opened state folders.
///
/// # Errors
/// Where a merchant cannot join or import.
pub async fn join_all(
    server: &Server,
    cast: &Cast,
    folder: &Path,
    policy: &MerchantPolicy,
) -> Result<(Vec<Home>, Vec<Imported>), AnyError> {
    let (mut homes, mut imported) = (Vec::new(), Vec::new());
    for candidate in &cast.candidates {
        let invitation = server.state().invite(Duration::from_secs(3600)).await?.to_string();
        let home = Home::open(&folder.join(&candidate.name))?;
        join(&home, &invitation, candidate.name.parse()?, policy, now_ms()).await?;
        home.set_series_choice(cast.choice)?;
        let mut store = DataStore::open(&home.data())?;
        let mut reports = Vec::new();
        for file in &candidate.files {
            reports.push(store.import_file(file, &ImportOptions::default())?);
        }
        imported.push(Imported { merchant: candidate.name.clone(), reports });
        homes.push(home);
    }
    Ok((homes, imported))
}
