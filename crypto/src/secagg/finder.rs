//! How many neighbours k, and which sharing threshold t, a round of n participants needs: the (k, t) finder.
//!
//! After Bell et al. 2020, §3 and appendix, for a server that is honest until the graph is drawn. Of n participants, A
//! collude with the server and D drop out; who they are does not depend on the ring's order, so a participant's k
//! neighbours are a random sample. Three things may go wrong, the first two against privacy (2⁻⁴¹ each, together 2⁻⁴⁰),
//! the third against the round (2⁻²⁰):
//!
//! * the ring without colluders and drop-outs falls apart: for that, two gaps of k/2 adjacent places must be gone, at one
//!   of n(n−k−1)/2 pairs of places, each gone with probability C(A+D, k)/C(n, k);
//! * somebody has more than a colluding neighbours, by the union bound over all n with X ~ Hypergeometric(n, A, k): then
//!   two quorums of t may have no honest member in common, which 2t > k + a excludes;
//! * somebody's surviving neighbours, Hypergeometric(n, n − D, k), are fewer than t.
//!
//! Left out on purpose: a server that knows the ring before it chooses who drops out. It needs no luck to make two gaps,
//! and for it [`super::threshold`] asks for so many neighbours that no choice makes them.

use libm::lgamma;

/// Privacy may fail with probability 2^-40 a round.
pub const SECURITY_BITS: f64 = 40.0;
/// A round within its bounds may fail with probability 2^-20.
pub const CORRECTNESS_BITS: f64 = 20.0;

/// What a round has to withstand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adversity {
    /// n.
    pub participants: u16,
    /// A, who collude with the server.
    pub colluders: u16,
    /// D, who drop out.
    pub drop_outs: u16,
}

/// A degree and a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Degree {
    /// k, even.
    pub neighbours: u16,
    /// t, of the k shares of a secret.
    pub threshold: u16,
}

/// The smallest k, with its t, that withstands `adversity`; `None` when none below n − 1 does.
pub fn find(adversity: Adversity) -> Option<Degree> {
    (1..).map(|half| 2 * half).take_while(|k| *k + 1 < adversity.participants).find_map(|neighbours| {
        let threshold = threshold_for(adversity, neighbours)?;
        Some(Degree { neighbours, threshold })
    })
}

/// Whether k and t withstand `adversity`.
pub fn holds(adversity: Adversity, degree: Degree) -> bool {
    degree.neighbours >= 2
        && degree.neighbours.is_multiple_of(2)
        && degree.neighbours + 1 < adversity.participants
        && threshold_for(adversity, degree.neighbours).is_some_and(|least| degree.threshold >= least)
        && degree.threshold <= surviving_neighbours(adversity, degree.neighbours)
}

/// The smallest t that withstands `adversity` at this k, two at least.
fn threshold_for(adversity: Adversity, neighbours: u16) -> Option<u16> {
    if ln_odds_of_falling_apart(adversity, neighbours) >= -(SECURITY_BITS + 1.0) * std::f64::consts::LN_2 {
        return None;
    }
    let threshold = ((neighbours + colluding_neighbours(adversity, neighbours)) / 2 + 1).max(2);
    (threshold <= surviving_neighbours(adversity, neighbours)).then_some(threshold)
}

/// ln of the bound on the odds that the honest survivors are not in one piece.
fn ln_odds_of_falling_apart(adversity: Adversity, neighbours: u16) -> f64 {
    let Adversity { participants, colluders, drop_outs } = adversity;
    let gone = u32::from(colluders) + u32::from(drop_outs);
    let (n, k) = (f64::from(participants), f64::from(neighbours));
    if u32::from(neighbours) > gone {
        return f64::NEG_INFINITY;
    }
    let pairs_of_gaps = n.ln() + (n - k - 1.0).ln() - std::f64::consts::LN_2;
    pairs_of_gaps + ln_choose(f64::from(gone), k) - ln_choose(n, k)
}

