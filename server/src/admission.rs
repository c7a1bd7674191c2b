//! How much anybody may ask of the server: calls at one time, calls a second, pre-keys to check.
//!
//! Counted by certificate, over all connections made with it, and before a call's message is read; without a certificate by
//! address. The invariant: what one peer asks for is bounded whatever it sends, and its being over the bound costs nobody
//! else anything. An honest client stays far below every bound, and one that reaches a bound learns how long to wait.
//!
//! Left out on purpose: memory across restarts. A server that starts begins with full allowances.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use forecastle_crypto::identity::{MerchantId, Sha256Digest};
use forecastle_proto::limits::{CALLS_MAX, RETRY_AFTER};
use tonic::{Code, Request, Status, metadata::MetadataMap};

use crate::peer::Peer;

/// Calls that may come at once, and how many more a second, by one merchant. A round takes ten.
const CALLS: Rate = Rate { burst: 512.0, per_second: 32.0 };
/// The same of strangers at one address: joining takes two.
const CALLS_OF_STRANGERS: Rate = Rate { burst: 256.0, per_second: 8.0 };
/// Pre-keys that may be new at once, and how many more a second. Those that a round used may be replaced on top, so that
/// rounds however quick never run out of them.
const PREKEYS: Rate = Rate { burst: 512.0, per_second: 1.0 / 60.0 };
/// Peers remembered before those that have their full allowances are forgotten.
const PEERS_KEPT: usize = 4_096;

/// An allowance that is used up by `burst` at once and grows by `per_second`.
struct Rate {
    burst: f64,
    per_second: f64,
}

/// What is left of an allowance.
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rate {
    fn full(&self, now: Instant) -> Bucket {
        Bucket { left: self.burst, at: now }
    }

    fn grow(&self, bucket: &mut Bucket, now: Instant) {
        let seconds = now.saturating_duration_since(bucket.at).as_secs_f64();
        *bucket = Bucket { left: (bucket.left + seconds * self.per_second).min(self.burst), at: now };
    }

    /// Takes `count`, or says how long until they are there.
    fn take(&self, bucket: &mut Bucket, count: f64, now: Instant) -> Result<(), Duration> {
        self.grow(bucket, now);
        if bucket.left >= count {
            bucket.left -= count;
            return Ok(());
        }
        Err(Duration::from_secs_f64((count - bucket.left) / self.per_second))
    }
}

/// The allowances of everybody.
#[derive(Default)]
pub(crate) struct Admission(Mutex<HashMap<Peer, Account>>);

struct Account {
    /// Calls that are open.
    open: usize,
    calls: Bucket,
    prekeys: Bucket,
    /// Whose certificate it is, once a call was answered.
    merchant: Option<MerchantId>,
}

/// An open call; closed when the last copy is dropped.
#[derive(Clone)]
pub(crate) struct OpenCall {
    pub(crate) peer: Peer,
    _closes: Arc<Closes>,
}

struct Closes {
    admission: Arc<Admission>,
    peer: Peer,
}

/// Why a call was not admitted.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    /// Too many at one time.
    #[error("{CALLS_MAX} calls of yours are open; end one of them first")]
    Open,
    /// Too many a second.
    #[error("too many calls: wait before the next one")]
    TooOften(Duration),
}

impl Refused {
    /// How long the caller should wait.
    fn wait(&self) -> Duration {
        match self {
            Self::Open => Duration::from_secs(1),
            Self::TooOften(wait) => *wait,
        }
    }
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        busy(refused.to_string(), refused.wait())
    }
}

/// The answer to who has to wait; names the time in milliseconds under [`RETRY_AFTER`].
pub(crate) fn busy(why: String, wait: Duration) -> Status {
    let mut metadata = MetadataMap::new();
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    metadata.insert(RETRY_AFTER, ms.into());
    Status::with_metadata(Code::ResourceExhausted, why, metadata)
}

/// Who makes a call.
pub(crate) fn peer_of<T>(request: &Request<T>) -> Peer {
    let certificates = request.peer_certs().unwrap_or_default();
    Peer::new(&certificates, request.remote_addr())
}

impl Account {
    fn new(peer: Peer, now: Instant) -> Self {
        Self { open: 0, calls: calls_of(peer).full(now), prekeys: PREKEYS.full(now), merchant: None }
    }

    /// Whether forgetting it would change nothing.
    fn is_full(&mut self, peer: Peer, now: Instant) -> bool {
        calls_of(peer).grow(&mut self.calls, now);
        PREKEYS.grow(&mut self.prekeys, now);
        self.open == 0 && self.calls.left >= calls_of(peer).burst && self.prekeys.left >= PREKEYS.burst
    }
}

fn calls_of(peer: Peer) -> &'static Rate {
    match peer {
        Peer::Certified(_) => &CALLS,
        Peer::Stranger(_) => &CALLS_OF_STRANGERS,
    }
}

