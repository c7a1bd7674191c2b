//! The thresholds of a round, parsed once.
//!
//! *m*, `survivors_min`: the fewest masked updates with which any participant goes on; the noise is calibrated to it.
//! *q*, `quorum`: how many survivors must have signed the same two sets before anybody opens a secret.
//! *t*, `threshold`: how many shares reconstruct a secret.
//!
//! # On the complete graph
//! q = t. Against a server that colludes with n_C participants and names different survivor sets to different
//! participants, two quorums of t must share an honest member, who answers only once: 2t > n + n_C (Bonawitz et al. 2017,
//! §6.2 and Theorem 6.5).
//!
//! # On a k-regular graph
//! Shares lie with k neighbours, statements are still asked of everybody: q = ⌊(n + n_C)/2⌋ + 1, so two quorums have an
//! honest member in common, all honest participants that open anything do so for one pair of sets, and of each secret
//! pair they open one. What is left to exclude is that the colluders' own shares suffice, and that the honest survivors'
//! masks do not hang together, in which case the sums over the pieces would come apart. Two levels of assurance:
//!
//! * [`Assurance::ActiveServer`]: k > (n − m) + n_C and n_C < t ≤ k − (n − m). At most n − m participants are missing from
//!   the sum and at most n_C in it collude, and a ring of degree k stays in one piece without any k − 1 of its members; so
//!   it does not matter whom the server lets drop out, nor how it came by the order. No chance is involved.
//! * [`Assurance::SemiHonestServer`]: k and t from [`super::finder`], whose odds hold when drop-outs do not depend on the
//!   order on the ring. A server that picks them could cut the ring in two.
//!
//! The invariant: whoever holds a [`ValidThreshold`] need not check any of this again.

use serde::Serialize;

use super::finder::{self, Adversity, Degree};
use super::graph::Graph;
use super::keys::Sid;
use super::participants::ParticipantNumber;

/// Against which server a round's claim holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// One that deviates from the protocol in any way.
    ActiveServer,
    /// One that follows the protocol and tries to learn from what it sees.
    SemiHonestServer,
}

/// Thresholds that satisfy every condition of their graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ValidThreshold {
    participants: u16,
    survivors_min: u16,
    threshold: u16,
    colluders: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    neighbours: Option<u16>,
    assurance: Assurance,
}

/// Which condition thresholds break.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// n outside 2..=255.
    #[error("a round on the complete graph has 2 to 255 participants, not {0}")]
    Participants(u16),
    /// n above what a roster holds.
    #[error("a round has at most {most} participants, not {0}", most = ParticipantNumber::MAX)]
    TooMany(u16),
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
    /// m < t or m < q: the survivors could not unmask.
    #[error(
        "m = {survivors_min} survivors could not reconstruct, or not agree, with {threshold} needed: m ≥ {threshold} must hold"
    )]
    SurvivorsBelowThreshold {
        /// m.
        survivors_min: u16,
        /// t, or q on a k-regular graph.
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
    /// k is odd, or not in 2..=254, or leaves no graph but the complete one.
    #[error("k = {neighbours} neighbours: k must be even, at most 254 and below n − 1 = {}", participants.saturating_sub(1))]
    Neighbours {
        /// k.
        neighbours: u16,
        /// n.
        participants: u16,
    },
    /// Neither an active nor a semi-honest server is withstood.
    #[error(
        "k = {neighbours} neighbours and t = {threshold} withstand neither an active server (k > n − m + n_C and n_C < t ≤ k − (n − m)) nor a semi-honest one"
    )]
    Degree {
        /// k.
        neighbours: u16,
        /// t.
        threshold: u16,
    },
}

impl ValidThreshold {
    /// The largest cohort on the complete graph: the nonzero points of GF(2⁸).
    pub const MAX_PARTICIPANTS: u16 = 255;

