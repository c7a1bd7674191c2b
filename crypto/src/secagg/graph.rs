//! Who is masked against whom, and who holds whose shares.
//!
//! Up to 255 participants form the *complete* graph: everybody masks against everybody and holds a share of everybody's
//! secrets, its own included (Bonawitz et al. 2017). Above, each has k neighbours only (Bell, Bonawitz, Gascón, Lepoint
//! and Raykova 2020, *Secure Single-Server Aggregation with (Poly)Logarithmic Overhead*): the participants stand on a
//! ring in an order drawn from `sid`, and each is joined to the k/2 next ones on either side. Shares go to these k.
//!
//! The invariants: being neighbours is mutual; a holder's point in a sharing is its place among the holders, counted
//! from 1, so at most 255 hold shares of one secret. The ring joined this way stays in one piece whichever k − 1
//! participants are taken out (Harary 1962), which is what [`super::threshold`] builds on.

use std::num::NonZeroU8;

use super::keys::Sid;
use super::participants::{ParticipantNumber, ParticipantSet};
use crate::identity::sha256;

/// An evaluation point of secret sharing: never 0, where the secret lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point(NonZeroU8);

impl Point {
    /// The point of the holder at `rank` among the holders of a secret, counted from 0; `None` from 255 on.
    pub fn of_rank(rank: usize) -> Option<Self> {
        u8::try_from(rank.checked_add(1)?).ok().and_then(NonZeroU8::new).map(Self)
    }

    /// The field element.
    pub fn get(self) -> u8 {
        self.0.get()
    }

    /// The holder's rank, counted from 0.
    pub fn rank(self) -> usize {
        usize::from(self.get()) - 1
    }
}

/// The graph of one round.
#[derive(Debug, Clone)]
pub struct Graph {
    participants: usize,
    /// `None` for the complete graph.
    ring: Option<Ring>,
}

#[derive(Debug, Clone)]
struct Ring {
    /// k, even.
    neighbours: usize,
    /// Who stands at each place.
    order: Vec<ParticipantNumber>,
    /// The place of each participant, by its position in the roster.
    places: Vec<usize>,
}

impl Graph {
    /// Everybody with everybody; `participants` is at most 255 (see [`super::threshold::ValidThreshold`]).
    pub fn complete(participants: u16) -> Self {
        Self { participants: usize::from(participants), ring: None }
    }

    /// The k-regular graph of the round `sid`: `neighbours` is even and below `participants` − 1.
    ///
    /// The order on the ring is that of SHA-256("forecastle/secagg/ring/v1" ‖ 0 ‖ sid ‖ number), the number in two bytes,
    /// big-endian.
    pub fn regular(participants: u16, neighbours: u16, sid: &Sid) -> Self {
        let everyone = ParticipantSet::first(usize::from(participants));
        let mut order: Vec<ParticipantNumber> = everyone.iter().collect();
        order.sort_by_cached_key(|number| {
            sha256(&[b"forecastle/secagg/ring/v1\0".as_slice(), &sid.0, &number.to_bytes()].concat()).0
        });
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, number)| places[number.position()] = place);
        let ring = Ring { neighbours: usize::from(neighbours), order, places };
        Self { participants: usize::from(participants), ring: Some(ring) }
    }

    /// Against whom `of` masks, in ascending order. Nobody for a number that is not in the roster.
    pub fn neighbours(&self, of: ParticipantNumber) -> Vec<ParticipantNumber> {
        let everyone = (0..self.participants).filter_map(ParticipantNumber::from_position);
        match &self.ring {
            _ if of.position() >= self.participants => Vec::new(),
            None => everyone.filter(|other| *other != of).collect(),
            Some(ring) => {
                let (n, place) = (self.participants, ring.places[of.position()]);
                let either_side = (1..=ring.neighbours / 2).flat_map(|step| [place + step, place + n - step]);
                let mut found: Vec<_> = either_side.map(|place| ring.order[place % n]).collect();
                found.sort_unstable();
                found
            }
        }
    }

    /// Who holds shares of the secrets of `of`, in ascending order: on the complete graph everybody, else its
    /// neighbours. The first has point 1.
    pub fn holders(&self, of: ParticipantNumber) -> Vec<ParticipantNumber> {
        match self.ring {
            None if of.position() < self.participants => ParticipantSet::first(self.participants).iter().collect(),
            _ => self.neighbours(of),
        }
    }

    /// Whose secrets `holder` holds shares of, in ascending order; the relation is mutual.
    pub fn subjects(&self, holder: ParticipantNumber) -> Vec<ParticipantNumber> {
        self.holders(holder)
    }

    /// How many hold shares of one secret.
    pub fn holders_each(&self) -> usize {
        self.ring.as_ref().map_or(self.participants, |ring| ring.neighbours)
    }

    /// How many others everybody masks against.
    pub fn neighbours_each(&self) -> usize {
        self.ring.as_ref().map_or(self.participants.saturating_sub(1), |ring| ring.neighbours)
    }
}