impl Admission {
    fn accounts(&self) -> MutexGuard<'_, HashMap<Peer, Account>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, peer: Peer, now: Instant, work: impl FnOnce(&mut Account) -> T) -> T {
        let mut accounts = self.accounts();
        if accounts.len() >= PEERS_KEPT && !accounts.contains_key(&peer) {
            accounts.retain(|peer, account| !account.is_full(*peer, now));
        }
        work(accounts.entry(peer).or_insert_with(|| Account::new(peer, now)))
    }

    /// Opens a call of `peer`.
    pub(crate) fn admit(self: &Arc<Self>, peer: Peer, now: Instant) -> Result<OpenCall, Refused> {
        self.with(peer, now, |account| {
            calls_of(peer).take(&mut account.calls, 1.0, now).map_err(Refused::TooOften)?;
            if account.open >= CALLS_MAX {
                return Err(Refused::Open);
            }
            account.open += 1;
            Ok(())
        })?;
        Ok(OpenCall { peer, _closes: Arc::new(Closes { admission: Arc::clone(self), peer }) })
    }

    /// Takes `count` new pre-keys from the allowance of the merchant with this certificate, or says how long until it has
    /// them.
    pub(crate) fn take_prekeys(&self, certificate: Sha256Digest, count: usize, now: Instant) -> Result<(), Duration> {
        self.with(Peer::Certified(certificate), now, |account| PREKEYS.take(&mut account.prekeys, count as f64, now))
    }

    /// A round used a pre-key of the merchant with this certificate: it may bring another one.
    pub(crate) fn prekey_used(&self, certificate: Sha256Digest, now: Instant) {
        self.with(Peer::Certified(certificate), now, |account| {
            account.prekeys.left = (account.prekeys.left + 1.0).min(PREKEYS.burst);
        });
    }

    /// Remembers whose certificate a peer showed.
    pub(crate) fn is(&self, peer: Peer, merchant: &MerchantId) {
        if let Some(account) = self.accounts().get_mut(&peer)
            && account.merchant.is_none()
        {
            account.merchant = Some(merchant.clone());
        }
    }

    /// The merchant that a peer turned out to be.
    pub(crate) fn merchant(&self, peer: Peer) -> Option<MerchantId> {
        self.accounts().get(&peer)?.merchant.clone()
    }
}

impl Drop for Closes {
    fn drop(&mut self) {
        if let Some(account) = self.admission.accounts().get_mut(&self.peer) {
            account.open -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use forecastle_crypto::identity::sha256;

    use super::*;

    fn certified(n: u8) -> Peer {
        Peer::Certified(sha256(&[n]))
    }

    fn admission() -> (Arc<Admission>, Instant) {
        (Arc::new(Admission::default()), Instant::now())
    }

    #[test]
    fn one_peer_has_so_many_calls_open_and_no_more() {
        let (admission, now) = admission();
        let mut open: Vec<_> = (0..CALLS_MAX).map(|_| admission.admit(certified(1), now).unwrap()).collect();
        assert_eq!(admission.admit(certified(1), now).err(), Some(Refused::Open));
        assert!(admission.admit(certified(2), now).is_ok());
        // A copy keeps the call open.
        let copy = open.pop();
        drop(copy.clone());
        assert!(admission.admit(certified(1), now).is_err());
        drop(copy);
        assert!(admission.admit(certified(1), now).is_ok());
    }

    #[test]
    fn calls_come_in_bursts_but_no_faster_than_the_rate_in_the_long_run() {
        for (peer, rate) in [(certified(1), CALLS), (Peer::new(&[], None), CALLS_OF_STRANGERS)] {
            let (admission, now) = admission();
            let admitted = |at| (0..10_000).take_while(|_| admission.admit(peer, at).is_ok()).count() as f64;
            assert_eq!(admitted(now), rate.burst);
            let Err(Refused::TooOften(wait)) = admission.admit(peer, now) else { panic!("admitted") };
            assert!(wait <= Duration::from_secs_f64(1.0 / rate.per_second));
            assert!(admission.admit(peer, now + wait).is_ok());
            assert_eq!(admitted(now + wait + Duration::from_secs(2)), 2.0 * rate.per_second);
            // Nobody saves up more than a burst.
            assert_eq!(admitted(now + Duration::from_secs(86_400)), rate.burst);
        }
    }

    #[test]
    fn prekeys_are_replaced_as_fast_as_rounds_use_them_and_otherwise_slowly() {
        let (admission, now) = admission();
        let certificate = sha256(b"certificate");
        assert_eq!(admission.take_prekeys(certificate, 500, now), Ok(()));
        let wait = admission.take_prekeys(certificate, 128, now).unwrap_err();
        assert!(wait > Duration::from_secs(3_600), "{wait:?}");
        assert_eq!(admission.take_prekeys(certificate, 12, now), Ok(()), "a refusal takes nothing");
        for _ in 0..1_000 {
            admission.prekey_used(certificate, now);
            assert_eq!(admission.take_prekeys(certificate, 1, now), Ok(()));
        }
        assert!(admission.take_prekeys(certificate, 1, now).is_err());
        assert_eq!(admission.take_prekeys(certificate, 60, now + Duration::from_secs(3_601)), Ok(()));
    }

    #[test]
    fn peers_without_a_debt_are_forgotten_and_debtors_are_not() {
        let (admission, now) = admission();
        let debtor = certified(0);
        while admission.admit(debtor, now).is_ok() {}
        for n in 0..2 * PEERS_KEPT as u32 {
            let stranger = Peer::new(&[], Some((n.to_be_bytes(), 1).into()));
            // Each is gone for long when the next one comes.
            let _ = admission.admit(stranger, now);
            let mut accounts = admission.accounts();
            let account = accounts.get_mut(&stranger).unwrap();
            account.calls.left = CALLS_OF_STRANGERS.burst;
        }
        assert!(admission.accounts().len() <= PEERS_KEPT);
        assert!(admission.admit(debtor, now).is_err());
    }
}
