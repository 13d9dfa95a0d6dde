//! Group commit: many wait for the stable LSN, one leads.
//!
//! ```text
//!   wait: stable already ─► returns        nobody leads ─► leads: one commit, at least up to its own target
//!                                          somebody does ─► sleeps: the first of those that the commit does not reach
//!                                                           alone, as the heir; the others in a crowd, at its bell
//!   closes:  those who came so far, and those who come with a target below, belong to this commit; who comes with
//!            another one, to the next
//!   publish: the heirs that are covered are woken; a crowd in which anybody is covered is woken as one
//!   the leader's end: the heir left is woken as the next leader, else nobody leads
//! ```
//! A crowd is woken by one call, however many it is, and whoever is covered leaves without another look at anything shared.
//! (Each sleeper had a word of its own: the leader was interrupted by nearly each one that it woke, and began its next
//! sync late.) There are two crowds, for who belongs to the next commit is not to be woken by this one. Which crowd somebody
//! is in is only a guess: whoever is woken looks whether it is covered, and else comes again. The leader wakes those that
//! it covered before it hands on: most of them are back with another entry by then, and share the next commit. Leadership
//! is a guard, so a leader that panics hands on too; every wait observes failure (I6).

mod bell;
mod sleeper;

use std::collections::VecDeque;
use std::sync::Arc;

use bell::Bell;
use sleeper::{Call, Sleeper};

use crate::lsn::Lsn;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// In a crowd without anybody.
const NOBODY: Lsn = Lsn(u64::MAX);

/// The stable LSN and those who wait for it. `E` is why it will not move any more.
#[derive(Debug)]
pub(crate) struct Commit<E> {
    stable: AtomicU64,
    state: Mutex<State<E>>,
    /// One for each crowd.
    bells: [Bell; 2],
}

#[derive(Debug)]
struct State<E> {
    led: bool,
    failed: Option<E>,
    /// Heirs, in the order in which they came. Nobody in it is covered.
    asleep: VecDeque<(Lsn, Arc<Sleeper>)>,
    /// One of them belongs to the next commit.
    has_heir: bool,
    /// The least target in each crowd.
    least: [Lsn; 2],
    /// Which crowd belongs to the commit under way; the other one, to the next.
    now: usize,
    /// The commit under way reaches so far, as it seems.
    reaching: Lsn,
}

/// What one who waits is to do.
enum Part {
    Lead,
    Alone(Arc<Sleeper>),
    Crowd(usize, u32),
}

impl<E> State<E> {
    fn follow(&mut self, target: Lsn, bells: &[Bell; 2]) -> Part {
        let comes_along = target <= self.reaching;
        if !comes_along && !self.has_heir {
            let sleeper = Arc::<Sleeper>::default();
            self.asleep.push_back((target, Arc::clone(&sleeper)));
            self.has_heir = true;
            return Part::Alone(sleeper);
        }
        let crowd = if comes_along { self.now } else { 1 - self.now };
        self.least[crowd] = self.least[crowd].min(target);
        Part::Crowd(crowd, bells[crowd].heard())
    }

    /// Ends the sleep of a crowd if its least target is no more than `reached`; true if there is anybody to be woken.
    fn ring(&mut self, crowd: usize, reached: Lsn, bells: &[Bell; 2]) -> bool {
        let rung = self.least[crowd] != NOBODY && self.least[crowd] <= reached;
        if rung {
            self.least[crowd] = NOBODY;
            bells[crowd].ring();
        }
        rung
    }
}

/// Those whom a publication covers; dropped, it wakes them.
#[derive(Debug)]
pub(crate) struct Covered<'a> {
    alone: Vec<Arc<Sleeper>>,
    crowds: [bool; 2],
    bells: &'a [Bell; 2],
}

impl Drop for Covered<'_> {
    fn drop(&mut self) {
        for sleeper in self.alone.drain(..) {
            sleeper.wake(Call::Leave);
        }
        wake(self.bells, self.crowds);
    }
}

