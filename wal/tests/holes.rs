//! Holes of the protocol that show in the log alone, by number.

#![cfg(not(any(loom, shuttle)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use perennial_failpoints::fs::Fs;
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};
use perennial_wal::{Log, LogOptions, Lsn};

const SEGMENT: u64 = 8 << 10;

fn options() -> LogOptions {
    LogOptions::new()
        .segment_bytes(SEGMENT)
        .tail_bytes(4 << 10)
        .background(false)
}

fn open(fs: &dyn Fs) -> Log {
    Log::open(fs, Path::new("/log"), &options()).expect("the log opens")
}

/// Runs `body` on `machine`, killed after its n-th call; the machine as that left it, or `None` when there were fewer.
fn killed_after(n: u64, machine: SimFs, body: impl FnOnce(&FaultFs)) -> Option<SimFs> {
    let image: Arc<Mutex<Option<SimFs>>> = Arc::default();
    let (taken, dying) = (Arc::clone(&image), machine.clone());
    let on_kill = move || *taken.lock().unwrap() = Some(dying.process_crash());
    let fs = FaultFs::with_kill(Arc::new(machine), Plan::kill_after(n), Arc::new(on_kill));
    body(&fs);
    image.lock().unwrap().take()
}

/// Appends, and gives up all but the last two segments again and again.
fn shorten(fs: &FaultFs) {
    let Ok(log) = Log::open(fs, Path::new("/log"), &options()) else {
        return;
    };
    for _ in 0..60 {
        let Ok(end) = log.append(&[9; 700]) else {
            break;
        };
        if log.make_stable(end).is_err() {
            break;
        }
        log.release_before(Lsn(end.0.saturating_sub(2 * SEGMENT)));
    }
    std::mem::forget(log);
}

/// A segment was given up, its file became the next one's, and the process died before anything was written there:
/// recovery gives the next one up too, and what went before must still be known to have been given up.
#[test]
fn hole_04_a_log_shortened_before_a_crash_is_not_broken() {
    for n in 1.. {
        let Some(machine) = killed_after(n, SimFs::new(1), shorten) else {
            break;
        };
        for m in 1.. {
            let recover = |fs: &FaultFs| {
                std::mem::forget(Log::open(fs, Path::new("/log"), &options()));
            };
            let again = killed_after(m, machine.process_crash(), recover);
            let Some(again) = again else { break };
            let opened = Log::open(&again, Path::new("/log"), &options());
            std::mem::forget(opened.unwrap_or_else(|e| panic!("call {n}, recovery call {m}: {e}")));
        }
    }
}

/// Who gives segments up looks at the stable LSN: a file must not get its next number while its trailer is still to be
/// written.
#[test]
fn hole_19_a_trailer_is_written_before_its_segment_may_be_given_up() {
    let running: Arc<OnceLock<Log>> = Arc::default();
    let wrong: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, faults) = (Arc::clone(&running), Arc::clone(&wrong));
    let plan = Plan::new(move |call| {
        let trailer = call.kind == CallKind::Write && call.offset + call.len == SEGMENT;
        if let Some(log) = seen.get().filter(|_| trailer) {
            let slot: u64 = call.name["seg-".len()..].parse().unwrap();
            // Files are never given up here: slot n holds segment n + 1.
            let stable = log.stable_lsn().0 / SEGMENT;
            if stable > slot + 1 {
                wrong
                    .lock()
                    .unwrap()
                    .push(format!("{call:?}: stable is in {stable}"));
            }
        }
        Action::Pass
    });
    let fs = FaultFs::new(Arc::new(SimFs::new(2)), plan);
    running.set(open(&fs)).unwrap();
    let log = running.get().unwrap();
    for _ in 0..100 {
        let end = log.append(&[1; 700]).unwrap();
        log.make_stable(end).unwrap();
    }
    assert_eq!(*faults.lock().unwrap(), Vec::<String>::new());
}
