//! The serving process: holds the lock on the state directory, answers merchants, conducts rounds.
//!
//! The invariant: whoever opens a [`Server`] is the only one that appends to the log, and finds every round of an
//! earlier process ended: a round that was open when it died is recorded as abandoned before anything else.

use std::{fs::File, future::Future, io, path::Path, path::PathBuf, sync::Arc, time::Duration};

use forecastle_crypto::{
    identity::{MerchantId, SigningKey},
    ledger::entry::{Entry, Revoked},
    secagg::Spools,
};
use forecastle_proto::{
    enrolment::enrolment_server::EnrolmentServer,
    ledger::ledger_server::LedgerServer,
    limits::{CERTIFICATE_REQUEST_BYTES_MAX, LOG_QUESTION_BYTES_MAX, MESSAGE_BYTES_MAX, STREAM_TIMEOUT_MS},
    model_service::models_server::ModelsServer,
    round::rounds_server::RoundsServer,
};
use tokio::{
    net::TcpListener,
    sync::{broadcast, oneshot},
    task::JoinSet,
};
use tonic::service::interceptor::InterceptedService;

use crate::{
    admission::Admission,
    connections::CONNECTIONS_PER_MERCHANT_MAX,
    event::{Events, ServerEvent},
    identity::{
        certificates::{Authority, CertificateError},
        enrolment::{self, EnrolmentService},
        merchants,
    },
    ledger::{
        service::LedgerService,
        store::{CHECKPOINT_FILE, LedgerError, LedgerStore},
    },
    model::{registry::Registry, service::ModelService},
    now_ms,
    round::{driver::abandon_on_disk, misconduct::Told, phase::Hall, service::RoundService, spool::FileSpools},
    state::{FederationState, LOCK_FILE, StateError},
    store::{StoreError, count_column},
    transport::{self, Patience, TlsError},
};

/// Calls at one time on one connection.
const STREAMS_MAX: u32 = 32;
/// HTTP/2 window of one stream, in bytes: a masked update flows without waiting for acknowledgements.
const STREAM_WINDOW: u32 = 8 << 20;
/// HTTP/2 window of one connection, in bytes.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Quiet time after which a peer is asked whether it lives, and the time it has to answer.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// Time that open calls have to end when the server stops.
const STOPPING_MAX: Duration = Duration::from_secs(5);

/// A federation's server. Clones share it.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
    _lock: Arc<File>,
}

/// What calls and driver share.
pub(crate) struct Shared {
    pub(crate) state: FederationState,
    pub(crate) ledger: LedgerStore,
    pub(crate) registry: Registry,
    pub(crate) authority: Authority,
    pub(crate) key: Arc<SigningKey>,
    pub(crate) hall: Arc<Hall>,
    pub(crate) events: Events,
    pub(crate) admission: Arc<Admission>,
    pub(crate) told: Told,
    pub(crate) spools: Arc<dyn Spools>,
}

/// Why a server could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another process serves from it.
    #[error("another forecastle-server is serving from {0}: stop it first")]
    Locked(PathBuf),
}

/// Why serving ended or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address.
    #[error("cannot listen on {address}: {source}; choose another address with `listen` in server.toml")]
    Listen {
        /// Address and port.
        address: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The server's certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The transport.
    #[error("serving failed: {0}")]
    Transport(String),
    /// The driver panicked.
    #[error("the server failed: {0}; restart it, the open round is then abandoned")]
    Bug(String),
}

/// Why a merchant was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The log.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No such merchant.
    #[error("`{0}` is not enrolled, or was revoked before")]
    Unknown(MerchantId),
}

macro_rules! state_errors {
    ($($error:ty),*) => {$(
        impl From<$error> for OpenError {
            fn from(error: $error) -> Self {
                Self::State(error.into())
            }
        }
    )*};
}
state_errors!(StoreError, LedgerError, crate::model::registry::RegistryError);

impl Server {
    /// Opens a state directory for serving: takes its lock, checks the log, abandons what was left open.
    ///
    /// # Errors
    /// [`OpenError`] when it is no state directory, is in use, or its log is not the one that was signed.
    pub async fn open(directory: &Path) -> Result<Self, OpenError> {
        let state = FederationState::open(directory).await?;
        let lock = lock(directory)?;
        let key = Arc::new(state.federation_key()?);
        let ledger = LedgerStore::open(
            state.pool().clone(),
            state.directory().join(CHECKPOINT_FILE),
            Arc::clone(&key),
            state.federation().to_owned(),
        )
        .await?;
        let registry = Registry::open(state.pool(), &state.models_folder(), state.plan()).await?;
        let authority = state.authority()?;
        let hall = Arc::new(Hall::new());
        let spools = Arc::new(FileSpools(state.directory().to_owned()));
        let (events, admission, told) = (Events::new(), Arc::default(), Told::default());
        let shared = Shared { state, ledger, registry, authority, key, hall, events, admission, told, spools };
        let server = Self { shared: Arc::new(shared), _lock: Arc::new(lock) };
        server.abandon_leftovers().await?;
        Ok(server)
    }

