//! Mutually authenticated TLS 1.3 to the federation's server, and errors in words a merchant can act on.
//!
//! The server's certificate must chain to the CA that came with the invitation; this merchant shows the
//! certificate it was given when joining. Nothing else is trusted: not the system's certificate store, and not
//! the server's word, which [`super::log_copy`] verifies.

use std::time::Duration;

use forecastle_proto::{
    enrolment::enrolment_client::EnrolmentClient,
    ledger::ledger_client::LedgerClient,
    limits::{CALL_TIMEOUT_MS, MESSAGE_BYTES_MAX, RETRY_AFTER, STREAM_TIMEOUT_MS},
    model_service::models_client::ModelsClient,
    round::rounds_client::RoundsClient,
};
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::home::{Home, HomeError, Membership};
use crate::durable;

/// Longest pause before a call is repeated. A server that asks for a longer one is answered later, by the caller's choice.
pub const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Why a call to the server failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The address in the state folder or invitation is not one.
    #[error("`{0}` is no server address; it should look like https://host:port")]
    Address(String),
    /// Nobody answers.
    #[error(
        "the server at {server} does not answer ({why}); check that it is running and reachable, then run the same command again"
    )]
    Unreachable {
        /// Which server.
        server: String,
        /// The lowest cause.
        why: String,
    },
    /// The certificates do not fit together.
    #[error("no trusted connection to {server}: {why}")]
    Trust {
        /// Which server.
        server: String,
        /// What does not fit and what to do.
        why: String,
    },
    /// The server answered with a refusal.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server was asked too often.
    #[error("{why}; the server asks to wait for {} s", .wait.as_secs_f64().ceil())]
    Busy {
        /// What was too much.
        why: String,
        /// How long to wait.
        wait: Duration,
    },
    /// The round or resource is gone.
    #[error("{0}")]
    Gone(String),
    /// The answer is not what the protocol allows.
    #[error("the server's answer is not valid ({0}); nothing was sent on")]
    Answer(String),
    /// Local state.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl CallError {
    /// True where the same call may succeed soon without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Busy { wait, .. } => *wait <= PAUSE_MAX,
            _ => false,
        }
    }

    /// How long the server asks to be left alone; nothing where it does not.
    pub fn wait(&self) -> Duration {
        match self {
            Self::Busy { wait, .. } => *wait,
            _ => Duration::ZERO,
        }
    }
}

/// A connection with its clients. Cheap to clone; connects when first used and again after a loss.
#[derive(Clone)]
pub struct Connection {
    server: String,
    channel: Channel,
}

impl Connection {
    /// Connects as an enrolled merchant.
    ///
    /// # Errors
    /// Where the address or a certificate on disk is unusable; the network is not touched yet.
    pub fn open(home: &Home, membership: &Membership) -> Result<Self, CallError> {
        let read = |name: &str| durable::read(&home.path().join(name)).map_err(HomeError::from);
        let key = zeroize::Zeroizing::new(read("tls.pem")?);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read("ca.pem")?))
            .domain_name(&membership.server_name)
            .identity(Identity::from_pem(read("client.pem")?, &*key));
        Self::with(&membership.server, tls)
    }

    /// Connects without a client certificate, to join.
    ///
    /// # Errors
    /// Where the address is unusable.
    pub fn to_join(server: &str, server_name: &str, ca_pem: &str) -> Result<Self, CallError> {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca_pem)).domain_name(server_name);
        Self::with(server, tls)
    }

    fn with(server: &str, tls: ClientTlsConfig) -> Result<Self, CallError> {
        if !server.starts_with("https://") {
            return Err(CallError::Address(server.to_owned()));
        }
        let endpoint = Endpoint::from_shared(server.to_owned())
            .map_err(|_| CallError::Address(server.to_owned()))?
            .tls_config(tls)
            .map_err(|e| CallError::Trust { server: server.to_owned(), why: deepest(&e) })?
            .connect_timeout(Duration::from_secs(10))
            .initial_stream_window_size(8 << 20)
            .initial_connection_window_size(16 << 20)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20));
        Ok(Self { server: server.to_owned(), channel: endpoint.connect_lazy() })
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Client of the round service.
    pub fn rounds(&self) -> RoundsClient<Channel> {
        RoundsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Client of the model service.
    pub fn models(&self) -> ModelsClient<Channel> {
        ModelsClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Client of the log service.
    pub fn ledger(&self) -> LedgerClient<Channel> {
        LedgerClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Client of the enrolment service.
    pub fn enrolment(&self) -> EnrolmentClient<Channel> {
        EnrolmentClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Turns a failed call into words.
    pub fn explain(&self, status: Status) -> CallError {
        let why = deepest(&status);
        let server = self.server.clone();
        let trust = |why: &str| CallError::Trust { server: server.clone(), why: why.to_owned() };
        if why.contains("UnknownIssuer") || why.contains("BadSignature") {
            return trust(
                "its certificate was not issued by the federation that invited this merchant; ask the operator for a new invitation, and do not go on if the answer surprises",
            );
        }
        if why.contains("NotValidForName") || why.contains("not valid for name") {
            return trust("its certificate is for another host name; check the server's address");
        }
        if why.contains("NotValidYet") || why.contains("Expired") || why.contains("CertExpired") {
            return trust(
                "a certificate is expired or not yet valid; check the clock of this machine, then ask the operator",
            );
        }
        if why.contains("CertificateRequired")
            || why.contains("BadCertificate")
            || why.contains("CertificateUnknown")
            || why.contains("UnknownCA")
            || why.contains("DecryptError")
        {
            return trust(
                "the server does not accept this merchant's certificate; it may be revoked or expired, ask the operator",
            );
        }
        // In TLS 1.3 a server refuses a client's certificate after the client's handshake is done; the alert that
        // says so often drowns in the end of the connection.
        let ends = ["connection closed", "broken pipe", "Broken pipe", "onnection reset", "unexpected eof"];
        let why = if ends.iter().any(|end| why.contains(end)) {
            format!(
                "{why}; if it is running, it may not accept this merchant's certificate, then the operator can help"
            )
        } else {
            why
        };
        match status.code() {
            Code::ResourceExhausted if let Some(wait) = retry_after(&status) => {
                CallError::Busy { why: status.message().to_owned(), wait }
            }
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Aborted => {
                CallError::Unreachable { server, why }
            }
            Code::NotFound | Code::FailedPrecondition => CallError::Gone(status.message().to_owned()),
            Code::OutOfRange | Code::DataLoss => CallError::Answer(status.message().to_owned()),
            _ => CallError::Refused(status.message().to_owned()),
        }
    }
}

/// How long a server that was asked too often wants to be left alone.
fn retry_after(status: &Status) -> Option<Duration> {
    let ms = status.metadata().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(ms))
}

/// A unary request with its deadline.
pub fn call<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_millis(CALL_TIMEOUT_MS));
    request
}

/// A streaming request with its deadline.
pub fn stream<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(Duration::from_millis(STREAM_TIMEOUT_MS));
    request
}

/// The lowest cause of an error: "transport error" helps nobody.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut lowest = error;
    while let Some(cause) = lowest.source() {
        lowest = cause;
    }
    lowest.to_string()
}
