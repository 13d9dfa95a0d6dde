//! All flights under way, by key; and the claims of who flies them (B1 to B3 in `docs/concurrency.md`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::blocks::age::{AsOf, Since};
use crate::blocks::flights::{Flight, Landing, Ticket};
use crate::blocks::party::{Left, Party};
use crate::blocks::queue::Job;
use crate::blocks::wait::Parker;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// What a flight is registered under.
pub(super) type Key = Arc<[u8]>;

pub(super) type ByKey<T> = HashMap<Key, Arc<Flight<T>>>;

/// A flight that was boarded, and the claim of who began it.
pub(super) type Seat<T> = (Arc<Flight<T>>, Option<Claim<T>>);

/// All fetches under way, by key.
#[derive(Debug)]
pub(super) struct Registry<T> {
    flights: Mutex<ByKey<T>>,
    /// Flights that are over: who finds it changed looks into the cache once more (B3).
    landings: AtomicU64,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self {
            flights: Mutex::default(),
            landings: AtomicU64::new(0),
        }
    }
}

impl<T: Clone> Registry<T> {
    pub(super) fn landings(&self) -> u64 {
        self.landings.load(Ordering::Acquire)
    }

    pub(super) fn len(&self) -> usize {
        self.flights.lock().len()
    }

    /// Joins the flight of each key, or begins it: then there is a claim. All under one lock, so that neighbours which
    /// nobody fetches become one run. `tell` hears of jobs that have become urgent. A flight that is as of an earlier moment than
    /// `since` is left to those who wait for it, and a new one takes its place.
    pub(super) fn board(
        self: &Arc<Self>,
        keys: impl Iterator<Item = Key>,
        ticket: Ticket<'_>,
        since: Since,
        mut tell: impl FnMut(Arc<Job>),
    ) -> Vec<Seat<T>> {
        let mut flights = self.flights.lock();
        let board = |key: Key| {
            if let Some(flight) = flights.get(&key)
                && flight.as_of().is_since(since)
            {
                flight.join(ticket).into_iter().for_each(&mut tell);
                return (Arc::clone(flight), None);
            }
            let flight = Arc::new(Flight::new(ticket));
            flights.insert(Arc::clone(&key), Arc::clone(&flight));
            let claim = Claim {
                registry: Arc::clone(self),
                key,
                flight: Arc::clone(&flight),
                over: false,
            };
            (flight, Some(claim))
        };
        keys.map(board).collect()
    }

    /// Under the lock that boarding takes. Nothing when nobody waits for any of them, and nobody will (B2). Else they have begun; and
    /// what is given says when nobody waits any more.
    pub(super) fn begin_or_give_up(
        &self,
        claims: &[Claim<T>],
        wanted_anyway: bool,
        now_ns: u64,
    ) -> Option<Arc<Left>> {
        let mut flights = self.flights.lock();
        let waited_for = claims.iter().filter(|claim| !claim.flight.has_no_waiters());
        let waited_for = waited_for.count();
        if !wanted_anyway && waited_for == 0 {
            claims.iter().for_each(|claim| claim.leave(&mut flights));
            return None;
        }
        let party = (!wanted_anyway).then(|| Party::new(claims, waited_for));
        for claim in claims {
            let as_of = AsOf::Asked(now_ns.into());
            claim.flight.begins(party.as_ref(), as_of);
        }
        Some(party.map(|party| party.left()).unwrap_or_default())
    }

    /// Somebody who waited does so no more. Who is the last of all that wait for a party gives it up.
    pub(super) fn leave(&self, flight: &Flight<T>, parker: &Arc<Parker>) {
        if flight.leave_landed(parker) {
            return;
        }
        let given_up = {
            let mut flights = self.flights.lock();
            let party = flight.leave(parker).filter(|party| party.is_left());
            if let Some(party) = &party {
                party.unregister(&mut flights);
                // As with a claim that leaves.
                self.landings.fetch_add(1, Ordering::AcqRel);
            }
            party
        };
        // Outside of the lock: it wakes.
        if let Some(party) = given_up {
            party.left().tell();
        }
    }

    /// Nobody joins what is under way for keys that begin so; who waits already gets it.
    pub(super) fn ground(&self, prefix: &[u8]) {
        self.flights
            .lock()
            .retain(|key, _| !key.starts_with(prefix));
    }
}

/// The right and the duty to fly: a registered flight.
#[derive(Debug)]
pub(super) struct Claim<T: Clone> {
    registry: Arc<Registry<T>>,
    pub(super) key: Key,
    pub(super) flight: Arc<Flight<T>>,
    over: bool,
}

impl<T: Clone> Claim<T> {
    fn leave(&self, flights: &mut ByKey<T>) {
        let registered = flights.get(&self.key);
        if registered.is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            flights.remove(&self.key);
        }
        // Who misses the flight now, and looked into the cache before, sees that it has to look again.
        self.registry.landings.fetch_add(1, Ordering::AcqRel);
    }

    /// Nobody joins any more.
    pub(super) fn seal(&self) {
        self.leave(&mut self.registry.flights.lock());
    }

    /// All who wait have it. What is no block is for those alone who wait by now, so nobody joins any more: who did would
    /// be told of a failure from before he came, or look for somebody who flies where nobody does.
    pub(super) fn land(&self, landing: Landing<T>) {
        if !matches!(landing, Landing::Good(_)) {
            self.seal();
        }
        self.flight.land(landing);
    }

    /// Lands, and nobody joins it any more: who comes now is to find its answer elsewhere.
    pub(super) fn conclude(self, landing: Landing<T>) {
        self.seal();
        self.land(landing);
        self.end(false);
    }

    /// It is in the cache, or will not be.
    pub(super) fn end(mut self, kept: bool) {
        self.end_now(kept);
    }

    fn end_now(&mut self, kept: bool) {
        self.over = true;
        self.leave(&mut self.registry.flights.lock());
        self.flight.end(kept);
    }
}

impl<T: Clone> Drop for Claim<T> {
    fn drop(&mut self) {
        if !self.over && !perennial_failpoints::planted!("flight-leaked") {
            self.land(Landing::Lost);
            self.end_now(false);
        }
    }
}
