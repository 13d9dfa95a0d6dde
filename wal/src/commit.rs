//! Group commit: many wait for the stable LSN, one leads.
//!
//! A waiter whose target is not stable yet becomes leader if there is none, else sleeps. The leader makes one commit
//! for everyone who came before it began. Its publication wakes all: those covered leave, the others sleep again. Then it
//! hands leadership on by waking one of these, who leads, or leaves and wakes the next. (It woke all once more, and of sixty
//! sleepers each commit woke half in vain.) Leadership is a guard, so a leader that panics hands on too; every wait
//! observes failure (I6).

use crate::lsn::Lsn;
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};

/// The stable LSN and those who wait for it. `E` is why it will not move any more.
#[derive(Debug)]
pub(crate) struct Commit<E> {
    stable: AtomicU64,
    state: Mutex<State<E>>,
    wake: Condvar,
}

#[derive(Debug)]
struct State<E> {
    led: bool,
    failed: Option<E>,
}

impl<E: Clone> Commit<E> {
    pub(crate) fn new(stable: Lsn) -> Self {
        Self {
            stable: AtomicU64::new(stable.0),
            state: Mutex::new(State {
                led: false,
                failed: None,
            }),
            wake: Condvar::default(),
        }
    }

    /// Everything below is on stable storage.
    pub(crate) fn stable(&self) -> Lsn {
        Lsn(self.stable.load(Ordering::Acquire))
    }

    /// Raises the stable LSN. Only called for a contiguous prefix of the log, after its sync.
    pub(crate) fn publish(&self, stable: Lsn) {
        let state = self.state.lock();
        if stable.0 > self.stable.load(Ordering::Relaxed) {
            self.stable.store(stable.0, Ordering::Release);
            self.wake.notify_all();
        }
        drop(state);
    }

    /// Nothing will be stable any more, and why. The first reason stays.
    pub(crate) fn fail(&self, why: E) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(why);
        self.wake.notify_all();
    }

    pub(crate) fn failed(&self) -> Option<E> {
        self.state.lock().failed.clone()
    }

    /// Returns once the stable LSN has reached `target`, leading commits where nobody else does.
    pub(crate) fn wait(&self, target: Lsn, lead: impl Fn() -> Result<(), E>) -> Result<(), E> {
        let mut state = self.state.lock();
        loop {
            if self.stable.load(Ordering::Acquire) >= target.0 {
                if !state.led {
                    // It may have been the one that was woken to lead.
                    self.wake.notify_one();
                }
                return Ok(());
            }
            if let Some(why) = &state.failed {
                return Err(why.clone());
            }
            if state.led {
                perennial_failpoints::site!("wal::commit::follow");
                state = self.wake.wait(state);
                continue;
            }
            state.led = true;
            drop(state);
            let leadership = Leadership(self);
            perennial_failpoints::site!("wal::commit::lead");
            let led = lead();
            perennial_failpoints::site!("wal::commit::led");
            drop(leadership);
            led?;
            state = self.state.lock();
        }
    }
}

struct Leadership<'a, E>(&'a Commit<E>);

impl<E> Drop for Leadership<'_, E> {
    fn drop(&mut self) {
        self.0.state.lock().led = false;
        self.0.wake.notify_one();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stable_target_returns_at_once() {
        let commit: Commit<&str> = Commit::new(Lsn(64));
        assert_eq!(commit.wait(Lsn(64), || panic!("nothing to lead")), Ok(()));
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
            commit.wait(Lsn(16), || panic!("no leading after a failure")),
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
        let lead = || panic!("the leader dies");
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