    /// Checks n, m, t and n_C together, for the complete graph.
    ///
    /// # Errors
    /// [`ThresholdError`] names the condition that fails.
    pub fn new(participants: u16, survivors_min: u16, threshold: u16, colluders: u16) -> Result<Self, ThresholdError> {
        if !(2..=Self::MAX_PARTICIPANTS).contains(&participants) {
            return Err(ThresholdError::Participants(participants));
        }
        check_survivors(participants, survivors_min, threshold, colluders)?;
        if 2 * threshold <= participants + colluders {
            return Err(ThresholdError::QuorumsMayBeDisjoint { threshold, participants, colluders });
        }
        if survivors_min < threshold {
            return Err(ThresholdError::SurvivorsBelowThreshold { survivors_min, threshold });
        }
        let assurance = Assurance::ActiveServer;
        Ok(Self { participants, survivors_min, threshold, colluders, neighbours: None, assurance })
    }

    /// Checks n, m, t, n_C and k together, for a k-regular graph.
    ///
    /// # Errors
    /// [`ThresholdError`] names the condition that fails.
    pub fn regular(
        participants: u16,
        survivors_min: u16,
        threshold: u16,
        colluders: u16,
        neighbours: u16,
    ) -> Result<Self, ThresholdError> {
        if participants > ParticipantNumber::MAX {
            return Err(ThresholdError::TooMany(participants));
        }
        let even = neighbours.is_multiple_of(2);
        if !even || !(2..Self::MAX_PARTICIPANTS).contains(&neighbours) || participants <= neighbours + 1 {
            return Err(ThresholdError::Neighbours { neighbours, participants });
        }
        check_survivors(participants, survivors_min, threshold, colluders)?;
        let drop_outs = participants - survivors_min;
        let missing = u32::from(drop_outs) + u32::from(colluders);
        let active = u32::from(neighbours) > missing && threshold > colluders && threshold <= neighbours - drop_outs;
        let adversity = Adversity { participants, colluders, drop_outs };
        let assurance = if active {
            Assurance::ActiveServer
        } else if threshold <= neighbours && finder::holds(adversity, Degree { neighbours, threshold }) {
            Assurance::SemiHonestServer
        } else {
            return Err(ThresholdError::Degree { neighbours, threshold });
        };
        let valid = Self { participants, survivors_min, threshold, colluders, neighbours: Some(neighbours), assurance };
        if survivors_min < valid.quorum() {
            return Err(ThresholdError::SurvivorsBelowThreshold { survivors_min, threshold: valid.quorum() });
        }
        Ok(valid)
    }

    /// Proposes a k-regular graph for n participants: the smallest that withstands an active server, or else, where it
    /// would need more than 254 neighbours, the smallest against a semi-honest one. `None` when neither is there.
    pub fn propose_regular(participants: u16, survivors_min: u16, colluders: u16) -> Option<Self> {
        let drop_outs = participants.checked_sub(survivors_min)?;
        let least = u32::from(drop_outs) + u32::from(colluders) + 1;
        let active = u16::try_from(least.next_multiple_of(2)).ok().filter(|k| *k < Self::MAX_PARTICIPANTS);
        let active = active.and_then(|k| Self::regular(participants, survivors_min, colluders + 1, colluders, k).ok());
        active.or_else(|| {
            let Degree { neighbours, threshold } = finder::find(Adversity { participants, colluders, drop_outs })?;
            Self::regular(participants, survivors_min, threshold, colluders, neighbours).ok()
        })
    }

    /// t = ⌊2n/3⌋ + 1 on the complete graph: tolerates fewer than n/3 colluders and about n/3 drop-outs. At n = 3 that
    /// is everyone.
    pub fn propose_shares(participants: u16) -> u16 {
        (u32::from(participants) * 2 / 3) as u16 + 1
    }

    /// The graph of the round `sid`.
    pub fn graph(&self, sid: &Sid) -> Graph {
        match self.neighbours {
            None => Graph::complete(self.participants),
            Some(neighbours) => Graph::regular(self.participants, neighbours, sid),
        }
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

    /// q, the survivors whose statements open secrets.
    pub fn quorum(&self) -> u16 {
        match self.neighbours {
            None => self.threshold,
            // (n + n_C)/2 + 1; n_C < m ≤ n keeps it within n.
            Some(_) => self.participants.midpoint(self.colluders) + 1,
        }
    }

    /// n_C, the assumed colluders.
    pub fn colluders(&self) -> u16 {
        self.colluders
    }

    /// k; `None` on the complete graph.
    pub fn neighbours(&self) -> Option<u16> {
        self.neighbours
    }

    /// Against which server the claim holds.
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }
}

