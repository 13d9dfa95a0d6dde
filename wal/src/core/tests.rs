//! What threads that meet in the flush state do to each other, and what a read of no frame's address finds.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use crate::{Log, LogOptions, Lsn, TailRead, WalError};

/// The first sync fails while the background waits for the flush state, having found the log well. A sync that it made
/// then would succeed, for the system reports an error once, and call stable what is on no disk.
#[test]
fn nobody_syncs_after_a_sync_that_failed() {
    let running: Arc<OnceLock<Arc<Log>>> = Arc::default();
    let (send, beside) = channel();
    let mut send = Some(send);
    let log = Arc::clone(&running);
    let plan = Plan::new(move |call| {
        let log = log.get().filter(|_| call.kind == CallKind::SyncData);
        let Some((log, send)) = log.cloned().zip(send.take_if(|_| log.is_some())) else {
            return Action::Pass;
        };
        let (begin, begun) = channel();
        let background = move || {
            begin.send(()).unwrap();
            log.log.flush_step()
        };
        send.send(thread::Builder::new().spawn(background).unwrap())
            .unwrap();
        begun.recv().unwrap();
        // Until it waits for the flush state; where it comes later the test passes for nothing.
        thread::sleep(Duration::from_millis(200));
        Action::Fail(ErrorKind::Other)
    });
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), plan);
    let options = LogOptions::new()
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .background(false);
    let log = Log::open(&fs, Path::new("/log"), &options).unwrap();
    let stable = log.stable_lsn();
    log.append(&[1; 900]).unwrap();
    let end = log.append(&[2; 900]).unwrap();
    let log = Arc::clone(running.get_or_init(|| Arc::new(log)));
    assert!(matches!(log.flush(), Err(WalError::Poisoned(_))));
    let background = beside.recv().unwrap();
    assert!(background.join().unwrap().is_err());
    assert_eq!(log.stable_lsn(), stable);
    assert!(log.make_stable(end).is_err());
}

/// Each of these addresses was read from memory that is not the ring's, not aligned, or being written.
#[test]
fn an_address_of_no_frame_finds_nothing() {
    const RING: u64 = 4 << 10;
    let options = LogOptions::new()
        .segment_bytes(8 << 10)
        .tail_bytes(RING)
        .background(false);
    let log = Log::open(&SimFs::new(1), Path::new("/log"), &options).unwrap();
    let begin = log.log.reserved_end();
    let mut frames = Vec::new();
    while frames.len() < 100 {
        frames.push(log.log.reserved_end());
        log.append(&[0xff; 64]).unwrap();
    }
    let look = |lsn| {
        log.log
            .read_tail(Lsn(lsn), |header, frame| (header.kind, frame.len()))
    };
    let found = |lsn: &u64| matches!(look(*lsn), TailRead::Frame(_));
    let end = log.log.reserved_end().0;
    let in_the_ring: Vec<u64> = (begin.0..end).filter(found).collect();
    // The marks of sealed buffers, too.
    assert!(
        in_the_ring
            .iter()
            .filter(|lsn| frames.contains(&Lsn(**lsn)))
            .count()
            > 10
    );
    assert!(in_the_ring.iter().all(|lsn| lsn % 16 == 0));
    assert!((0..begin.0).all(|lsn| look(lsn) != TailRead::Pending && !found(&lsn)));
    let beyond = (end..end + 8 * RING).chain(u64::MAX - 2 * RING..=u64::MAX);
    for lsn in beyond.step_by(crate::STEP) {
        assert!(!found(&lsn), "{lsn:#x}");
        assert!(lsn < end + RING || look(lsn) == TailRead::Other, "{lsn:#x}");
    }
}
