//! Who may act: enrolments and revocations.

use std::collections::hash_map;

use super::{Auditor, Rule};
use crate::{
    identity::{MerchantId, VerifyingKey},
    ledger::entry::{Enrolled, Revoked},
};

/// One enrolled merchant.
pub(super) struct Member {
    pub(super) identity: VerifyingKey,
    pub(super) enrolled_at_ms: u64,
    /// Entry and time of its revocation.
    pub(super) revoked: Option<(u64, u64)>,
}

impl Auditor {
    pub(super) fn judge_enrolment(&mut self, index: u64, enrolled: Enrolled) {
        let Enrolled { merchant, identity, at_ms } = enrolled;
        match self.members.entry(merchant.clone()) {
            hash_map::Entry::Occupied(_) => {
                self.find(Some(index), Rule::Enrolment, format!("enrols `{merchant}` a second time"));
            }
            hash_map::Entry::Vacant(slot) => {
                slot.insert(Member { identity, enrolled_at_ms: at_ms, revoked: None });
                self.order.push(merchant);
            }
        }
    }

    pub(super) fn judge_revocation(&mut self, index: u64, revoked: &Revoked) {
        let who = &revoked.merchant;
        match self.members.get_mut(who) {
            None => self.find(Some(index), Rule::Enrolment, format!("revokes `{who}`, which never enrolled")),
            Some(member) => _ = member.revoked.get_or_insert((index, revoked.at_ms)),
        }
    }

    pub(super) fn identity_of(&self, merchant: &MerchantId) -> Option<VerifyingKey> {
        self.members.get(merchant).map(|member| member.identity)
    }

    /// Whether `merchant` was revoked before the log had `size` entries.
    pub(super) fn revoked_before(&self, merchant: &MerchantId, size: u64) -> bool {
        self.members.get(merchant).and_then(|member| member.revoked).is_some_and(|(at, _)| at < size)
    }
}
