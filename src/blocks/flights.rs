//! One fetch per block however many readers wait for it (B1 to B3 in `docs/concurrency.md`).
//!
//! ```text
//!   begun under the registry's lock ──► landed: the waiters have it ──► over: kept or not, and out of the registry
//! ```
//! A [`Claim`](crate::blocks::registry::Claim) owns what is registered: however the thread that has it ends, the flight lands, is over and is gone.

use std::sync::{Arc, Weak};

use crate::blocks::age::AsOf;
use crate::blocks::party::Party;
use crate::blocks::queue::Job;
use crate::blocks::request::Priority;
use crate::blocks::wait::Parker;
use crate::error::Error;
use crate::sync::{Mutex, MutexGuard};

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
    /// Once it has begun: those that it is given up with.
    party: Option<Arc<Party<T>>>,
}

/// How somebody boards.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket<'a> {
    /// Who waits; nobody, for a fetch ahead of its time.
    pub(super) parker: Option<&'a Arc<Parker>>,
    pub(super) populate: bool,
    pub(super) priority: Priority,
}

impl<T> State<T> {
    fn leave(&mut self, parker: &Arc<Parker>) {
        self.waiters.retain(|waiter| !Arc::ptr_eq(waiter, parker));
    }

    /// It has not landed, and nobody waits for it.
    fn is_deserted(&self) -> bool {
        self.landed.is_none() && self.waiters.is_empty()
    }
}

impl<T: Clone> Flight<T> {
    pub(super) fn new(ticket: Ticket<'_>) -> Self {
        let state = State {
            landed: None,
            over: None,
            as_of: AsOf::Open,
            waiters: ticket.parker.map(Arc::clone).into_iter().collect(),
            populate: ticket.populate,
            wanted: ticket.priority,
            job: Weak::new(),
            party: None,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// One more waits. The job to be moved to the front, if there is one.
    pub(super) fn join(&self, ticket: Ticket<'_>) -> Option<Arc<Job>> {
        let mut state = self.state.lock();
        state.populate |= ticket.populate;
        let parker = ticket.parker?;
        if let Some(party) = state.party.as_ref().filter(|_| state.is_deserted()) {
            party.is_joined();
        }
        state.waiters.push(Arc::clone(parker));
        if ticket.priority >= state.wanted {
            return None;
        }
        state.wanted = ticket.priority;
        state.job.upgrade()
    }

    /// It has begun, with these.
    pub(super) fn begins(&self, party: Option<&Arc<Party<T>>>, as_of: AsOf) {
        let mut state = self.state.lock();
        (state.as_of, state.party) = (as_of, party.cloned());
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

    /// One less waits. False: nothing has landed yet, so all is as it was, and the registry's lock is to be taken for it.
    pub(super) fn leave_landed(&self, parker: &Arc<Parker>) -> bool {
        let mut state = self.state.lock();
        if state.landed.is_some() {
            state.leave(parker);
        }
        state.landed.is_some()
    }

    /// The same under that lock. The party of a flight that nobody waits for any more.
    pub(super) fn leave(&self, parker: &Arc<Parker>) -> Option<Arc<Party<T>>> {
        let mut state = self.state.lock();
        state.leave(parker);
        state.party.clone().filter(|_| state.is_deserted())
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
    pub(super) fn land(&self, landing: Landing<T>) {
        let mut state = self.state.lock();
        if state.landed.is_none() {
            state.landed = Some(landing);
        }
        Self::wake_all(state);
    }

    pub(super) fn end(&self, kept: bool) {
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

    pub(super) fn has_no_waiters(&self) -> bool {
        self.state.lock().waiters.is_empty()
    }
}