/// Whether `own`'s pairwise mask with `other` is added or subtracted. Both ends share the mask, so the two signs are
/// opposite: the lower number adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// The mask is added.
    Plus,
    /// The mask is subtracted.
    Minus,
}

impl Sign {
    pub(crate) fn of_pair(own: ParticipantNumber, other: ParticipantNumber) -> Self {
        if own < other { Self::Plus } else { Self::Minus }
    }

    pub(crate) fn opposite(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(n: u16) -> ParticipantNumber {
        ParticipantNumber::new(n).expect("not zero")
    }

    #[test]
    fn the_two_ends_of_a_pair_have_opposite_signs() {
        assert_eq!(Sign::of_pair(number(3), number(9)), Sign::of_pair(number(9), number(3)).opposite());
    }

    #[test]
    fn points_are_ranks_from_one_to_255() {
        assert_eq!(Point::of_rank(0).map(Point::get), Some(1));
        assert_eq!(Point::of_rank(254).map(|point| (point.get(), point.rank())), Some((255, 254)));
        assert_eq!(Point::of_rank(255), None);
        assert_eq!(Point::of_rank(usize::MAX), None);
    }

    #[test]
    fn on_the_complete_graph_everybody_holds_a_share_of_its_own_secret_too() {
        let graph = Graph::complete(4);
        assert_eq!(graph.holders(number(2)), [1, 2, 3, 4].map(number));
        assert_eq!(graph.neighbours(number(2)), [1, 3, 4].map(number));
        assert_eq!((graph.holders_each(), graph.neighbours_each()), (4, 3));
        assert!(graph.neighbours(number(5)).is_empty() && graph.holders(number(5)).is_empty());
    }

    #[test]
    fn another_round_has_another_ring() {
        let ring = |round: &[u8]| Graph::regular(300, 20, &sha256(round)).neighbours(number(7));
        assert_eq!(ring(b"a"), ring(b"a"));
        assert_ne!(ring(b"a"), ring(b"b"));
    }

    /// Whether everybody outside `gone` can be reached from everybody else outside it.
    fn in_one_piece(graph: &Graph, participants: u16, gone: &ParticipantSet) -> bool {
        let left = ParticipantSet::first(usize::from(participants)).difference(gone);
        let mut reached = ParticipantSet::new();
        let mut next: Vec<_> = left.iter().take(1).collect();
        while let Some(at) = next.pop() {
            if reached.insert(at) {
                next.extend(graph.neighbours(at).into_iter().filter(|other| left.contains(*other)));
            }
        }
        reached == left
    }

    #[test]
    fn k_taken_out_can_cut_the_ring_and_k_less_one_cannot() {
        let (n, k, sid) = (40, 6, sha256(b"round"));
        let graph = Graph::regular(n, k, &sid);
        let order = &graph.ring.as_ref().expect("regular").order;
        // Two gaps of k/2: what lies between them is cut off.
        let gaps: ParticipantSet = [3, 4, 5, 20, 21, 22].iter().map(|place| order[*place]).collect();
        assert!(!in_one_piece(&graph, n, &gaps));
        for spared in gaps.iter() {
            assert!(in_one_piece(&graph, n, &gaps.clone().without(spared)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn neighbourhoods_are_mutual_and_all_of_size_k(n in 8u16..400, half in 1u16..60, seed in any::<u64>()) {
            let k = (2 * half).min((n - 2) / 2 * 2);
            let graph = Graph::regular(n, k, &sha256(&seed.to_be_bytes()));
            for u in ParticipantSet::first(usize::from(n)).iter() {
                let neighbours = graph.neighbours(u);
                prop_assert_eq!(neighbours.len(), usize::from(k));
                prop_assert!(neighbours.is_sorted_by(|a, b| a < b) && !neighbours.contains(&u));
                prop_assert!(neighbours.iter().all(|v| graph.neighbours(*v).contains(&u)));
            }
        }

        #[test]
        fn fewer_than_k_removals_never_cut_the_graph(n in 12u16..60, half in 1u16..8, seed in any::<u64>(), gone in any::<u64>()) {
            let k = (2 * half).min((n - 2) / 2 * 2);
            let graph = Graph::regular(n, k, &sha256(&seed.to_be_bytes()));
            let order = &graph.ring.as_ref().expect("regular").order;
            // The worst that k − 1 can do: a gap of k/2 and one of k/2 − 1, anywhere.
            let (first, second) = (gone as usize % usize::from(n), (gone >> 32) as usize % usize::from(n));
            let half = usize::from(k / 2);
            let places = (0..half).map(|i| first + i).chain((0..half - 1).map(|i| second + i));
            let gone: ParticipantSet = places.map(|place| order[place % usize::from(n)]).collect();
            prop_assert!(in_one_piece(&graph, n, &gone));
        }
    }
}
