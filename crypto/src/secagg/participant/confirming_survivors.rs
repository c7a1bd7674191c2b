//! States, signed, who survived.
//!
//! Advances on a [`SurvivorSet`] within U1, of at least m members, this participant among them. It signs once: a second
//! set would need a second state.

use super::super::error::ParticipantError;
use super::super::keys::Sid;
use super::super::messages::{CONSISTENCY_CONTEXT, ConsistencySignature, HeldShares, SurvivorSet, consistency_message};
use super::super::participants::{ParticipantNumber, ParticipantSet};
use super::{Member, Unmasking};

/// Masked its update; waits to hear whose arrived.
pub struct ConfirmingSurvivors {
    member: Member,
    sharers: ParticipantSet,
    held: Vec<(ParticipantNumber, HeldShares)>,
    unreadable: ParticipantSet,
}

impl ConfirmingSurvivors {
    pub(super) fn new(
        member: Member,
        sharers: ParticipantSet,
        held: Vec<(ParticipantNumber, HeldShares)>,
        unreadable: ParticipantSet,
    ) -> Self {
        Self { member, sharers, held, unreadable }
    }

    /// The round.
    pub fn sid(&self) -> Sid {
        self.member.offer.sid()
    }

    /// Whose shares did not open. For the local log: such a sender is faulty, or the server changed its message.
    pub fn unreadable(&self) -> &ParticipantSet {
        &self.unreadable
    }

    /// Signs U1 and U2.
    ///
    /// # Errors
    /// [`ParticipantError`]: a foreign round; survivors who are strangers or fewer than m; this participant left out.
    pub fn confirm(self, message: SurvivorSet) -> Result<(Unmasking, ConsistencySignature), ParticipantError> {
        const MESSAGE: &str = "survivor set";
        let Self { member, sharers, held, .. } = self;
        member.check_round(MESSAGE, message.sid)?;
        let survivors = message.survivors;
        member.check_set(MESSAGE, &survivors, &sharers)?;
        let sid = member.offer.sid();
        let statement = consistency_message(&sid, &sharers, &survivors);
        let signature = member.identity.sign(CONSISTENCY_CONTEXT, &statement);
        Ok((Unmasking::new(member, sharers, survivors, held), ConsistencySignature { sid, signature }))
    }
}
