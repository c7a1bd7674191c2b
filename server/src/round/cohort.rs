//! Who is invited: as many of those present as the plan's thresholds allow, the least recently invited first.
//!
//! The invariant: a cohort always satisfies the plan's thresholds, and its order (hence everybody's participant
//! number) depends on names only.

use forecastle_crypto::dp::plan::PrivacyPlan;

use crate::identity::merchants::Merchant;

/// The fewest merchants with which a round of this plan can start.
pub fn fewest(plan: &PrivacyPlan) -> u16 {
    (plan.rounds.survivors_min..=plan.rounds.cohort_max)
        .find(|&n| plan.threshold(n).is_ok())
        .unwrap_or(plan.rounds.cohort_max)
}

/// Chooses from those present; `None` when they are too few.
pub fn choose(mut present: Vec<Merchant>, plan: &PrivacyPlan) -> Option<Vec<Merchant>> {
    let most = u16::try_from(present.len()).unwrap_or(u16::MAX).min(plan.rounds.cohort_max);
    let size = (1..=most).rev().find(|&n| plan.threshold(n).is_ok())?;
    present.sort_by(|a, b| (a.last_round, &a.name).cmp(&(b.last_round, &b.name)));
    present.truncate(usize::from(size));
    present.sort_by(|a, b| a.name.cmp(&b.name));
    Some(present)
}

#[cfg(test)]
mod tests {
    use forecastle_crypto::identity::{VerifyingKey, sha256};

    use super::*;

    fn merchants(last_rounds: &[u64]) -> Vec<Merchant> {
        last_rounds
            .iter()
            .enumerate()
            .map(|(i, &last_round)| Merchant {
                name: format!("shop-{i}").parse().unwrap(),
                identity: VerifyingKey([i as u8; 32]),
                fingerprint: sha256(&[i as u8]),
                not_after_ms: u64::MAX,
                revoked: false,
                last_round,
                prekeys_left: 1,
            })
            .collect()
    }

    fn plan() -> PrivacyPlan {
        PrivacyPlan::parse(crate::plans::FOUR_MERCHANTS.as_bytes()).unwrap()
    }

    #[test]
    fn too_few_are_no_cohort() {
        assert_eq!(fewest(&plan()), 4);
        assert!(choose(merchants(&[0, 0, 0]), &plan()).is_none());
        assert_eq!(choose(merchants(&[0, 0, 0, 0]), &plan()).unwrap().len(), 4);
    }

    #[test]
    fn of_too_many_the_least_recently_invited_come_first() {
        let cohort = choose(merchants(&[9, 3, 9, 1, 2, 9, 0]), &plan()).unwrap();
        let names: Vec<&str> = cohort.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["shop-0", "shop-1", "shop-3", "shop-4", "shop-6"]);
    }
}
