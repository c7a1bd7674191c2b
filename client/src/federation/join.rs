//! From a one-time invitation to a membership.
//!
//! The plan is shown and held against the merchant's policy first: a merchant that refuses it has used nothing up and
//! is expected nowhere. The keys are written before the invitation is used, and the invitation may be used again by the same keys:
//! an answer lost on the way is simply asked for again. `federation.toml` is written last.

use forecastle_crypto::{
    dp::{
        filter::{Budget, MerchantPolicy, Refusal, Reservation},
        plan::{PlanError, PrivacyPlan},
    },
    identity::{MerchantId, SigningKey, VerifyingKey, sha256},
};
use forecastle_proto::{
    enrolment::{JoinRequest, PreviewRequest},
    invitation::{Invitation, InvitationError},
    limits::{CLOCK_SKEW_MS_MAX, FEDERATION_NAME_MAX},
};

use super::{
    budget::{BudgetError, BudgetFolder},
    connection::{CallError, Connection, call, plain, prompt},
    home::{Home, HomeError, Membership},
};
use crate::{
    durable::{self, Access, DiskError},
    fault,
};

/// Domain of the signature in a join request.
const JOIN_CONTEXT: &str = "forecastle join v1";

/// Why joining failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The text is no invitation.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// The invitation's time is over.
    #[error(
        "the invitation has expired; ask the operator for a new one (if it is recent, check the clock of this machine)"
    )]
    Expired,
    /// The clocks differ too much for deadlines to make sense.
    #[error(
        "the clock of this machine is {seconds} s {direction} the server's; set it (for instance by NTP) and run the same command again"
    )]
    Clock {
        /// By how much.
        seconds: u64,
        /// `behind` or `ahead of`.
        direction: &'static str,
    },
    /// The plan is below the merchant's floor, or its schedule does not fit into what is left of the budget.
    #[error(transparent)]
    Policy(#[from] Refusal),
    /// The plan itself is not valid.
    #[error("the federation's plan is not valid: {0}")]
    Plan(#[from] PlanError),
    /// A certificate could not be made or read.
    #[error("certificate: {0}")]
    Certificate(String),
    /// The server.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The state folder.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl From<DiskError> for JoinError {
    fn from(error: DiskError) -> Self {
        Self::Home(error.into())
    }
}

impl From<BudgetError> for JoinError {
    fn from(error: BudgetError) -> Self {
        match error {
            BudgetError::Home(error) => Self::Home(error),
            BudgetError::Refused(refusal) => Self::Policy(refusal),
        }
    }
}

/// What an invitation leads to. Nothing is agreed yet.
#[derive(Clone, Debug)]
pub struct Preview {
    /// Name of the federation.
    pub federation: String,
    /// The key that signs its offers and its log.
    pub server_key: VerifyingKey,
    /// Its privacy plan.
    pub plan: PrivacyPlan,
    /// The plan's file, byte by byte.
    pub plan_bytes: Vec<u8>,
}

/// The run that a federation begins with.
const FIRST_RUN: u64 = 1;

impl Preview {
    /// What accepting the plan reserves. The model is not known yet: rounding is paid for when training begins.
    ///
    /// # Errors
    /// [`Refusal`] where the plan's numbers make no event.
    pub fn reservation(&self, merchant: &MerchantId, now_ms: u64) -> Result<Reservation, Refusal> {
        let digest = PrivacyPlan::digest_of(&self.plan_bytes);
        let federation = (self.federation.as_str(), self.server_key);
        Reservation::of(&self.plan, digest, FIRST_RUN, federation, merchant, None, now_ms)
    }
}

/// Asks the server what an invitation leads to. `now_ms` is the Unix time in milliseconds.
///
/// # Errors
/// [`JoinError`] for an invitation that cannot be used, a server that does not answer, and clocks too far apart.
pub async fn preview(invitation: &str, now_ms: u64) -> Result<Preview, JoinError> {
    look(&opened(invitation, now_ms)?, now_ms).await.map(|(preview, _)| preview)
}

fn opened(invitation: &str, now_ms: u64) -> Result<Invitation, JoinError> {
    let invitation: Invitation = invitation.parse()?;
    if now_ms > invitation.expires_ms {
        return Err(JoinError::Expired);
    }
    Ok(invitation)
}

async fn look(invitation: &Invitation, now_ms: u64) -> Result<(Preview, Connection), JoinError> {
    let ca_pem = pem("CERTIFICATE", &invitation.ca_der()?);
    let connection = Connection::to_join(&invitation.server, &invitation.server_name, &ca_pem)?;
    let token = invitation.token_bytes()?.to_vec();
    let asked = prompt(connection.enrolment().preview(call(PreviewRequest { token }))).await;
    let answer = asked.map_err(|s| connection.explain(s))?.into_inner();
    let skew = now_ms.abs_diff(answer.server_time_ms);
    if skew > CLOCK_SKEW_MS_MAX {
        let direction = if now_ms < answer.server_time_ms { "behind" } else { "ahead of" };
        return Err(JoinError::Clock { seconds: skew / 1000, direction });
    }
    if !is_name(&answer.federation) {
        let shown = plain(&answer.federation);
        return Err(CallError::Answer(format!("`{shown}` is no name of a federation")).into());
    }
    let plan = PrivacyPlan::parse(&answer.plan)?;
    let server_key = server_key(answer.server_key)?;
    Ok((Preview { federation: answer.federation, server_key, plan, plan_bytes: answer.plan }, connection))
}

/// Whether a federation may be called so. The name is shown to people and signed in checkpoints.
fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
    (1..=FEDERATION_NAME_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

fn server_key(bytes: Vec<u8>) -> Result<VerifyingKey, CallError> {
    let key: [u8; 32] =
        bytes.try_into().map_err(|_| CallError::Answer("the server's key is not 32 bytes long".into()))?;
    Ok(VerifyingKey::from_bytes(key))
}

/// Joins a federation and fills the state folder. `now_ms` is the Unix time in milliseconds.
///
/// # Errors
/// [`JoinError`]; run again with the same folder, it goes on where it stopped.
pub async fn join(
    home: &Home,
    invitation: &str,
    merchant: MerchantId,
    policy: &MerchantPolicy,
    now_ms: u64,
) -> Result<(Membership, PrivacyPlan), JoinError> {
    if home.is_joined() {
        let known = home.membership()?;
        return Err(HomeError::AlreadyJoined {
            path: home.path().to_owned(),
            federation: known.federation,
            merchant: known.merchant,
        }
        .into());
    }
    let invitation = opened(invitation, now_ms)?;
    let (preview, connection) = look(&invitation, now_ms).await?;
    policy.accept(&preview.plan)?;
    let budget = BudgetFolder::of(home)?;
    let reservation = preview.reservation(&merchant, now_ms)?;
    // Refused before anything is used up; reserved only once the server has taken this merchant.
    Budget::new(preview.server_key, &budget.reservations()?, &[]).reserve(&reservation, policy)?;
    let at = |name: &str| home.path().join(name);
    let identity = if at("identity.p8").exists() {
        home.identity()?
    } else {
        let key = SigningKey::generate().map_err(|e| JoinError::Certificate(e.to_string()))?;
        durable::write(&at("identity.p8"), key.to_pkcs8(), Access::Secret)?;
        std::sync::Arc::new(key)
    };
    let certificate = |e: rcgen::Error| JoinError::Certificate(e.to_string());
    let tls_key = if at("tls.pem").exists() {
        let pem = zeroize::Zeroizing::new(durable::read(&at("tls.pem"))?);
        rcgen::KeyPair::from_pem(&String::from_utf8_lossy(&pem)).map_err(certificate)?
    } else {
        let key = rcgen::KeyPair::generate().map_err(certificate)?;
        let pem = zeroize::Zeroizing::new(key.serialize_pem());
        durable::write(&at("tls.pem"), pem.as_bytes(), Access::Secret)?;
        key
    };
    let mut parameters = rcgen::CertificateParams::new(vec![merchant.to_string()]).map_err(certificate)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, merchant.as_str());
    let request = parameters.serialize_request(&tls_key).map_err(certificate)?.der().to_vec();

    let ca_pem = pem("CERTIFICATE", &invitation.ca_der()?);
    let token = invitation.token_bytes()?;
    let mut signed = sha256(&token).as_bytes().to_vec();
    signed.extend_from_slice(merchant.as_str().as_bytes());
    signed.push(0);
    signed.extend_from_slice(&request);
    let request = JoinRequest {
        token: token.to_vec(),
        merchant: merchant.to_string(),
        identity_key: identity.verifying_key().as_bytes().to_vec(),
        certificate_request: request,
        signature: identity.sign(JOIN_CONTEXT, &signed).as_bytes().to_vec(),
    };
    let answer = prompt(connection.enrolment().join(call(request))).await;
    let answer = answer.map_err(|s| connection.explain(s))?.into_inner();
    let same = answer.federation == preview.federation
        && answer.plan == preview.plan_bytes
        && server_key(answer.server_key)? == preview.server_key;
    if !same {
        return Err(CallError::Answer("it enrolled this merchant under other terms than it had shown".into()).into());
    }
    fault::point("enrolled");
    // Reserved before this folder counts as joined: a crash in between reserves too much, never too little.
    budget.reserve(preview.server_key, &[], &reservation, policy)?;
    let membership = Membership {
        version: 1,
        federation: preview.federation,
        server: invitation.server.clone(),
        server_name: invitation.server_name.clone(),
        merchant,
        server_key: preview.server_key,
    };
    durable::write(&at("ca.pem"), ca_pem.as_bytes(), Access::Ordinary)?;
    durable::write(&at("client.pem"), pem("CERTIFICATE", &answer.certificate).as_bytes(), Access::Ordinary)?;
    durable::write(&at("plan.toml"), &preview.plan_bytes, Access::Ordinary)?;
    let text = toml::to_string_pretty(policy).expect("a policy always serialises");
    durable::write(&at("policy.toml"), text.as_bytes(), Access::Ordinary)?;
    let text = toml::to_string_pretty(&membership).expect("a membership always serialises");
    durable::write(&at("federation.toml"), text.as_bytes(), Access::Ordinary)?;
    Ok((membership, preview.plan))
}

/// RFC 7468 text form of DER bytes.
fn pem(label: &str, der: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}
