//! Which connections are open, and which gives way when there are too many.
//!
//! The invariant: nobody is kept out by what somebody else holds open. A peer that has its full number gives up its own
//! oldest connection for a new one, so a merchant that lost its network gets in again at once. Where all places are taken,
//! the stranger with the most gives one up, and a merchant only where there are no strangers. A handshake that is under
//! way counts for the stranger it still is.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::peer::Peer;

/// Open connections with one certificate. A client has one, and a second while the first is being lost.
pub(crate) const CONNECTIONS_PER_MERCHANT_MAX: usize = 8;
/// Open connections without a certificate, handshakes included, from one address. Merchants behind one address join one
/// after another in a moment each.
const CONNECTIONS_PER_ADDRESS_MAX: usize = 64;

/// The open connections.
pub(crate) struct Connections {
    /// Of everybody together.
    most: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    total: usize,
    /// By peer, the oldest first. A connection ends when its sender is dropped.
    of: HashMap<Peer, BTreeMap<u64, oneshot::Sender<()>>>,
}

/// A connection's place; given up when dropped.
pub(crate) struct Place {
    connections: Arc<Connections>,
    peer: Peer,
    number: u64,
}

impl Connections {
    /// None yet, and never more than `most`.
    pub(crate) fn up_to(most: usize) -> Self {
        Self { most, open: Mutex::default() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection of `peer`, what resolves when it has to give way, and who gives way now.
    pub(crate) fn enter(self: &Arc<Self>, peer: Peer) -> (Place, oneshot::Receiver<()>, Option<Peer>) {
        let (sender, ended) = oneshot::channel();
        let mut open = self.open();
        let number = open.next;
        open.next += 1;
        open.put(peer, number, sender);
        let gave_way = open.make_room(peer, self.most);
        (Place { connections: Arc::clone(self), peer, number }, ended, gave_way)
    }
}

impl Place {
    /// It has turned out to be `peer`'s. Returns who gives way to it.
    pub(crate) fn belongs_to(&mut self, peer: Peer) -> Option<Peer> {
        let connections = Arc::clone(&self.connections);
        let mut open = connections.open();
        // Gone where it had to give way itself in this moment: its end is on the way.
        let sender = open.remove(self.peer, self.number)?;
        self.peer = peer;
        open.put(peer, self.number, sender);
        open.make_room(peer, connections.most)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().remove(self.peer, self.number);
    }
}

impl Open {
    fn put(&mut self, peer: Peer, number: u64, sender: oneshot::Sender<()>) {
        self.of.entry(peer).or_default().insert(number, sender);
        self.total += 1;
    }

    fn remove(&mut self, peer: Peer, number: u64) -> Option<oneshot::Sender<()>> {
        let places = self.of.get_mut(&peer)?;
        let sender = places.remove(&number)?;
        if places.is_empty() {
            self.of.remove(&peer);
        }
        self.total -= 1;
        Some(sender)
    }

    /// Ends one connection where `peer` has one too many, or everybody together more than `most_together`.
    fn make_room(&mut self, peer: Peer, most_together: usize) -> Option<Peer> {
        let most = match peer {
            Peer::Certified(_) => CONNECTIONS_PER_MERCHANT_MAX,
            Peer::Stranger(_) => CONNECTIONS_PER_ADDRESS_MAX,
        };
        let victim = if self.of.get(&peer).is_some_and(|places| places.len() > most) {
            peer
        } else if self.total > most_together {
            let rank = |(peer, places): &(&Peer, &BTreeMap<_, _>)| (matches!(peer, Peer::Stranger(_)), places.len());
            *self.of.iter().max_by_key(rank)?.0
        } else {
            return None;
        };
        let (&oldest, _) = self.of.get(&victim)?.first_key_value()?;
        self.remove(victim, oldest);
        Some(victim)
    }
}

#[cfg(test)]
mod tests {
    use forecastle_crypto::identity::sha256;

    use super::*;

    const MOST: usize = 768;

    fn merchant(n: usize) -> Peer {
        Peer::Certified(sha256(&n.to_be_bytes()))
    }

    fn stranger(n: u16) -> Peer {
        Peer::new(&[], Some(([10, 0, (n >> 8) as u8, n as u8], 1).into()))
    }

    type Held = (Place, oneshot::Receiver<()>, Option<Peer>);

    fn ended(held: &mut Held) -> bool {
        !matches!(held.1.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    #[test]
    fn a_merchant_with_its_full_number_gives_up_its_own_oldest() {
        let connections = Arc::new(Connections::up_to(MOST));
        let mut other = connections.enter(merchant(1));
        let mut held: Vec<Held> = (0..CONNECTIONS_PER_MERCHANT_MAX).map(|_| connections.enter(merchant(0))).collect();
        assert!(held.iter_mut().all(|one| one.2.is_none() && !ended(one)));
        let mut newest = connections.enter(merchant(0));
        assert_eq!(newest.2, Some(merchant(0)));
        assert!(ended(&mut held[0]) && !ended(&mut held[1]) && !ended(&mut newest) && !ended(&mut other));
        // One that ended by itself makes room.
        drop(held.pop());
        assert_eq!(connections.enter(merchant(0)).2, None);
    }

    #[test]
    fn of_all_places_strangers_give_way_first_and_the_one_with_the_most_before_the_others() {
        let connections = Arc::new(Connections::up_to(MOST));
        let mut many: Vec<Held> = (0..CONNECTIONS_PER_ADDRESS_MAX).map(|_| connections.enter(stranger(0))).collect();
        let mut lone = connections.enter(stranger(1));
        let each = CONNECTIONS_PER_MERCHANT_MAX;
        let left = MOST - many.len() - 1;
        let merchants: Vec<Held> = (0..left).map(|n| connections.enter(merchant(n / each))).collect();
        assert!(merchants.iter().all(|held| held.2.is_none()));
        let next = connections.enter(merchant(9_999));
        assert_eq!(next.2, Some(stranger(0)));
        assert!(ended(&mut many[0]) && !ended(&mut many[1]) && !ended(&mut lone));
        drop((many, lone));
        // Without strangers the merchant with the most gives way, not the newcomer with its first.
        let filled: Vec<Held> =
            (0..CONNECTIONS_PER_ADDRESS_MAX).map(|n| connections.enter(merchant(10_000 + n))).collect();
        assert!(filled.iter().all(|held| held.2.is_none()));
        let gave = connections.enter(merchant(20_000)).2.unwrap();
        assert!((0..left / each + 1).any(|n| gave == merchant(n)));
    }

    #[test]
    fn a_handshake_that_ends_with_a_certificate_counts_for_the_merchant() {
        let connections = Arc::new(Connections::up_to(MOST));
        let mut held: Vec<Held> =
            (0..CONNECTIONS_PER_MERCHANT_MAX + 1).map(|_| connections.enter(stranger(0))).collect();
        let gave: Vec<_> = held.iter_mut().map(|one| one.0.belongs_to(merchant(0))).collect();
        assert_eq!(gave.iter().flatten().count(), 1);
        assert!(ended(&mut held[0]) && !ended(&mut held[1]));
        drop(held);
        assert_eq!(connections.open().total, 0);
        assert!(connections.open().of.is_empty());
    }
}
