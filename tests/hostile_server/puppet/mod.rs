//! A server that cheats one merchant: it stands between the merchant and the federation's real server.
//!
//! It has what a hostile operator has: the authority that issues the server's certificate, the key that signs offers and
//! checkpoints, and everything that passes. Where a test sets no hook ([`script`]) it passes every message on, in both
//! directions, so that an attack is the one line that differs from an honest server; what the merchant sent is kept
//! ([`Sent`]), so that a test can say what did *not* leave.
//!
//! Upstream it speaks as the merchant, with the merchant's own certificate. That is the test's convenience: an operator
//! needs no certificate to reach its own server.
//!
//! * [`script`]: the places at which it lies.
//! * [`rounds`], [`files`]: the services that a merchant calls.
//! * [`silence`]: answers that begin and never end.

mod files;
mod rounds;
pub mod script;
mod silence;

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use forecastle_crypto::{
    identity::{Signature, SigningKey},
    ledger::entry::SignedCharge,
    secagg::{ConsistencySignature, MaskedUpdateHeader, PrekeyBundle, offer::OFFER_CONTEXT},
};
use forecastle_proto::{
    enrolment::{enrolment_client::EnrolmentClient, enrolment_server::EnrolmentServer},
    invitation::Invitation,
    ledger::{ledger_client::LedgerClient, ledger_server::LedgerServer},
    limits::MESSAGE_BYTES_MAX,
    model_service::{models_client::ModelsClient, models_server::ModelsServer},
    round::{SignedOffer, rounds_client::RoundsClient, rounds_server::RoundsServer},
};
use forecastle_server::identity::certificates::Authority;
use forecastle_tests::{PATIENCE, merchant::Merchant, server::Federation};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};

use self::{script::Script, silence::Silencing};

/// Something that the merchant sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Sent {
    /// Pre-keys, or the wish to discard the old ones.
    Prekeys {
        /// As uploaded.
        bundles: Vec<PrekeyBundle>,
        /// Whether those before are to be forgotten.
        replace: bool,
    },
    /// It is there for a round later than this.
    Present(u64),
    /// M1.
    Shares(Vec<u8>),
    /// M2, once for each attempt: header, charge, and the parts of the bytes with their offsets.
    Update {
        /// As announced.
        header: Vec<u8>,
        /// JSON of a signed charge.
        charge: Vec<u8>,
        /// What followed.
        parts: Vec<(u64, Vec<u8>)>,
    },
    /// M3.
    Confirmation(Vec<u8>),
    /// M4.
    Answer(Vec<u8>),
}

/// A hostile server in front of one merchant.
pub struct Puppet {
    address: SocketAddr,
    backstage: Arc<Backstage>,
    /// Ends with the puppet.
    _serving: JoinSet<()>,
}

/// What its services share.
pub struct Backstage {
    merchant: PathBuf,
    server: SocketAddr,
    authority_pem: String,
    key: SigningKey,
    script: Mutex<Script>,
    sent: Mutex<Vec<Sent>>,
    /// Session ids as the merchant was told, and what the server calls the same round.
    sids: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    /// The last offer of the real server.
    offer: Mutex<Option<SignedOffer>>,
    /// Connections upstream, before and after the merchant has its certificate.
    upstream: Mutex<HashMap<bool, Channel>>,
}

/// With which certificate it serves.
pub enum Face {
    /// One that the federation's authority issued to the server.
    Server,
    /// Any other: certificate and key, PEM.
    Other(String, String),
}

impl Puppet {
    /// Stands between `merchant` and `federation`.
    ///
    /// # Panics
    /// Where it cannot be served.
    pub async fn before(merchant: &Merchant, federation: &Federation) -> Self {
        Self::with_face(merchant, federation, Face::Server).await
    }

    /// As [`Self::before`], with a certificate of the test's choice.
    ///
    /// # Panics
    /// Where it cannot be served.
    pub async fn with_face(merchant: &Merchant, federation: &Federation, face: Face) -> Self {
        let keys = federation.directory().join("keys");
        let read = |name: &str| std::fs::read(keys.join(name)).expect("a key of the federation");
        let authority = Authority::read(read("authority.der"), &read("authority.key")).expect("its authority");
        let (certificate, key) = match face {
            Face::Other(certificate, key) => (certificate, key),
            Face::Server => {
                let (certificate, key) = authority.issue_server(&["127.0.0.1".into()]).expect("a certificate");
                (pem("CERTIFICATE", &certificate), pem("PRIVATE KEY", key.secret_der()))
            }
        };
        let backstage = Arc::new(Backstage {
            merchant: merchant.folder.clone(),
            server: federation.address(),
            authority_pem: pem("CERTIFICATE", authority.certificate()),
            key: SigningKey::from_pkcs8(&read("federation.key")).expect("the federation's key"),
            script: Mutex::default(),
            sent: Mutex::default(),
            sids: Mutex::default(),
            offer: Mutex::default(),
            upstream: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        let router = Server::builder()
            .tls_config(tls)
            .expect("a usable certificate")
            .add_service(Silencing::of(EnrolmentServer::from_arc(Arc::clone(&backstage)), &backstage))
            .add_service(Silencing::of(
                RoundsServer::from_arc(Arc::clone(&backstage)).max_decoding_message_size(MESSAGE_BYTES_MAX),
                &backstage,
            ))
            .add_service(Silencing::of(ModelsServer::from_arc(Arc::clone(&backstage)), &backstage))
            .add_service(Silencing::of(LedgerServer::from_arc(Arc::clone(&backstage)), &backstage));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            router.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("a serving puppet");
        });
        Self { address, backstage, _serving: serving }
    }

