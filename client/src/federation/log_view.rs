//! What the entries of the federation's log say, taken together.
//!
//! The invariant: nothing here contradicts what this merchant knows by itself. The federation was founded under the plan
//! that it joined, its own name stands for its own key, a charge in its name carries its signature, and a round that
//! counts its update names its charge for that round. And nothing contradicts what was said before: a name never passes
//! to another key, a version of the model never to other numbers.

use std::collections::{HashMap, HashSet};

use forecastle_crypto::{
    dp::plan::PrivacyPlan,
    identity::{MerchantId, Sha256Digest, VerifyingKey},
    ledger::entry::{Entry, Founded, RoundClosed, SignedCharge},
};

use super::home::Membership;

/// Who reads the log.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) membership: Membership,
    /// The merchant's own identity key.
    pub(super) identity: VerifyingKey,
    /// The plan that it joined.
    pub(super) plan_sha256: Sha256Digest,
}

/// A merchant in the directory.
#[derive(Clone)]
pub(super) struct Enrolment {
    /// Of the entry.
    pub(super) index: u64,
    pub(super) identity: VerifyingKey,
}

/// A version of the model.
#[derive(Clone)]
pub(super) struct Published {
    /// Of the entry.
    pub(super) index: u64,
    pub(super) version: u64,
    pub(super) sha256: Sha256Digest,
    /// The round that it came from; `None` for the first.
    pub(super) sid: Option<Sha256Digest>,
}

/// The entries, taken together.
#[derive(Clone, Default)]
pub(super) struct View {
    pub(super) founded: Option<Founded>,
    pub(super) directory: HashMap<MerchantId, Enrolment>,
    /// Names that nobody carries any more.
    revoked: HashSet<MerchantId>,
    /// This merchant's charges, by index.
    pub(super) own: Vec<(u64, SignedCharge)>,
    /// In ascending order of index and version.
    pub(super) models: Vec<Published>,
}

impl View {
    /// Takes one more entry in; says why where it contradicts what is known.
    pub(super) fn add(&mut self, index: u64, entry: Entry, reader: &Reader) -> Result<(), String> {
        let membership = &reader.membership;
        match entry {
            Entry::Founded(founded) => {
                if index != 0 {
                    return Err("founds the federation a second time".into());
                }
                if founded.server_key != membership.server_key || founded.federation != membership.federation {
                    return Err("founds another federation than the one joined".into());
                }
                if PrivacyPlan::digest_of(founded.plan.as_bytes()) != reader.plan_sha256 {
                    return Err("founds the federation under another plan than the one this merchant joined".into());
                }
                self.models.push(Published { index, version: 0, sha256: founded.model_sha256, sid: None });
                self.founded = Some(founded);
            }
            _ if index == 0 => return Err("does not found a federation".into()),
            Entry::Enrolled(enrolled) => {
                if self.directory.contains_key(&enrolled.merchant) {
                    return Err("enrols a merchant a second time".into());
                }
                if enrolled.merchant == membership.merchant && enrolled.identity != reader.identity {
                    return Err("enrols another key under this merchant's name".into());
                }
                if self.revoked.contains(&enrolled.merchant) {
                    return Err("gives the name of a merchant that was revoked to somebody else".into());
                }
                self.directory.insert(enrolled.merchant, Enrolment { index, identity: enrolled.identity });
            }
            Entry::Revoked(revoked) => {
                self.directory.remove(&revoked.merchant);
                self.revoked.insert(revoked.merchant);
            }
            Entry::Charge(signed) => {
                if signed.charge.merchant == membership.merchant {
                    if signed.verify(&reader.identity).is_err() {
                        return Err("is a charge in this merchant's name that it never signed".into());
                    }
                    self.own.push((index, signed));
                }
            }
            Entry::RoundClosed(closed) => {
                self.check_own_charge(&closed, &membership.merchant)?;
                if self.models.last().is_none_or(|last| closed.model_version <= last.version) {
                    return Err("publishes a version of the model that was there before".into());
                }
                let (version, sha256, sid) = (closed.model_version, closed.model_sha256, Some(closed.sid));
                self.models.push(Published { index, version, sha256, sid });
            }
            Entry::RoundAbandoned(_) => {}
        }
        Ok(())
    }

    /// A round that has this merchant's update in its sum counts this merchant's charge for it.
    fn check_own_charge(&self, closed: &RoundClosed, own: &MerchantId) -> Result<(), String> {
        let number = closed.roster.iter().position(|merchant| merchant == own).map(|place| place + 1);
        let survivor = closed.survivors.iter().position(|&survivor| Some(usize::from(survivor)) == number);
        let Some(place) = survivor.filter(|_| number.is_some()) else { return Ok(()) };
        let counted = closed.charges.get(place);
        let fits = self.own.iter().any(|(index, signed)| Some(index) == counted && signed.charge.sid == closed.sid);
        if fits {
            Ok(())
        } else {
            Err("publishes a sum with this merchant's update, but counts no charge of it".into())
        }
    }
}
