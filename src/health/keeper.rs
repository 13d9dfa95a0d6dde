//! Who changes the state: the log's failure for good, a refused call for a while.

use std::sync::{Arc, Weak};

use perennial_wal::{LogCore, WalError, Watch};

use super::{Health, HealthCause, HealthState, OnIoError};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::sync::{AtomicBool, AtomicU32, Mutex, Ordering};

/// Whether calls are answered at all: one word, for each of them asks.
#[derive(Debug, Default)]
pub(crate) struct Gate(AtomicU32);

impl Gate {
    const OPEN: u32 = 0;
    const FAILED: u32 = 1;
    const CLOSED: u32 = 2;

    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::OPEN
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::CLOSED
    }

    /// True for who closes it.
    pub(crate) fn close(&self) -> bool {
        self.0.swap(Self::CLOSED, Ordering::AcqRel) != Self::CLOSED
    }

    fn fail(&self) {
        let (open, failed) = (Self::OPEN, Self::FAILED);
        // One that is closed stays so.
        let _ = self
            .0
            .compare_exchange(open, failed, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// The state of an open cache.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    now: Mutex<Health>,
    /// Calls are refused, and the next one that is not ends that.
    passes: AtomicBool,
}

impl Keeper {
    /// True where that is a change. What stays is never left, and nothing comes after it.
    fn enter(&self, state: HealthState, why: Option<(HealthCause, String)>, now_ms: u64) -> bool {
        let mut now = self.now.lock();
        let (cause, reason) = why.unzip();
        let stays = now.state != HealthState::Healthy && !now.passes();
        if stays || (now.state, now.cause) == (state, cause) {
            return false;
        }
        *now = Health {
            state,
            cause,
            reason: reason.unwrap_or_default(),
            since_ms: now_ms,
            changes: now.changes + 1,
        };
        self.passes.store(now.passes(), Ordering::Release);
        true
    }
}

/// The log's failure changes the state before anybody is refused, and is told when everybody was.
struct Watching(Weak<Engine>);

impl Watch for Watching {
    fn fails(&self, log: &LogCore, why: &WalError) {
        if let Some(engine) = self.0.upgrade() {
            engine.log_fails(log, why);
        }
    }

    fn failed(&self) {
        if let Some(engine) = self.0.upgrade() {
            engine.tell_health();
        }
    }

    fn now_ns(&self) -> u64 {
        self.0
            .upgrade()
            .map_or(0, |engine| engine.fs.monotonic_ns())
    }

    fn synced(&self, took_ns: u64) {
        if let Some(engine) = self.0.upgrade() {
            engine.times.sync.add(took_ns);
        }
    }
}

impl Engine {
    /// From now on a failure of the log changes the state.
    pub(crate) fn watch_the_log(self: &Arc<Self>) {
        self.log.watch(Box::new(Watching(Arc::downgrade(self))));
        // Before anybody watched.
        if let Some(why) = self.log.failed() {
            self.log_fails(&self.log, &why);
            self.tell_health();
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.health.now.lock().clone()
    }

    #[cold]
    pub(crate) fn why_not_open(&self) -> Error {
        if self.gate.is_closed() {
            return Error::closed();
        }
        let why = self.health().reason;
        Error::new(
            ErrorKind::Poisoned,
            format!("the cache has stopped ({why}); close it, mend the device and open it again"),
        )
    }

    fn log_fails(&self, log: &LogCore, why: &WalError) {
        let state = match self.plan.on_io_error {
            OnIoError::FailStop => HealthState::Failed,
            // What is removed then must not come back: without a way to note that, nothing is.
            OnIoError::MemoryOnly if self.unlogged.has_room() && log.can_go_on_without() => {
                HealthState::MemoryOnly
            }
            OnIoError::MemoryOnly | OnIoError::ReadOnly => HealthState::ReadOnly,
        };
        let because = (HealthCause::of_failure(why), why.to_string());
        if !self.change_health(state, Some(because)) {
            return;
        }
        match state {
            HealthState::Failed => self.gate.fail(),
            HealthState::MemoryOnly => self.unlogged.begin(),
            HealthState::Healthy | HealthState::ReadOnly => {}
        }
    }

    /// What came of a call that needed room or the disk: whether there is any changes the state.
    #[inline]
    pub(crate) fn noting<T>(&self, done: Result<T>) -> Result<T> {
        match &done {
            Ok(_) if self.health.passes.load(Ordering::Relaxed) => self.is_well_again(),
            Ok(_) => {}
            Err(error) => self.note_refusal(error),
        }
        done
    }

    #[cold]
    fn is_well_again(&self) {
        if self.health().passes() && self.change_health(HealthState::Healthy, None) {
            self.tell_health();
        }
    }

    #[cold]
    fn note_refusal(&self, error: &Error) {
        let Some(cause) = HealthCause::of_refusal(error) else {
            return;
        };
        let because = (cause, error.to_string());
        if self.change_health(HealthState::ReadOnly, Some(because)) {
            self.tell_health();
        }
    }

    fn change_health(&self, state: HealthState, why: Option<(HealthCause, String)>) -> bool {
        let now_ms = self.clock.now_ms(&*self.fs);
        let changed = self.health.enter(state, why, now_ms);
        if changed {
            tracing::warn!(%state, reason = %self.health().reason, "the cache's health changed");
        }
        changed
    }

    fn tell_health(&self) {
        if let Some(ear) = &self.plan.on_health {
            ear.tell(&self.health());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn because(cause: HealthCause) -> Option<(HealthCause, String)> {
        Some((cause, "why".into()))
    }

    #[test]
    fn what_passes_is_left_and_what_stays_is_not() {
        use HealthCause::{Io, NoSpace, Shortage};
        use HealthState::{Failed, Healthy, ReadOnly};
        let keeper = Keeper::default();
        assert!(!keeper.enter(Healthy, None, 1), "it is");
        assert!(keeper.enter(ReadOnly, because(NoSpace), 2));
        assert!(!keeper.enter(ReadOnly, because(NoSpace), 3), "the same");
        assert!(keeper.enter(ReadOnly, because(Shortage), 4));
        assert!(keeper.enter(Healthy, None, 5));
        assert!(keeper.enter(ReadOnly, because(Io), 6));
        for (state, why) in [(Healthy, None), (Failed, because(Io))] {
            assert!(!keeper.enter(state, why, 7));
        }
        let now = keeper.now.lock().clone();
        assert_eq!((now.state, now.cause), (ReadOnly, Some(Io)));
        assert_eq!((now.since_ms, now.changes), (6, 4));
        assert!(!keeper.passes.load(Ordering::Relaxed));
    }

    #[test]
    fn a_gate_that_is_closed_does_not_fail() {
        let gate = Gate::default();
        gate.fail();
        assert!(!gate.is_open() && !gate.is_closed());
        assert!(gate.close() && !gate.close());
        gate.fail();
        assert!(gate.is_closed());
    }
}
