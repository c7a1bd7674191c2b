//! The two thresholds of a round, parsed once.
//!
//! *m*, `survivors_min`: the fewest masked updates with which any participant goes on; the noise is calibrated to it.
//! *t*, `threshold`: how many shares reconstruct a secret. Against a server that colludes with n_C participants and
//! names different survivor sets to different participants, two quorums of t answers must share an honest member, who
//! answers only once: 2t > n + n_C (Bonawitz et al. 2017, §6.2 and Theorem 6.5, for the complete graph).
//!
//! The invariant: whoever holds a [`ValidThreshold`] need not check any of this again.

use serde::Serialize;

/// Thresholds that satisfy every condition of a complete-graph round against an active server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ValidThreshold {
    participants: u16,
    survivors_min: u16,
    threshold: u16,
    colluders: u16,
}

/// Which condition thresholds break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// n outside 2..=255.
    #[error("a round has 2 to 255 participants, not {0}")]
    Participants(u16),
    /// t outside 1..=n.
    #[error("the sharing threshold t = {threshold} must lie between 1 and the {participants} participants")]
    Threshold {
        /// t.
        threshold: u16,
        /// n.
        participants: u16,
    },
    /// 2t ≤ n + n_C: two disjoint honest quorums could exist.
    #[error("t = {threshold} is too small for {participants} participants of whom {colluders} may collude: 2t must exceed n + n_C, so t ≥ {}", (participants + colluders) / 2 + 1)]
    QuorumsMayBeDisjoint {
        /// t.
        threshold: u16,
        /// n.
        participants: u16,
        /// n_C.
        colluders: u16,
    },
    /// m < t: the survivors could not unmask.
    #[error("m = {survivors_min} survivors could not reconstruct with t = {threshold}: m ≥ t is needed")]
    SurvivorsBelowThreshold {
        /// m.
        survivors_min: u16,
        /// t.
        threshold: u16,
    },
    /// m > n: no round could end.
    #[error("m = {survivors_min} survivors are asked of only {participants} participants")]
    SurvivorsAboveParticipants {
        /// m.
        survivors_min: u16,
        /// n.
        participants: u16,
    },
    /// m ≤ n_C: the survivors could all be colluders, and nobody's noise would be left.
    #[error("m = {survivors_min} survivors could all be among the {colluders} assumed colluders: m > n_C is needed")]
    SurvivorsAllCollude {
        /// m.
        survivors_min: u16,
        /// n_C.
        colluders: u16,
    },
}

impl ValidThreshold {
    /// The largest cohort: the nonzero points of GF(2⁸).
    pub const MAX_PARTICIPANTS: u16 = 255;

    /// Checks n, m, t and n_C together.
    ///
    /// # Errors
    /// [`ThresholdError`] names the condition that fails.
    pub fn new(participants: u16, survivors_min: u16, threshold: u16, colluders: u16) -> Result<Self, ThresholdError> {
        if !(2..=Self::MAX_PARTICIPANTS).contains(&participants) {
            return Err(ThresholdError::Participants(participants));
        }
        if threshold == 0 || threshold > participants {
            return Err(ThresholdError::Threshold { threshold, participants });
        }
        if survivors_min > participants {
            return Err(ThresholdError::SurvivorsAboveParticipants { survivors_min, participants });
        }
        if survivors_min <= colluders {
            return Err(ThresholdError::SurvivorsAllCollude { survivors_min, colluders });
        }
        if 2 * threshold <= participants + colluders {
            return Err(ThresholdError::QuorumsMayBeDisjoint { threshold, participants, colluders });
        }
        if survivors_min < threshold {
            return Err(ThresholdError::SurvivorsBelowThreshold { survivors_min, threshold });
        }
        Ok(Self { participants, survivors_min, threshold, colluders })
    }

    /// t = ⌊2n/3⌋ + 1: tolerates fewer than n/3 colluders and about n/3 drop-outs. At n = 3 that is everyone.
    pub fn propose_shares(participants: u16) -> u16 {
        (u32::from(participants) * 2 / 3) as u16 + 1
    }

    /// n, the invited participants.
    pub fn participants(&self) -> u16 {
        self.participants
    }

    /// m, the fewest survivors.
    pub fn survivors_min(&self) -> u16 {
        self.survivors_min
    }

    /// t, the shares that reconstruct.
    pub fn threshold(&self) -> u16 {
        self.threshold
    }

    /// n_C, the assumed colluders.
    pub fn colluders(&self) -> u16 {
        self.colluders
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_condition_is_refused_by_name() {
        use ThresholdError::*;
        let refused = |n, m, t, c| ValidThreshold::new(n, m, t, c).expect_err("refused");
        assert!(matches!(refused(1, 1, 1, 0), Participants(1)));
        assert!(matches!(refused(256, 200, 200, 0), Participants(256)));
        assert!(matches!(refused(10, 8, 0, 0), Threshold { .. }));
        assert!(matches!(refused(10, 8, 11, 0), Threshold { .. }));
        assert!(matches!(refused(10, 11, 7, 0), SurvivorsAboveParticipants { .. }));
        assert!(matches!(refused(10, 3, 3, 3), SurvivorsAllCollude { .. }));
        assert!(matches!(refused(10, 8, 5, 0), QuorumsMayBeDisjoint { .. }));
        assert!(matches!(refused(10, 8, 6, 2), QuorumsMayBeDisjoint { .. }));
        assert!(matches!(refused(10, 6, 7, 2), SurvivorsBelowThreshold { .. }));
        assert!(refused(10, 8, 6, 2).to_string().contains("t ≥ 7"));
        assert!(ValidThreshold::new(10, 8, 7, 2).is_ok());
    }

    proptest! {
        #[test]
        fn the_proposal_stands_against_almost_a_third(n in 4u16..=255) {
            let t = ValidThreshold::propose_shares(n);
            let colluders = (n - 1) / 3;
            prop_assert!(ValidThreshold::new(n, t, t, colluders.min(2 * t - n - 1)).is_ok());
            prop_assert!(2 * t > n + n / 3, "2t = {} n = {n}", 2 * t);
        }

        #[test]
        fn valid_quorums_share_an_honest_member(n in 2u16..=255, m in 0u16..=256, t in 0u16..=256, c in 0u16..=255) {
            if let Ok(valid) = ValidThreshold::new(n, m, t, c) {
                // Two quorums of t out of n overlap in at least 2t − n, more than the colluders.
                prop_assert!(2 * i32::from(valid.threshold()) - i32::from(n) > i32::from(c));
                prop_assert!(valid.survivors_min() >= valid.threshold());
            }
        }
    }
}
