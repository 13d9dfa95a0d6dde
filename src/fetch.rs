//! One fetch however many callers wait (a "single flight"), and never a stale one stored.
//!
//! A fetch is registered under the key's shard lock. An insert or remove of the key takes it out of the registry under the
//! same lock: its result then goes to those who waited before and is not stored, and later callers begin a new one
//! (hole 33 in `docs/recovery.md`). The registration belongs to a guard: error, panic and success all deregister and
//! wake.

#[cfg(feature = "tokio")]
mod task;

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::task::Waker;

use perennial_wal::may_wait;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{Condvar, Mutex};
use crate::value::Value;
use crate::write::How;

/// The fetches under way for the keys of one index shard.
#[derive(Debug, Default)]
pub(crate) struct Flights(HashMap<Box<[u8]>, Arc<Flight>>);

impl Flights {
    /// Something newer happened to the key: whatever is being fetched for it is not stored.
    pub(crate) fn supersede(&mut self, key: &[u8]) {
        if !self.0.is_empty() && !perennial_failpoints::planted!("flight-not-superseded") {
            self.0.remove(key);
        }
    }

    /// Something newer happened to every key that begins so.
    pub(crate) fn supersede_prefix(&mut self, prefix: &[u8]) {
        self.0.retain(|key, _| !key.starts_with(prefix));
    }

    /// Something newer happened to every key.
    pub(crate) fn supersede_all(&mut self) {
        if !perennial_failpoints::planted!("flights-outlive-a-clear") {
            self.0.clear();
        }
    }

    /// True while nothing newer happened to the key since the flight began.
    pub(crate) fn is_newest(&self, key: &[u8], flight: &Arc<Flight>) -> bool {
        self.0
            .get(key)
            .is_some_and(|registered| Arc::ptr_eq(registered, flight))
    }

    fn land(&mut self, key: &[u8], flight: &Arc<Flight>) {
        if self.is_newest(key, flight) {
            self.0.remove(key);
        }
    }
}

/// One fetch under way.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    state: Mutex<State>,
    landed: Condvar,
    /// Tasks that wait. One that is gone is woken for nothing.
    tasks: Mutex<Vec<Waker>>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Flying,
    Landed(Result<Value>),
    /// The caller that fetched panicked: somebody else has to.
    Lost,
}

impl Flight {
    fn settle(&self, state: State) {
        let mut now = self.state.lock();
        if matches!(*now, State::Flying) {
            *now = state;
        }
        drop(now);
        self.landed.notify_all();
        // After the state: who came too late to be woken sees it.
        let tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.into_iter().for_each(Waker::wake);
    }

    /// Waits for the result; `None` when the fetching caller panicked.
    fn wait(&self) -> Option<Result<Value>> {
        let mut state = self.state.lock();
        loop {
            match &*state {
                State::Flying => state = self.landed.wait(state),
                State::Landed(result) => return Some(result.clone()),
                State::Lost => return None,
            }
        }
    }
}

/// Deregisters a flight and wakes its waiters, however the fetch ends.
struct Registered<E: Deref<Target = Engine>, K: Deref<Target = [u8]>> {
    engine: E,
    key: K,
    hash: u64,
    flight: Arc<Flight>,
}

/// By a thread, whose call it does not outlive.
type Borrowed<'a> = Registered<&'a Engine, &'a [u8]>;

impl<E: Deref<Target = Engine>, K: Deref<Target = [u8]>> Drop for Registered<E, K> {
    fn drop(&mut self) {
        self.engine
            .index
            .lock(self.hash)
            .extra()
            .land(&self.key, &self.flight);
        self.flight.settle(State::Lost);
    }
}

/// A fetch from before it was begun: its result is stored only if nothing newer happened to the key since.
pub(crate) struct Stake(Registered<Arc<Engine>, Arc<[u8]>>);

impl std::fmt::Debug for Stake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stake").field(&self.0.key).finish()
    }
}

impl Stake {
    pub(crate) fn key(&self) -> &[u8] {
        &self.0.key
    }

