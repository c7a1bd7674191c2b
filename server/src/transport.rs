//! TLS connections for gRPC: TLS 1.3 only, client certificates of the federation's authority optional at the
//! handshake and required by every service but enrolment.
//!
//! The invariant: a connection that is slow to shake hands, says nothing, or is one too many, costs others nothing:
//! handshakes run side by side, each with a deadline; a connection without a certificate has the time that joining takes;
//! and the number of connections is bounded, of everybody and altogether (see [`crate::connections`]).

use std::{io, pin::Pin, sync::Arc, task, time::Duration};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
    version::TLS13,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::{
    connections::{Connections, Place},
    peer::Peer,
};

/// How long connections may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Longest handshake.
    pub(crate) handshake: Duration,
    /// Longest life of a connection without a certificate: joining takes a moment.
    pub(crate) stranger: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { handshake: Duration::from_secs(10), stranger: Duration::from_secs(60) }
    }
}

/// Pause after the operating system refused a connection (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("TLS could not be set up: {0}")]
pub struct TlsError(String);

/// The acceptor for a server certificate under `authority`.
pub(crate) fn acceptor(
    authority: &CertificateDer<'static>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, TlsError> {
    fn own(error: impl std::fmt::Display) -> TlsError {
        TlsError(error.to_string())
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone()).map_err(own)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(own)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(own)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .map_err(own)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts connections, at most `most` at a time, until the receiver is dropped; `crowded` hears of everyone whose connection had to give way.
pub(crate) fn incoming(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    patience: Patience,
    most: usize,
    crowded: impl Fn(Peer) + Clone + Send + 'static,
) -> ReceiverStream<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        let connections = Arc::new(Connections::up_to(most));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("a connection could not be accepted: {error}");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (place, mut ended, gave_way) = connections.enter(Peer::new(&[], Some(address)));
            gave_way.into_iter().for_each(&crowded);
            let (acceptor, sender, crowded) = (acceptor.clone(), sender.clone(), crowded.clone());
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let accepted = tokio::select! {
                    accepted = timeout(patience.handshake, acceptor.accept(stream)) => accepted,
                    _ = &mut ended => return tracing::debug!("the TLS handshake with {address} gave way to others"),
                };
                match accepted {
                    Ok(Ok(stream)) => {
                        let (connection, gave_way) = Connection::new(stream, place, ended, patience);
                        gave_way.into_iter().for_each(crowded);
                        let _ = sender.send(Ok(connection)).await;
                    }
                    Ok(Err(error)) => tracing::debug!("the TLS handshake with {address} failed: {error}"),
                    Err(_) => tracing::debug!("the TLS handshake with {address} took too long"),
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

/// One connection, holding its place among those allowed.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    _place: Place,
    /// Resolves when it has to give way.
    ended: oneshot::Receiver<()>,
    /// When it ends in any case.
    until: Option<Pin<Box<Sleep>>>,
    is_over: bool,
}

impl Connection {
    /// The connection that a handshake led to, and who gives way to it.
    fn new(
        stream: TlsStream<TcpStream>,
        mut place: Place,
        ended: oneshot::Receiver<()>,
        patience: Patience,
    ) -> (Self, Option<Peer>) {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let (until, gave_way) = match Peer::new(certificates, None) {
            Peer::Stranger(_) => (Some(Box::pin(sleep(patience.stranger))), None),
            merchant @ Peer::Certified(_) => (None, place.belongs_to(merchant)),
        };
        (Self { stream, _place: place, ended, until, is_over: false }, gave_way)
    }

    /// Fails once the connection has to end. Its task is woken then.
    fn check(&mut self, context: &mut task::Context<'_>) -> io::Result<()> {
        self.is_over = self.is_over
            || Pin::new(&mut self.ended).poll(context).is_ready()
            || self.until.as_mut().is_some_and(|until| until.as_mut().poll(context).is_ready());
        if self.is_over { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl Connected for Connection {
    type ConnectInfo = <TlsStream<TcpStream> as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> task::Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        bytes: &[u8],
    ) -> task::Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> task::Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use rustls::{ClientConfig, pki_types::ServerName};
    use tokio::io::AsyncReadExt as _;
    use tokio_rustls::{TlsConnector, client};
    use tokio_stream::StreamExt as _;

    use super::*;
    use crate::identity::certificates::Authority;

    /// A server that reads and says nothing, and a connector that trusts it.
    async fn silent_server(patience: Patience) -> (std::net::SocketAddr, TlsConnector) {
        let made = Authority::create("test").unwrap();
        let authority = Authority::read(made.certificate, &made.key).unwrap();
        let (certificate, key) = authority.issue_server(&["127.0.0.1".into()]).unwrap();
        let acceptor = acceptor(authority.certificate(), certificate, key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = incoming(listener, acceptor, patience, 64, |_| {});
        tokio::spawn(async move {
            while let Some(Ok(mut connection)) = connections.next().await {
                tokio::spawn(async move { while !matches!(connection.read(&mut [0; 64]).await, Ok(0) | Err(_)) {} });
            }
        });
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (address, TlsConnector::from(Arc::new(config)))
    }

    async fn ends_within(limit: Duration, mut connection: impl AsyncRead + Unpin) -> bool {
        matches!(timeout(limit, connection.read(&mut [0; 64])).await, Ok(Ok(0) | Err(_)))
    }

    async fn shake_hands(address: std::net::SocketAddr, connector: &TlsConnector) -> client::TlsStream<TcpStream> {
        let stream = TcpStream::connect(address).await.unwrap();
        connector.connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await.unwrap()
    }

    #[tokio::test]
    async fn a_handshake_that_is_never_finished_is_given_up() {
        let short = Patience { handshake: Duration::from_millis(200), ..Patience::default() };
        let (address, connector) = silent_server(short).await;
        let silent = TcpStream::connect(address).await.unwrap();
        assert!(ends_within(Duration::from_secs(5), silent).await);
        // One that was finished stays.
        let done = shake_hands(address, &connector).await;
        assert!(!ends_within(Duration::from_millis(600), done).await);
    }

    #[tokio::test]
    async fn a_connection_without_a_certificate_has_the_time_that_joining_takes() {
        let short = Patience { stranger: Duration::from_millis(400), ..Patience::default() };
        let (address, connector) = silent_server(short).await;
        let stranger = shake_hands(address, &connector).await;
        assert!(ends_within(Duration::from_secs(5), stranger).await);
    }
}
