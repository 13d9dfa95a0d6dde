//! Waiters, leaders, a publisher and a failure over the real [`Commit`]. A lost wake-up is a deadlock, which loom reports.
//!
//! What broke the models when it was left out of `commit.rs`, one at a time: the wake in `Leadership::drop`, in `fail`, in
//! `Covered::drop`, the next leader, and clearing `led` (deadlock each); setting `led` (two lead); the lock in `publish` (lost
//! wake-up); the comparison in `publish` (the stable LSN goes back); the check of `failed` (waiters lead for ever). What did
//! not: that a leader looks whether it is covered already; without that it makes a commit for nobody.
//!
//! A crowd's bell is the lock and condition variable of `sync/gate.rs` here, not the futex of production.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::{Reached, check};
use crate::Lsn;
use crate::commit::Commit;

type Led = Result<(), &'static str>;

/// A log that commits up to whatever its leader asks for.
struct Log {
    commit: Commit<&'static str>,
    leaders: AtomicUsize,
}

impl Log {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            commit: Commit::new(Lsn(0)),
            leaders: AtomicUsize::new(0),
        })
    }

    /// Runs `commit` as the one leader there may be.
    fn lead<T>(&self, commit: impl FnOnce() -> T) -> T {
        assert_eq!(self.leaders.fetch_add(1, Ordering::Relaxed), 0, "one leads");
        let led = commit();
        self.leaders.fetch_sub(1, Ordering::Relaxed);
        led
    }

    /// Waits for `target`; leads by making `reached` stable.
    fn wait(&self, target: u64, reached: u64) {
        let lead = || {
            self.lead(|| {
                self.commit.closes(Lsn(reached));
                self.commit.publish(Lsn(reached))
            })
        };
        let waited = self.commit.wait(Lsn(target), || Ok(lead()));
        assert_eq!(waited, Ok(()));
        assert!(self.commit.stable() >= Lsn(target));
    }
}

fn spawn(log: &Arc<Log>, body: impl FnOnce(&Log) + 'static) -> thread::JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || body(&log))
}

/// Each leader makes only its own target stable, so leadership must go on from the least to the greatest.
#[test]
fn a_leader_that_reaches_less_hands_leadership_on() {
    check(|| {
        let log = Log::new();
        let others = [16, 32].map(|target| spawn(&log, move |log| log.wait(target, target)));
        log.wait(48, 48);
        for other in others {
            other.join().expect("the thread ends well");
        }
        assert_eq!(log.commit.stable(), Lsn(48));
    });
}

/// One commit for all: whoever did not lead was woken by the one who did.
#[test]
fn a_leader_covers_those_who_came_before() {
    let shared = Arc::new(Reached::default());
    let count = Arc::clone(&shared);
    check(move || {
        let log = Log::new();
        let led = Arc::new(AtomicUsize::new(0));
        let wait = {
            let led = Arc::clone(&led);
            move |log: &Log, target| {
                let waited = log.commit.wait(Lsn(target), || {
                    led.fetch_add(1, Ordering::Relaxed);
                    Ok(log.lead(|| log.commit.publish(Lsn(64))))
                });
                assert_eq!(waited, Ok(()));
            }
        };
        let others = [16, 32].map(|target| {
            let wait = wait.clone();
            spawn(&log, move |log| wait(log, target))
        });
        wait(&log, 48);
        for other in others {
            other.join().expect("the thread ends well");
        }
        assert_eq!(led.load(Ordering::Relaxed), 1, "the rest found it stable");
        count.count();
    });
    shared.assert("all waiters returned");
}

/// What a leader says of how far it will reach is only a guess: whoever relied on it, in vain, comes again.
#[test]
fn a_commit_that_falls_short_leaves_nobody_asleep() {
    check(|| {
        let log = Log::new();
        let wait = |log: &Log, target: u64| {
            let lead = || {
                log.lead(|| {
                    log.commit.closes(Lsn(64));
                    log.commit.publish(Lsn(target))
                })
            };
            assert_eq!(log.commit.wait(Lsn(target), || Ok(lead())), Ok(()));
            assert!(log.commit.stable() >= Lsn(target));
        };
        let others = [16, 32].map(|target| spawn(&log, move |log| wait(log, target)));
        wait(&log, 48);
        for other in others {
            other.join().expect("the thread ends well");
        }
    });
}

/// A leader that panics in the middle leaves a crowd that no publication will wake.
#[test]
fn a_leader_that_gives_up_leaves_no_crowd_asleep() {
    check(|| {
        let log = Log::new();
        let quitter = spawn(&log, |log| {
            let waited = log.commit.wait(Lsn(32), || {
                log.lead(|| log.commit.closes(Lsn(64)));
                Led::Err("not me")
            });
            assert!(waited.is_err() || log.commit.stable() >= Lsn(32));
        });
        let other = spawn(&log, |log| log.wait(16, 16));
        log.wait(48, 48);
        other.join().expect("the thread ends well");
        quitter.join().expect("the thread ends well");
    });
}