/// What holds on every graph: 1 ≤ t ≤ n and n_C < m ≤ n.
fn check_survivors(
    participants: u16,
    survivors_min: u16,
    threshold: u16,
    colluders: u16,
) -> Result<(), ThresholdError> {
    if threshold == 0 || threshold > participants {
        return Err(ThresholdError::Threshold { threshold, participants });
    }
    if survivors_min > participants {
        return Err(ThresholdError::SurvivorsAboveParticipants { survivors_min, participants });
    }
    if survivors_min <= colluders {
        return Err(ThresholdError::SurvivorsAllCollude { survivors_min, colluders });
    }
    Ok(())
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

    #[test]
    fn regular_graphs_say_what_they_withstand() {
        use ThresholdError::*;
        // 1,000 participants, 50 may be missing, 50 collude: 102 neighbours leave one piece whoever is missing.
        let active = ValidThreshold::propose_regular(1_000, 950, 50).expect("a graph");
        assert_eq!((active.neighbours(), active.threshold(), active.quorum()), (Some(102), 51, 526));
        assert_eq!(active.assurance(), Assurance::ActiveServer);
        // 10,000 with 500 and 500 would need 1,002: what is left is the published degree.
        let semi = ValidThreshold::propose_regular(10_000, 9_500, 500).expect("a graph");
        assert_eq!((semi.neighbours(), semi.threshold()), (Some(62), 44));
        assert_eq!(semi.assurance(), Assurance::SemiHonestServer);

        let refused = |n, m, t, c, k| ValidThreshold::regular(n, m, t, c, k).expect_err("refused");
        assert!(matches!(refused(1_000, 950, 51, 50, 101), Neighbours { .. }));
        assert!(matches!(refused(1_000, 950, 51, 50, 256), Neighbours { .. }));
        assert!(matches!(refused(103, 100, 51, 2, 102), Neighbours { .. }));
        assert!(matches!(refused(10_001, 9_950, 51, 50, 102), TooMany(_)));
        // The colluders' own shares would suffice; drop-outs would leave too few; the ring could be cut.
        assert!(matches!(refused(1_000, 950, 50, 50, 102), Degree { .. }));
        assert!(matches!(refused(1_000, 950, 53, 50, 102), Degree { .. }));
        assert!(matches!(refused(1_000, 950, 12, 50, 20), Degree { .. }));
        // q = 526: with fewer survivors two sets could both be agreed on.
        assert!(matches!(
            refused(1_000, 525, 1, 0, 254),
            SurvivorsBelowThreshold { threshold: 501, .. } | Degree { .. }
        ));
        assert_eq!(ValidThreshold::propose_regular(1_000, 400, 0), None);
    }

    proptest! {
        #[test]
        fn a_proposed_graph_survives_its_drop_outs_and_keeps_its_colluders_out(n in 256u16..=10_000, drops in 0.0f64..0.2, colluding in 0.0f64..0.2) {
            let (drop_outs, c) = ((f64::from(n) * drops) as u16, (f64::from(n) * colluding) as u16);
            if let Some(valid) = ValidThreshold::propose_regular(n, n - drop_outs, c) {
                let (k, t) = (valid.neighbours().expect("regular"), valid.threshold());
                prop_assert!(2 * u32::from(valid.quorum()) > u32::from(n) + u32::from(c));
                prop_assert!(valid.quorum() <= valid.survivors_min());
                if valid.assurance() == Assurance::ActiveServer {
                    prop_assert!(t > c && t <= k - drop_outs && k > drop_outs + c);
                } else {
                    prop_assert!(k <= 254 && t <= k);
                }
            }
        }

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
