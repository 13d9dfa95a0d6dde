//! Group commit: many wait for the stable LSN, one leads.
//!
//! ```text
//!   wait: stable already ─► returns        nobody leads ─► leads: one commit, at least up to its own target
//!                                          somebody does ─► sleeps, in a list with its target
//!   publish: takes those who are covered out of the list ── they are woken, each by its own word
//!   the leader's end: the first one left in the list is woken as the next leader, else nobody leads
//! ```
//! A sleeper has a word of its own, so whoever is covered leaves without another look at anything shared. (All slept on one
//! condition variable, under one lock that each had to take again.) The leader wakes those that it covered before it hands
//! on: most of them are back with another entry by then, and share the next commit. Leadership is a guard, so a leader that
//! panics hands on too; every wait observes failure (I6).

mod sleeper;

use std::collections::VecDeque;
use std::sync::Arc;

use sleeper::{Call, Sleeper};

use crate::lsn::Lsn;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// The stable LSN and those who wait for it. `E` is why it will not move any more.
#[derive(Debug)]
pub(crate) struct Commit<E> {
    stable: AtomicU64,
    state: Mutex<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    led: bool,
    failed: Option<E>,
    /// In the order in which they came. Nobody in it is covered.
    asleep: VecDeque<(Lsn, Arc<Sleeper>)>,
}

/// Those whom a publication covers; dropped, it wakes them.
#[derive(Debug)]
pub(crate) struct Covered(Vec<Arc<Sleeper>>);

impl Drop for Covered {
    fn drop(&mut self) {
        for sleeper in self.0.drain(..) {
            sleeper.wake(Call::Leave);
        }
    }
}

impl<E: Clone> Commit<E> {
    pub(crate) fn new(stable: Lsn) -> Self {
        Self {
            stable: AtomicU64::new(stable.0),
            state: Mutex::new(State {
                led: false,
                failed: None,
                asleep: VecDeque::new(),
            }),
        }
    }

    /// Everything below is on stable storage.
    pub(crate) fn stable(&self) -> Lsn {
        Lsn(self.stable.load(Ordering::Acquire))
    }

    /// Raises the stable LSN. Only called for a contiguous prefix of the log, after its sync. Whom it covers is woken when
    /// what is returned is dropped, which is not to be long.
    pub(crate) fn publish(&self, stable: Lsn) -> Covered {
        let mut state = self.state.lock();
        if stable.0 <= self.stable.load(Ordering::Relaxed) {
            return Covered(Vec::new());
        }
        self.stable.store(stable.0, Ordering::Release);
        let mut covered = Vec::new();
        state.asleep.retain(|(target, sleeper)| {
            let stays = *target > stable;
            if !stays {
                covered.push(Arc::clone(sleeper));
            }
            stays
        });
        Covered(covered)
    }

    /// Nothing will be stable any more, and why. The first reason stays.
    pub(crate) fn fail(&self, why: E) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(why);
        for (_, sleeper) in state.asleep.drain(..) {
            sleeper.wake(Call::Failed);
        }
    }

    pub(crate) fn failed(&self) -> Option<E> {
        self.state.lock().failed.clone()
    }

    /// Returns once the stable LSN has reached `target`, leading commits where nobody else does. What `lead` returns is
    /// dropped before leadership is handed on.
    pub(crate) fn wait<T>(&self, target: Lsn, lead: impl Fn() -> Result<T, E>) -> Result<(), E> {
        loop {
            let sleeper = {
                let mut state = self.state.lock();
                if self.stable() >= target {
                    return Ok(());
                }
                if let Some(why) = &state.failed {
                    return Err(why.clone());
                }
                let sleeper = state.led.then(Arc::<Sleeper>::default);
                if let Some(sleeper) = &sleeper {
                    perennial_failpoints::site!("wal::commit::follow");
                    state.asleep.push_back((target, Arc::clone(sleeper)));
                }
                state.led = true;
                sleeper
            };
            if let Some(sleeper) = sleeper {
                match sleeper.sleep() {
                    Call::Leave => return Ok(()),
                    Call::Failed => continue,
                    Call::Lead => {}
                }
            }
            let leadership = Leadership(self);
            // The log may have been made stable from elsewhere meanwhile, or have failed.
            if self.stable() < target && self.failed().is_none() {
                perennial_failpoints::site!("wal::commit::lead");
                let led = lead().map(drop);
                perennial_failpoints::site!("wal::commit::led");
                drop(leadership);
                led?;
            }
        }
    }
}

struct Leadership<'a, E>(&'a Commit<E>);

impl<E> Drop for Leadership<'_, E> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        let next = state.asleep.pop_front();
        state.led = next.is_some();
        drop(state);
        if let Some((_, sleeper)) = next {
            sleeper.wake(Call::Lead);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    type Led = Result<(), &'static str>;

    #[test]
    fn a_stable_target_returns_at_once() {
        let commit: Commit<&str> = Commit::new(Lsn(64));
        assert_eq!(
            commit.wait(Lsn(64), || -> Led { panic!("nothing to lead") }),
            Ok(())
        );
    }

    #[test]
    fn the_leader_commits_and_returns() {
        let commit: Commit<&str> = Commit::new(Lsn(0));
        let lead = || {
            commit.publish(Lsn(32));
            Ok(())
        };
        assert_eq!(commit.wait(Lsn(32), lead), Ok(()));
    }

    #[test]
    fn a_failure_reaches_waiters_and_the_first_reason_stays() {
        let commit: Commit<&str> = Commit::new(Lsn(0));
        commit.fail("first");
        commit.fail("second");
        assert_eq!(
            commit.wait(Lsn(16), || -> Led { panic!("no leading after a failure") }),
            Err("first")
        );
        assert_eq!(
            commit.wait(Lsn(0), || Ok(())),
            Ok(()),
            "what is stable stays so"
        );
    }

    #[test]
    fn a_leader_that_panics_hands_leadership_on() {
        let commit: Commit<&str> = Commit::new(Lsn(0));
        let lead = || -> Led { panic!("the leader dies") };
        let died =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| commit.wait(Lsn(16), lead)));
        assert!(died.is_err());
        let lead = || {
            commit.publish(Lsn(16));
            Ok(())
        };
        assert_eq!(commit.wait(Lsn(16), lead), Ok(()));
    }
}