    /// Nothing newer happened to the key since.
    pub(crate) fn is_newest(&self) -> bool {
        let Registered {
            engine,
            key,
            hash,
            flight,
        } = &self.0;
        engine.index.lock(*hash).extra().is_newest(key, flight)
    }

    /// `at_once`: without waiting for room. Where there is none, it can be tried again.
    pub(crate) fn keep(&self, value: &[u8], at_once: bool) -> Result<crate::Inserted> {
        let how = How {
            only_for: Some(&self.0.flight),
            at_once,
            ..How::default()
        };
        self.0.engine.insert_how(&self.0.key, value, how)
    }
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error.into();
    Error::new(ErrorKind::Origin, format!("the fetch failed: {error}")).with_source(error)
}

impl Engine {
    pub(crate) fn get_or_fetch<T, E>(
        &self,
        key: &[u8],
        useless: impl Fn(&Value) -> bool,
        fetch: impl FnOnce() -> std::result::Result<T, E>,
    ) -> Result<Value>
    where
        T: Into<Value>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        loop {
            if let Some(value) = self.get(key)?.filter(|value| !useless(value)) {
                return Ok(value);
            }
            let hash = self.hash(key);
            let (flight, leads) = self.board(key, hash);
            if leads {
                return self.fly(
                    Registered {
                        engine: self,
                        key,
                        hash,
                        flight,
                    },
                    useless,
                    fetch,
                );
            }
            may_wait()?;
            self.counters.fetch_waits.add(1);
            if let Some(result) = flight.wait() {
                return result;
            }
        }
    }

    /// Joins the fetch under way for the key, or registers a new one; true for the one who has to fetch.
    fn board(&self, key: &[u8], hash: u64) -> (Arc<Flight>, bool) {
        let mut shard = self.index.lock(hash);
        let flights = &mut shard.extra().0;
        if let Some(flight) = flights.get(key) {
            return (Arc::clone(flight), false);
        }
        let flight = Arc::new(Flight::default());
        flights.insert(key.into(), Arc::clone(&flight));
        (flight, true)
    }

    fn fly<T, E>(
        &self,
        registered: Borrowed<'_>,
        useless: impl Fn(&Value) -> bool,
        fetch: impl FnOnce() -> std::result::Result<T, E>,
    ) -> Result<Value>
    where
        T: Into<Value>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        // Another's fetch may have landed between the miss and the registration.
        let landed = self.peek(registered.key)?;
        if let Some(value) = landed.filter(|value| !useless(value)) {
            registered.flight.settle(State::Landed(Ok(value.clone())));
            return Ok(value);
        }
        self.counters.fetches.add(1);
        let fetched = fetch().map(Into::into).map_err(failed);
        if let Ok(value) = &fetched {
            perennial_failpoints::site!("fetch::keep");
            self.keep_fetched(&registered, value);
        }
        perennial_failpoints::site!("fetch::land");
        registered.flight.settle(State::Landed(fetched.clone()));
        fetched
    }

    /// Registers a fetch that somebody else makes and waits for; what was registered for the key before is not stored.
    pub(crate) fn stake(self: &Arc<Self>, key: &Arc<[u8]>) -> Stake {
        let (hash, flight) = (self.hash(key), Arc::new(Flight::default()));
        let mut shard = self.index.lock(hash);
        shard.extra().0.insert((**key).into(), Arc::clone(&flight));
        Stake(Registered {
            engine: Arc::clone(self),
            key: Arc::clone(key),
            hash,
            flight,
        })
    }

    /// Stores what was fetched, unless something newer happened. The caller has the value either way.
    fn keep_fetched(&self, registered: &Borrowed<'_>, value: &Value) {
        let how = How {
            only_for: Some(&registered.flight),
            ..How::default()
        };
        self.count_kept(self.insert_how(registered.key, value, how));
    }

    fn count_kept(&self, kept: Result<crate::Inserted>) {
        match kept {
            Ok(crate::Inserted::Stored) => {}
            Ok(crate::Inserted::Rejected(_)) => self.counters.rejected.add(1),
            Err(error) => {
                tracing::debug!(%error, "a fetched value is not cached");
                self.counters.rejected.add(1);
            }
        }
    }
}
