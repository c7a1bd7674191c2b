//! Mutually authenticated TLS 1.3 to the federation's server, and errors in words a merchant can act on.
//!
//! The server's certificate must chain to the CA that came with the invitation; this merchant shows the
//! certificate it was given when joining. Nothing else is trusted: not the system's certificate store, and not
//! the server's word, which [`super::log_copy`] verifies.
//!
//! Nor is the server trusted to come to an end. A deadline in a request is the server's to keep, and the transport's own
//! ends with the answer's first byte; [`whole`] and [`Parts`] hold it to its last one. What the server
//! says in words is cut short and shown as plain text ([`plain`]).

use std::time::{Duration, Instant};

use forecastle_proto::{
    enrolment::enrolment_client::EnrolmentClient,
    ledger::ledger_client::LedgerClient,
    limits::{CALL_TIMEOUT_MS, MESSAGE_BYTES_MAX, RETRY_AFTER, SILENCE_MS_MAX, STREAM_TIMEOUT_MS, WORDS_MAX},
    model_service::models_client::ModelsClient,
    round::rounds_client::RoundsClient,
};
use tonic::{
    Code, Request, Status, Streaming,
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
        let why = plain(&deepest(&status));
        let server = self.server.clone();
        let trust = |why: &str| CallError::Trust { server: server.clone(), why: why.to_owned() };
        if why.contains("UnknownIssuer") || why.contains("BadSignature") {
            return trust(
                "its certificate was not issued by the federation that invited this merchant; ask the operator for a new invitation, and do not go on if the answer surprises",
            );
        }
        if why.contains("extended key usage") || why.contains("InvalidPurpose") {
            return trust(
                "its certificate is not one of a server: somebody else answers in its place; tell the operator, and do not go on",
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
                CallError::Busy { why: plain(status.message()), wait }
            }
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Aborted => {
                CallError::Unreachable { server, why }
            }
            Code::NotFound | Code::FailedPrecondition => CallError::Gone(plain(status.message())),
            Code::OutOfRange | Code::DataLoss => CallError::Answer(plain(status.message())),
            _ => CallError::Refused(plain(status.message())),
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

/// Waits for the whole answer to a call that is not held open on purpose.
///
/// # Errors
/// The call's own status, or [`Code::DeadlineExceeded`] where the answer has no end within [`SILENCE_MS_MAX`].
pub async fn prompt<T>(answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    whole(Duration::from_millis(SILENCE_MS_MAX), answer).await
}

/// Waits for the whole answer to a call, its last byte included.
///
/// # Errors
/// The call's own status, or [`Code::DeadlineExceeded`] where the answer has no end within `limit`.
pub async fn whole<T>(limit: Duration, answer: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let late = || Status::deadline_exceeded(format!("no whole answer within {limit:?}"));
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(late()))
}

/// The parts of a long answer, as they come.
pub struct Parts<T> {
    stream: Streaming<T>,
    until: Instant,
}

impl<T> Parts<T> {
    /// The parts that follow from now on.
    pub fn of(stream: Streaming<T>) -> Self {
        Self { stream, until: Instant::now() + Duration::from_millis(STREAM_TIMEOUT_MS) }
    }

    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// The stream's own status, or [`Code::DeadlineExceeded`] where it falls silent or trickles on for longer than
    /// [`STREAM_TIMEOUT_MS`] altogether.
    pub async fn next(&mut self) -> Result<Option<T>, Status> {
        if Instant::now() > self.until {
            return Err(Status::deadline_exceeded("the answer takes longer than any answer may"));
        }
        prompt(self.stream.message()).await
    }
}

/// Words of the server as they may be shown to a person: one line of at most [`WORDS_MAX`] characters, without any that
/// steer a terminal or turn the direction of writing.
pub fn plain(words: &str) -> String {
    let steers = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown: String = words.chars().take(WORDS_MAX + 1).map(|c| if steers(c) { ' ' } else { c }).collect();
    if let Some((end, _)) = shown.char_indices().nth(WORDS_MAX) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

/// The lowest cause of an error: "transport error" helps nobody.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut lowest = error;
    while let Some(cause) = lowest.source() {
        lowest = cause;
    }
    lowest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_server_are_one_short_line_of_plain_text() {
        assert_eq!(plain("the round was abandoned (too few): ε = 1"), "the round was abandoned (too few): ε = 1");
        assert_eq!(plain("a\u{1b}[2J\r\nb\u{9b}c\u{202e}d"), "a [2J  b c d");
        let long = plain(&"ä".repeat(5_000));
        assert_eq!(long.chars().count(), WORDS_MAX + 1);
        assert!(long.ends_with("ä…"));
        assert_eq!(plain(&"b".repeat(WORDS_MAX)), "b".repeat(WORDS_MAX));
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_given_up() {
        let never = whole(Duration::from_millis(3), std::future::pending::<Result<(), Status>>()).await.unwrap_err();
        assert_eq!((never.code(), never.message()), (Code::DeadlineExceeded, "no whole answer within 3ms"));
        let refused = prompt(async { Err::<(), _>(Status::not_found("gone")) }).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound);
    }
}