/// The background thread syncs too. Its publication ends the wait of one who sleeps behind a leader that does not get
/// as far.
#[test]
fn a_publication_from_elsewhere_wakes_too() {
    check(|| {
        let log = Log::new();
        let background = spawn(&log, |log| drop(log.commit.publish(Lsn(32))));
        let other = spawn(&log, |log| log.wait(16, 16));
        let waited = log.commit.wait(Lsn(32), || {
            log.lead(|| drop(log.commit.publish(Lsn(16))));
            // What is left to write is in the background's hands.
            thread::yield_now();
            Ok(())
        });
        assert_eq!(waited, Ok(()));
        other.join().expect("the thread ends well");
        background.join().expect("the thread ends well");
    });
}

/// A sleeper whose leader never returns to it is woken by the publication alone.
#[test]
fn a_sleeper_is_woken_by_the_publication_and_not_only_by_the_leader() {
    check(|| {
        let log = Log::new();
        let left = Arc::new(loom::sync::Notify::new());
        let sleeper = {
            let left = Arc::clone(&left);
            spawn(&log, move |log| {
                log.wait(16, 16);
                left.notify();
            })
        };
        // The leader publishes in the middle of its lead, which ends only after the sleeper has left.
        let waited = log.commit.wait(Lsn(16), || {
            drop(log.commit.publish(Lsn(16)));
            left.wait();
            Ok(())
        });
        assert_eq!(waited, Ok(()));
        sleeper.join().expect("the thread ends well");
    });
}

/// The leader's sync fails: it says so, and all who wait hear it.
#[test]
fn close_wakes_everyone_a_failure_of_the_leader_reaches_all() {
    let heard = Arc::new(Reached::default());
    let count = Arc::clone(&heard);
    check(move || {
        let log = Log::new();
        let wait = |log: &Log, target| {
            log.commit.wait(Lsn(target), || {
                log.lead(|| log.commit.fail("the disk is gone", || ()));
                Led::Err("the disk is gone")
            })
        };
        let others = [16, 32].map(|target| {
            let count = Arc::clone(&count);
            spawn(&log, move |log| {
                assert_eq!(wait(log, target), Err("the disk is gone"));
                count.count();
            })
        });
        assert_eq!(wait(&log, 48), Err("the disk is gone"));
        for other in others {
            other.join().expect("the thread ends well");
        }
    });
    heard.assert("a waiter hears of the failure");
}

/// A sleeper is told of the failure at once, not when the leader gets to it.
#[test]
fn close_wakes_everyone_asleep_by_the_failure_and_not_only_by_the_leader() {
    check(|| {
        let log = Log::new();
        let left = Arc::new(loom::sync::Notify::new());
        let sleeper = {
            let left = Arc::clone(&left);
            spawn(&log, move |log| {
                let waited = log.commit.wait(Lsn(16), || {
                    log.commit.fail("the disk is gone", || ());
                    Led::Err("the disk is gone")
                });
                assert_eq!(waited, Err("the disk is gone"));
                left.notify();
            })
        };
        let waited = log.commit.wait(Lsn(16), || {
            log.commit.fail("the disk is gone", || ());
            left.wait();
            Led::Err("the disk is gone")
        });
        assert_eq!(waited, Err("the disk is gone"));
        sleeper.join().expect("the thread ends well");
    });
}

/// A leader that panics or gives up without a word hands on: the next one leads.
#[test]
fn a_leader_that_gives_up_hands_leadership_on() {
    check(|| {
        let log = Log::new();
        let quitter = spawn(&log, |log| {
            let waited = log.commit.wait(Lsn(16), || log.lead(|| Led::Err("not me")));
            assert!(waited.is_err() || log.commit.stable() >= Lsn(16));
        });
        log.wait(16, 16);
        quitter.join().expect("the thread ends well");
    });
}

/// A sleeper is called to lead while the log is being closed: whichever comes first, both who wait end.
#[test]
fn close_wakes_everyone_one_who_was_called_to_lead_too() {
    check(|| {
        let log = Log::new();
        let closer = spawn(&log, |log| log.commit.fail("closed", || ()));
        let called = spawn(&log, |log| {
            let lead = || log.lead(|| Led::Err("closed"));
            assert_eq!(log.commit.wait(Lsn(32), lead), Err("closed"));
        });
        let waited = log
            .commit
            .wait(Lsn(16), || Ok(log.lead(|| log.commit.publish(Lsn(16)))));
        assert!(waited == Ok(()) || waited == Err("closed"));
        called.join().expect("the thread ends well");
        closer.join().expect("the thread ends well");
    });
}

/// The log is closed by somebody else while one leads and cannot go on, and one sleeps: both are told.
#[test]
fn close_wakes_everyone_who_waits() {
    check(|| {
        let log = Log::new();
        let closed = Arc::new(loom::sync::Notify::new());
        let closer = {
            let closed = Arc::clone(&closed);
            spawn(&log, move |log| {
                log.commit.fail("closed", || ());
                closed.notify();
            })
        };
        let wait = move |log: &Log| {
            let lead = || {
                while log.commit.failed().is_none() {
                    closed.wait();
                }
                Ok(())
            };
            assert_eq!(log.commit.wait(Lsn(16), || log.lead(lead)), Err("closed"));
        };
        let other = spawn(&log, wait.clone());
        wait(&log);
        other.join().expect("the thread ends well");
        closer.join().expect("the thread ends well");
    });
}