    /// The state directory.
    pub fn state(&self) -> &FederationState {
        &self.shared.state
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<ServerEvent> {
        self.shared.events.subscribe()
    }

    /// Listens on the address of the settings.
    ///
    /// # Errors
    /// [`ServeError::Listen`] when the address is in use or not this machine's.
    pub async fn bind(&self) -> Result<TcpListener, ServeError> {
        let address = self.state().settings().listen.clone();
        TcpListener::bind(&address).await.map_err(|source| ServeError::Listen { address, source })
    }

    /// Serves until `shutdown` resolves. An open round is then recorded as abandoned.
    ///
    /// # Errors
    /// [`ServeError`] when serving could not begin or broke off.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let shared = &self.shared;
        let mut names =
            vec![shared.state.settings().advertised_host().map_err(|e| ServeError::Transport(e.to_string()))?];
        names.extend(shared.state.settings().names.iter().cloned());
        let (certificate, key) = shared.authority.issue_server(&names)?;
        let acceptor = transport::acceptor(shared.authority.certificate(), certificate, key)?;

        let guarded = {
            let shared = Arc::clone(shared);
            move |request| merchants::admit(&shared, request)
        };
        let joining = {
            let shared = Arc::clone(shared);
            move |request| enrolment::admit(&shared, request)
        };
        let router = tonic::transport::Server::builder()
            .timeout(Duration::from_millis(STREAM_TIMEOUT_MS))
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE))
            .add_service(InterceptedService::new(
                EnrolmentServer::new(EnrolmentService(Arc::clone(shared)))
                    .max_decoding_message_size(2 * CERTIFICATE_REQUEST_BYTES_MAX),
                joining,
            ))
            .add_service(InterceptedService::new(
                RoundsServer::new(RoundService(Arc::clone(shared))).max_decoding_message_size(MESSAGE_BYTES_MAX),
                guarded.clone(),
            ))
            .add_service(InterceptedService::new(
                ModelsServer::new(ModelService(Arc::clone(shared))).max_decoding_message_size(1 << 10),
                guarded.clone(),
            ))
            .add_service(InterceptedService::new(
                LedgerServer::new(LedgerService(Arc::clone(shared))).max_decoding_message_size(LOG_QUESTION_BYTES_MAX),
                guarded,
            ));

        shared.hall.with(|desk| desk.stopping = false);
        // Dropped with this future, a set ends its tasks: nobody conducts rounds without serving them.
        let mut driver = JoinSet::new();
        driver.spawn(Arc::clone(shared).conduct());
        let (stop, stopped) = oneshot::channel::<()>();
        let (late, too_late) = oneshot::channel::<()>();
        let mut watcher = JoinSet::new();
        watcher.spawn({
            let shared = Arc::clone(shared);
            async move {
                shutdown.await;
                // Waiting calls answer now, the driver abandons its round.
                shared.hall.with(|desk| desk.stopping = true);
                shared.hall.notify();
                let _ = stop.send(());
                tokio::time::sleep(STOPPING_MAX).await;
                let _ = late.send(());
            }
        });
        let crowded = {
            let shared = Arc::clone(shared);
            move |peer| {
                let why = format!(
                    "more than {CONNECTIONS_PER_MERCHANT_MAX} connections of one merchant, or too many altogether: the oldest was ended"
                );
                shared.peer_turned_away(peer, &why);
            }
        };
        let most = usize::try_from(self.shared.state.settings().connections_max).unwrap_or(usize::MAX);
        let incoming = transport::incoming(listener, acceptor, Patience::default(), most, crowded);
        let serving = router.serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        });
        let served = tokio::select! {
            served = serving => served.map_err(|e| ServeError::Transport(e.to_string())),
            // Connections that are kept open without a call do not keep the server.
            _ = too_late => Ok(()),
        };
        watcher.abort_all();
        shared.hall.with(|desk| desk.stopping = true);
        shared.hall.notify();
        while let Some(ended) = driver.join_next().await {
            ended.map_err(|e| ServeError::Bug(e.to_string()))?;
        }
        served
    }

    /// Takes a merchant's enrolment back; its next call is refused.
    ///
    /// # Errors
    /// [`RevokeError`] when it is not enrolled, or the log cannot be written.
    pub async fn revoke_merchant(&self, merchant: &MerchantId) -> Result<(), RevokeError> {
        let now = now_ms();
        let mut batch = self.shared.ledger.begin().await?;
        if !merchants::revoke(batch.connection(), merchant, now).await.map_err(LedgerError::from)? {
            return Err(RevokeError::Unknown(merchant.clone()));
        }
        batch.push(&Entry::Revoked(Revoked { merchant: merchant.clone(), at_ms: now })).await?;
        batch.commit().await?;
        self.shared.hall.notify();
        Ok(())
    }

    /// Ends rounds that an earlier process left open.
    async fn abandon_leftovers(&self) -> Result<(), OpenError> {
        let open: Vec<(i64,)> = sqlx::query_as("SELECT round FROM rounds WHERE state = 'open' ORDER BY round")
            .fetch_all(self.state().pool())
            .await
            .map_err(StoreError::from)?;
        for (round,) in open {
            let round = count_column(round, "rounds.round")?;
            abandon_on_disk(&self.shared, round, "the server was restarted in the middle of the round").await?;
            tracing::warn!("round {round} was open when the server ended; it is abandoned");
        }
        Ok(())
    }
}

/// Holds the state directory for this process; the operating system lets go when the process ends.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK_FILE);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| StoreError::file("opening the lock", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked(directory.to_owned())),
        Err(std::fs::TryLockError::Error(e)) => Err(StoreError::file("locking the state directory", e).into()),
    }
}