fn wake(bells: &[Bell; 2], rung: [bool; 2]) {
    for (bell, rung) in bells.iter().zip(rung) {
        if rung {
            bell.wake();
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
                has_heir: false,
                least: [NOBODY; 2],
                now: 0,
                reaching: Lsn(0),
            }),
            bells: Default::default(),
        }
    }

    /// Everything below is on stable storage.
    pub(crate) fn stable(&self) -> Lsn {
        Lsn(self.stable.load(Ordering::Acquire))
    }

    /// Says how far the commit under way will reach, once that is settled. Only its leader does.
    pub(crate) fn closes(&self, reaching: Lsn) {
        let mut state = self.state.lock();
        state.reaching = reaching;
        state.now = 1 - state.now;
        state.has_heir = false;
    }

    /// Raises the stable LSN. Only called for a contiguous prefix of the log, after its sync. Whom it covers is woken when
    /// what is returned is dropped, which is not to be long.
    pub(crate) fn publish(&self, stable: Lsn) -> Covered<'_> {
        let mut covered = Covered {
            alone: Vec::new(),
            crowds: [false; 2],
            bells: &self.bells,
        };
        let mut state = self.state.lock();
        if stable.0 <= self.stable.load(Ordering::Relaxed) {
            return covered;
        }
        self.stable.store(stable.0, Ordering::Release);
        state.asleep.retain(|(target, sleeper)| {
            let stays = *target > stable;
            if !stays {
                covered.alone.push(Arc::clone(sleeper));
            }
            stays
        });
        state.has_heir &= !state.asleep.is_empty();
        covered.crowds = [0, 1].map(|crowd| state.ring(crowd, stable, &self.bells));
        covered
    }

    /// Nothing will be stable any more, and why. The first reason stays. `stop` comes before anybody can see that, and whoever
    /// sees what it did finds the reason.
    pub(crate) fn fail(&self, why: E, stop: impl FnOnce()) {
        let mut state = self.state.lock();
        state.failed.get_or_insert(why);
        stop();
        for (_, sleeper) in state.asleep.drain(..) {
            sleeper.wake(Call::Failed);
        }
        state.has_heir = false;
        let rung = [0, 1].map(|crowd| state.ring(crowd, NOBODY, &self.bells));
        drop(state);
        wake(&self.bells, rung);
    }

    pub(crate) fn failed(&self) -> Option<E> {
        self.state.lock().failed.clone()
    }

    /// Returns once the stable LSN has reached `target`, leading commits where nobody else does. What `lead` returns is
    /// dropped before leadership is handed on.
    pub(crate) fn wait<T>(&self, target: Lsn, lead: impl Fn() -> Result<T, E>) -> Result<(), E> {
        while self.stable() < target {
            match self.part(target)? {
                None => return Ok(()),
                Some(Part::Lead) => {}
                Some(Part::Alone(sleeper)) => match sleeper.sleep() {
                    Call::Leave => return Ok(()),
                    Call::Failed => continue,
                    Call::Lead => {}
                },
                Some(Part::Crowd(crowd, heard)) => {
                    self.bells[crowd].sleep(heard);
                    continue;
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
        Ok(())
    }

    /// What one is to do who waits for `target`; nothing where that is stable.
    fn part(&self, target: Lsn) -> Result<Option<Part>, E> {
        let mut state = self.state.lock();
        if self.stable() >= target {
            return Ok(None);
        }
        if let Some(why) = &state.failed {
            return Err(why.clone());
        }
        if state.led {
            perennial_failpoints::site!("wal::commit::follow");
            return Ok(Some(state.follow(target, &self.bells)));
        }
        state.led = true;
        Ok(Some(Part::Lead))
    }
}

struct Leadership<'a, E>(&'a Commit<E>);

impl<E> Drop for Leadership<'_, E> {
    fn drop(&mut self) {
        let Commit { state, bells, .. } = self.0;
        let mut state = state.lock();
        let heir = state.asleep.pop_front();
        state.has_heir = !state.asleep.is_empty();
        state.led = heir.is_some();
        state.reaching = Lsn(0);
        // Who is still in this commit's crowd comes again; where nobody is called, so do all.
        let now = state.now;
        let rung = [0, 1]
            .map(|crowd| (crowd == now || heir.is_none()) && state.ring(crowd, NOBODY, bells));
        drop(state);
        if let Some((_, sleeper)) = heir {
            sleeper.wake(Call::Lead);
        }
        wake(bells, rung);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
