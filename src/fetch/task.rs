//! The same single flights for tasks: threads and tasks wait for each other's fetches.
//!
//! The registration lives in the future that fetches. Dropped at whatever point, it deregisters and wakes, and one of those who
//! waited fetches instead.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use super::{Flight, Registered, State, failed};
use crate::engine::Engine;
use crate::error::Result;
use crate::tasks::AsyncCache;
use crate::value::{Inserted, Rejection, Value};
use crate::write::How;

/// By a future, which may hand it to a thread.
type Owned = Registered<Arc<Engine>, Box<[u8]>>;

impl Flight {
    /// The result; `None` when the fetching caller is gone.
    async fn landed(&self) -> Option<Result<Value>> {
        poll_fn(|task| {
            // Before the look: who lands after it wakes.
            let waker = task.waker().clone();
            let mut tasks = self.tasks.lock();
            let known = tasks.iter().any(|known| known.will_wake(&waker));
            if !known {
                tasks.push(waker);
            }
            drop(tasks);
            match &*self.state.lock() {
                State::Flying => Poll::Pending,
                State::Landed(result) => Poll::Ready(Some(result.clone())),
                State::Lost => Poll::Ready(None),
            }
        })
        .await
    }
}

impl Owned {
    fn keep(&self, value: &Value, at_once: bool) -> Result<Inserted> {
        let how = How {
            only_for: Some(&self.flight),
            at_once,
            ..How::default()
        };
        self.engine.insert_how(&self.key, value, how)
    }
}

impl AsyncCache {
    pub(crate) async fn fetch_once<T, E, F>(
        &self,
        key: &[u8],
        fetch: impl FnOnce() -> F,
    ) -> Result<Value>
    where
        F: Future<Output = std::result::Result<T, E>>,
        T: Into<Value>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let engine = self.cache().shared_engine();
        let hash = engine.hash(key);
        loop {
            if let Some(value) = self.get(key).await? {
                return Ok(value);
            }
            let (flight, leads) = engine.board(key, hash);
            if leads {
                let registered = Registered {
                    engine: Arc::clone(engine),
                    key: key.into(),
                    hash,
                    flight,
                };
                return self.lead(registered, fetch).await;
            }
            engine.counters.fetch_waits.add(1);
            if let Some(result) = flight.landed().await {
                return result;
            }
        }
    }

    async fn lead<T, E, F>(&self, registered: Owned, fetch: impl FnOnce() -> F) -> Result<Value>
    where
        F: Future<Output = std::result::Result<T, E>>,
        T: Into<Value>,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let flight = Arc::clone(&registered.flight);
        if let Some(value) = self.landed_meanwhile(&registered).await? {
            flight.settle(State::Landed(Ok(value.clone())));
            return Ok(value);
        }
        let engine = Arc::clone(&registered.engine);
        engine.counters.fetches.add(1);
        let fetched = fetch().await.map(Into::into).map_err(failed);
        let Ok(value) = &fetched else {
            flight.settle(State::Landed(fetched.clone()));
            return fetched;
        };
        let at_once = if engine.takes_at_once(&registered.key, value) {
            registered.keep(value, true)
        } else {
            Ok(Inserted::Rejected(Rejection::Busy))
        };
        if !matches!(at_once, Ok(Inserted::Rejected(Rejection::Busy))) {
            engine.count_kept(at_once);
            flight.settle(State::Landed(fetched.clone()));
            return fetched;
        }
        // Who waited has it; who fetched it waits for the room, as a thread does.
        flight.settle(State::Landed(fetched.clone()));
        let kept = value.clone();
        let keep = move || registered.engine.count_kept(registered.keep(&kept, false));
        self.pool().wait(keep).await?;
        fetched
    }

    /// Another's fetch may have landed between the miss and the registration.
    async fn landed_meanwhile(&self, registered: &Owned) -> Result<Option<Value>> {
        let engine = &registered.engine;
        if engine.is_surely_absent(registered.hash) {
            return Ok(None);
        }
        let (engine, key) = (Arc::clone(engine), registered.key.clone());
        self.pool().read(move || engine.peek(&key)).await?
    }
}