/// The smallest a such that, but for odds of 2^-41, nobody has more than a colluding neighbours.
fn colluding_neighbours(adversity: Adversity, neighbours: u16) -> u16 {
    let Adversity { participants, colluders, .. } = adversity;
    let allowed = 2f64.powf(-SECURITY_BITS - 1.0) / f64::from(participants);
    let mut more = 0.0;
    // From above, so that the tail is summed smallest first.
    for a in (1..=neighbours).rev() {
        more += hypergeometric(participants, colluders, neighbours, a);
        if more >= allowed {
            return a;
        }
    }
    0
}

/// The largest s such that, but for odds of 2^-20, everybody has at least s surviving neighbours.
fn surviving_neighbours(adversity: Adversity, neighbours: u16) -> u16 {
    let Adversity { participants, drop_outs, .. } = adversity;
    let allowed = 2f64.powf(-CORRECTNESS_BITS) / f64::from(participants);
    let survivors = participants.saturating_sub(drop_outs);
    let mut fewer = 0.0;
    for s in 0..neighbours {
        fewer += hypergeometric(participants, survivors, neighbours, s);
        if fewer >= allowed {
            return s;
        }
    }
    neighbours
}

/// P[X = x] for the number X of marked ones among `drawn` of `total`, `marked` of which are marked.
fn hypergeometric(total: u16, marked: u16, drawn: u16, x: u16) -> f64 {
    if x > marked || x > drawn || drawn - x > total - marked {
        return 0.0;
    }
    let choose = |of: u16, some: u16| ln_choose(f64::from(of), f64::from(some));
    (choose(marked, x) + choose(total - marked, drawn - x) - choose(total, drawn)).exp()
}

fn ln_choose(of: f64, some: f64) -> f64 {
    lgamma(of + 1.0) - lgamma(some + 1.0) - lgamma(of - some + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn adversity(participants: u16, colluding: f64, dropping: f64) -> Adversity {
        let share = |rate: f64| (rate * f64::from(participants)).floor() as u16;
        Adversity { participants, colluders: share(colluding), drop_outs: share(dropping) }
    }

    #[test]
    fn the_published_degrees_are_found() {
        // Bell et al.'s finder as published with its reference implementation: security 40, correctness 20.
        for (n, colluding, dropping, k, t) in [
            (100, 0.05, 0.05, 16, 11),
            (1_000, 0.05, 0.05, 52, 37),
            (10_000, 0.05, 0.05, 62, 44),
            (100, 0.33, 0.05, 42, 37),
            (1_000, 0.33, 0.05, 132, 109),
            (10_000, 0.33, 0.05, 178, 146),
            (100, 0.05, 0.33, 72, 39),
            (1_000, 0.05, 0.33, 398, 223),
            (10_000, 0.05, 0.33, 746, 420),
            (100, 0.3, 0.3, 92, 62),
            (1_000, 0.3, 0.3, 872, 584),
            (10_000, 0.3, 0.3, 4_822, 3_230),
        ] {
            let found = find(adversity(n, colluding, dropping)).expect("published");
            assert_eq!((found.neighbours, found.threshold), (k, t), "{n} {colluding} {dropping}");
        }
    }

    #[test]
    fn what_cannot_be_withstood_has_no_degree() {
        assert_eq!(find(adversity(20, 0.5, 0.4)), None);
        assert_eq!(find(Adversity { participants: 3, colluders: 0, drop_outs: 0 }), None);
    }

    #[test]
    fn the_distribution_is_the_hypergeometric_one() {
        // 4 of 12 drawn from 15, 6 of them marked: C(6,4)·C(9,8)/C(15,12) = 135/455.
        assert!((hypergeometric(15, 6, 12, 4) - 135.0 / 455.0).abs() < 1e-12);
        let whole: f64 = (0..=43).map(|x| hypergeometric(187, 105, 43, x)).sum();
        assert!((whole - 1.0).abs() < 1e-10, "{whole}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_is_found_holds_and_less_does_not(n in 260u16..3_000, colluding in 0.0f64..0.2, dropping in 0.0f64..0.2) {
            let adversity = adversity(n, colluding, dropping);
            if let Some(found) = find(adversity) {
                prop_assert!(holds(adversity, found));
                let lower = Degree { threshold: found.threshold - 1, ..found };
                let fewer = Degree { neighbours: found.neighbours.saturating_sub(2), ..found };
                prop_assert!(!holds(adversity, lower) && !holds(adversity, fewer));
            }
        }
    }
}