    /// An invitation that leads here instead.
    pub fn diverted(&self, invitation: Invitation) -> Invitation {
        Invitation { server: format!("https://{}", self.address), ..invitation }
    }

    /// Changes the script, also in the middle of a round.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.backstage.script());
    }

    /// What the services share: for a script that needs what another puppet saw.
    pub fn backstage(&self) -> Arc<Backstage> {
        Arc::clone(&self.backstage)
    }

    /// Everything that the merchant sent so far, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.backstage.sent()
    }

    /// Whether its masked update left.
    pub fn saw_update(&self) -> bool {
        self.sent().iter().any(|sent| matches!(sent, Sent::Update { .. }))
    }

    /// Whether it sent a share of anything to unmask with.
    pub fn saw_answer(&self) -> bool {
        self.sent().iter().any(|sent| matches!(sent, Sent::Answer(_)))
    }

    /// Whether it stated who survived.
    pub fn saw_confirmation(&self) -> bool {
        self.backstage.confirmation().is_some()
    }

    /// Waits until what the merchant sent satisfies `enough`.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn until(&self, enough: impl Fn(&[Sent]) -> bool) {
        let waiting = async {
            while !enough(&self.sent()) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the merchant sends what is waited for");
    }
}

impl Backstage {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("no script panics")
    }

    fn note(&self, sent: Sent) {
        self.sent.lock().expect("nobody panics while holding it").push(sent);
    }

    /// Everything that the merchant sent so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.sent.lock().expect("nobody panics while holding it").clone()
    }

    /// The merchant's statement on who survived, where it made one.
    pub fn confirmation(&self) -> Option<ConsistencySignature> {
        self.sent().iter().rev().find_map(|sent| match sent {
            Sent::Confirmation(bytes) => ConsistencySignature::decode(bytes).ok(),
            _ => None,
        })
    }

    /// An offer of the server's, whatever it says.
    pub fn signed_offer(&self, bytes: Vec<u8>) -> SignedOffer {
        let signature = self.key.sign(OFFER_CONTEXT, &bytes).as_bytes().to_vec();
        SignedOffer { offer: bytes, signature }
    }

    /// Every pre-key that the merchant uploaded.
    pub fn prekeys(&self) -> Vec<PrekeyBundle> {
        let bundles = |sent: Sent| match sent {
            Sent::Prekeys { bundles, .. } => bundles,
            _ => Vec::new(),
        };
        self.sent().into_iter().flat_map(bundles).collect()
    }

    /// The charge that came with the merchant's last update.
    pub fn charge(&self) -> Option<SignedCharge> {
        self.sent().iter().rev().find_map(|sent| match sent {
            Sent::Update { charge, .. } => serde_json::from_slice(charge).ok(),
            _ => None,
        })
    }

    /// What the merchant signed about whom its last update is masked against.
    pub fn sharers_signature(&self) -> Option<Signature> {
        self.sent().iter().rev().find_map(|sent| match sent {
            Sent::Update { header, .. } => {
                MaskedUpdateHeader::decode(header).ok().map(|header| header.sharers_signature)
            }
            _ => None,
        })
    }

    /// What the real server calls the round that the merchant knows as `shown`.
    fn true_sid(&self, shown: &[u8]) -> Vec<u8> {
        let known = self.sids.lock().expect("nobody panics while holding it").get(shown).cloned();
        known.unwrap_or_else(|| shown.to_vec())
    }

    /// A connection to the real server, with the merchant's certificate once it has one.
    fn upstream(&self) -> Channel {
        let read = |name: &str| std::fs::read(self.merchant.join(name));
        let joined = self.merchant.join("federation.toml").exists();
        let mut channels = self.upstream.lock().expect("nobody panics while holding it");
        let connect = || {
            let mut tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(&self.authority_pem))
                .domain_name("127.0.0.1");
            if joined {
                let own = (read("client.pem").expect("its certificate"), read("tls.pem").expect("its key"));
                tls = tls.identity(Identity::from_pem(own.0, own.1));
            }
            let endpoint = Endpoint::from_shared(format!("https://{}", self.server)).expect("an address");
            endpoint.tls_config(tls).expect("usable certificates").connect_lazy()
        };
        channels.entry(joined).or_insert_with(connect).clone()
    }

    fn rounds(&self) -> RoundsClient<Channel> {
        RoundsClient::new(self.upstream()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn models(&self) -> ModelsClient<Channel> {
        ModelsClient::new(self.upstream()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn ledger(&self) -> LedgerClient<Channel> {
        LedgerClient::new(self.upstream()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn enrolment(&self) -> EnrolmentClient<Channel> {
        EnrolmentClient::new(self.upstream())
    }
}

/// RFC 7468 text form of DER bytes.
pub fn pem(label: &str, der: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
