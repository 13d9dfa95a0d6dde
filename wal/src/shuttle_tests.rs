//! The real code under schedules drawn from a seed: `RUSTFLAGS="--cfg shuttle" cargo test -p perennial-wal --lib shuttle`.
//!
//! A failure prints the schedule; `shuttle::replay` runs it again. `SHUTTLE_SCHEDULES` is how many schedules to draw, and
//! `SHUTTLE_SEED` which.
//! shuttle's threads share one thread of the system, so crossbeam-epoch sees one participant whose pins nest: memory is
//! released later than in production, never sooner.

use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::SimFs;
use shuttle::scheduler::PctScheduler;
use shuttle::thread;

use crate::commit::Commit;
use crate::sync::{AtomicU64, Ordering};
use crate::{Log, LogOptions, Lsn};

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs `test` under as many schedules as asked for, with up to three places where the scheduler preempts.
fn check(default: u64, test: impl Fn() + Send + Sync + 'static) {
    let schedules = from_env("SHUTTLE_SCHEDULES").unwrap_or(default);
    let schedules = usize::try_from(schedules).expect("a count that fits in memory");
    let seed = from_env("SHUTTLE_SEED").unwrap_or(1);
    let scheduler = PctScheduler::new_from_seed(seed, 3, schedules);
    shuttle::Runner::new(scheduler, shuttle::Config::new()).run(test);
}

/// Four waiters, each of whom may lead; a leader commits what was asked for before it began.
#[test]
fn shuttle_group_commit_serves_every_waiter() {
    check(2_000, || {
        let commit = Arc::new(Commit::<&str>::new(Lsn(0)));
        let (asked, leaders) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let waiters: Vec<_> = (1..=4)
            .map(|n| {
                let (commit, asked, leaders) = (
                    Arc::clone(&commit),
                    Arc::clone(&asked),
                    Arc::clone(&leaders),
                );
                thread::spawn(move || {
                    let target = Lsn(16 * n);
                    asked.fetch_max(target.0, Ordering::SeqCst);
                    let waited = commit.wait(target, || {
                        assert_eq!(leaders.fetch_add(1, Ordering::SeqCst), 0, "one leads");
                        commit.closes(Lsn(asked.load(Ordering::SeqCst)));
                        commit.publish(Lsn(asked.load(Ordering::SeqCst)));
                        leaders.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    });
                    assert_eq!(waited, Ok(()));
                    assert!(commit.stable() >= target);
                })
            })
            .collect();
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

fn open(fs: &SimFs) -> Arc<Log> {
    let options = LogOptions::new()
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .background(false);
    Arc::new(Log::open(fs, Path::new("/log"), &options).expect("the log opens"))
}

/// One thread seals the buffer, for a commit, while another waits for everything sealed: the sealer is the last writer of
/// the buffer then, and has to wake the other like any writer.
#[test]
fn shuttle_a_sealer_wakes_who_waits_for_its_buffer() {
    check(2_000, || {
        let fs = SimFs::new(1);
        let log = open(&fs);
        log.append(b"entry").unwrap();
        let maker = {
            let log = Arc::clone(&log);
            thread::spawn(move || log.log.make_ring_room().unwrap())
        };
        log.flush().unwrap();
        maker.join().unwrap();
    });
}

/// Appenders who fill a small ring faster than it is written must make room for themselves, and never wait for ever.
#[test]
fn shuttle_appenders_share_a_small_ring() {
    check(200, || {
        let fs = SimFs::new(1);
        let log = open(&fs);
        let appenders: Vec<_> = (0..2_u8)
            .map(|n| {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    for _ in 0..8 {
                        log.append(&[n; 400]).unwrap();
                    }
                })
            })
            .collect();
        for appender in appenders {
            appender.join().unwrap();
        }
        log.flush().unwrap();
        assert_eq!(log.iter_from(Lsn(0)).count(), 16);
    });
}
