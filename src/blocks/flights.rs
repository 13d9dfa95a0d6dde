//! One fetch per block however many readers wait for it (B1 to B3 in `docs/concurrency.md`).
//!
//! ```text
//!   begun under the registry's lock ──► landed: the waiters have it ──► over: kept or not, and out of the registry
//! ```
//! A [`Claim`] owns what is registered: however the thread that has it ends, the flight lands, is over and is gone.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::blocks::age::{AsOf, Since};
use crate::blocks::queue::Job;
use crate::blocks::request::Priority;
use crate::blocks::wait::Parker;
use crate::error::Error;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// How a flight ended.
#[derive(Debug, Clone)]
pub(super) enum Landing<T> {
    Good(T),
    Failed(Error),
    /// The object has another version now.
    Changed,
    /// Who flew it is gone: somebody else has to.
    Lost,
}

/// One fetch under way.
#[derive(Debug)]
pub(super) struct Flight<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    landed: Option<Landing<T>>,
    /// True: it was kept.
    over: Option<bool>,
    as_of: AsOf,
    waiters: Vec<Arc<Parker>>,
    /// Whether anybody wants it kept.
    populate: bool,
    /// The most urgent of those who wait for it.
    wanted: Priority,
    job: Weak<Job>,
}

/// How somebody boards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket<'a> {
    /// Who waits; nobody, for a fetch ahead of its time.
    pub(super) parker: Option<&'a Arc<Parker>>,
    pub(super) populate: bool,
    pub(super) priority: Priority,
}

impl<T: Clone> Flight<T> {
    fn new(ticket: Ticket<'_>) -> Self {
        let state = State {
            landed: None,
            over: None,
            as_of: AsOf::Open,
            waiters: ticket.parker.map(Arc::clone).into_iter().collect(),
            populate: ticket.populate,
            wanted: ticket.priority,
            job: Weak::new(),
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// One more waits. The job to be moved to the front, if there is one.
    fn join(&self, ticket: Ticket<'_>) -> Option<Arc<Job>> {
        let mut state = self.state.lock();
        state.waiters.extend(ticket.parker.map(Arc::clone));
        state.populate |= ticket.populate;
        if ticket.priority >= state.wanted || ticket.parker.is_none() {
            return None;
        }
        state.wanted = ticket.priority;
        state.job.upgrade()
    }

    /// How it ended, once it has.
    pub(super) fn landed(&self) -> Option<Landing<T>> {
        self.state.lock().landed.clone()
    }

    /// Whether it was kept, once that is known.
    pub(super) fn over(&self) -> Option<bool> {
        self.state.lock().over
    }

    /// What the answer is as of.
    pub(super) fn as_of(&self) -> AsOf {
        self.state.lock().as_of
    }

    pub(super) fn is_as_of(&self, as_of: AsOf) {
        self.state.lock().as_of = as_of;
    }

    pub(super) fn leave(&self, parker: &Arc<Parker>) {
        let mut state = self.state.lock();
        state.waiters.retain(|waiter| !Arc::ptr_eq(waiter, parker));
    }

    /// The job that flies it waits in a queue. How urgent it has become meanwhile.
    pub(super) fn is_queued(&self, job: &Arc<Job>) -> Priority {
        let mut state = self.state.lock();
        state.job = Arc::downgrade(job);
        state.wanted
    }

    /// Whether anybody wants it kept.
    pub(super) fn is_to_be_kept(&self) -> bool {
        self.state.lock().populate
    }

    /// The first landing counts.
    fn land(&self, landing: Landing<T>) {
        let mut state = self.state.lock();
        if state.landed.is_none() {
            state.landed = Some(landing);
        }
        Self::wake_all(state);
    }

    fn end(&self, kept: bool) {
        let mut state = self.state.lock();
        if state.over.is_none() {
            state.over = Some(kept);
        }
        Self::wake_all(state);
    }

    /// Outside of the lock: a task that ends by being woken leaves its flights.
    fn wake_all(state: MutexGuard<'_, State<T>>) {
        let waiters = state.waiters.clone();
        drop(state);
        waiters.iter().for_each(|waiter| waiter.unpark());
    }

    fn has_no_waiters(&self) -> bool {
        self.state.lock().waiters.is_empty()
    }
}

type ByKey<T> = HashMap<Box<[u8]>, Arc<Flight<T>>>;

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
        keys: impl Iterator<Item = Box<[u8]>>,
        ticket: Ticket<'_>,
        since: Since,
        mut tell: impl FnMut(Arc<Job>),
    ) -> Vec<Seat<T>> {
        let mut flights = self.flights.lock();
        let board = |key: Box<[u8]>| {
            if let Some(flight) = flights.get(&key)
                && flight.as_of().is_since(since)
            {
                flight.join(ticket).into_iter().for_each(&mut tell);
                return (Arc::clone(flight), None);
            }
            let flight = Arc::new(Flight::new(ticket));
            flights.insert(key.clone(), Arc::clone(&flight));
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

    /// Under the lock that boarding takes: true when nobody waits for any of them, and nobody will. Else they have begun.
    pub(super) fn begin_or_give_up(
        &self,
        claims: &[Claim<T>],
        wanted_anyway: bool,
        now_ns: u64,
    ) -> bool {
        let mut flights = self.flights.lock();
        let unwanted = || claims.iter().all(|claim| claim.flight.has_no_waiters());
        if !wanted_anyway && unwanted() {
            claims.iter().for_each(|claim| claim.leave(&mut flights));
            return true;
        }
        for claim in claims {
            claim.flight.is_as_of(AsOf::Asked(now_ns.into()));
        }
        false
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
    pub(super) key: Box<[u8]>,
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
