//! Every wait ends: calls that used to go round for ever.
#![cfg(not(any(loom, shuttle)))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use perennial_failpoints::SimFs;
use perennial_wal::{Log, LogOptions, Lsn, WalError};

/// Long enough for anything that is not stuck; only a test that fails waits for it.
const STUCK: Duration = Duration::from_secs(20);

/// What `body` returns, which runs beside so that it may be stuck.
fn in_time<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, waited) = channel();
    let beside = move || drop(done.send(body()));
    thread::Builder::new().spawn(beside).unwrap();
    waited.recv_timeout(STUCK).expect("it is stuck")
}

fn open(options: &LogOptions) -> Arc<Log> {
    let fs = SimFs::new(1);
    Arc::new(Log::open(&fs, Path::new("/log"), &options.clone().background(false)).unwrap())
}

#[test]
fn a_position_that_nobody_reserved_is_not_waited_for() {
    let log = open(&LogOptions::new().segment_bytes(8 << 10).tail_bytes(4 << 10));
    let end = log.append(b"entry").unwrap();
    for beyond in [end.plus(16), Lsn(u64::MAX)] {
        let asked = Arc::clone(&log);
        let refused = in_time(move || asked.make_stable(beyond));
        assert!(matches!(refused, Err(WalError::Invalid(_))), "{refused:?}");
    }
    log.make_stable(end).unwrap();
    assert_eq!(log.stable_lsn(), log.flush().unwrap());
}

/// A header word counts 511 writers.
#[test]
fn more_writers_than_a_buffer_can_count_go_on_in_the_next() {
    let log = open(&LogOptions::new().segment_bytes(1 << 20).tail_bytes(1 << 20));
    let filler = Arc::clone(&log);
    in_time(move || {
        let filling: Vec<_> = (0..2_000).map(|_| filler.reserve(8).unwrap()).collect();
        for (mut reservation, n) in filling.into_iter().zip(0_u64..) {
            reservation.body().value.copy_from_slice(&n.to_le_bytes());
            reservation.complete();
        }
        filler.flush().unwrap();
    });
    let read: Vec<_> = log.iter_from(Lsn(0)).map(|e| e.unwrap().bytes).collect();
    let written: Vec<_> = (0_u64..2_000).map(|n| n.to_le_bytes().to_vec()).collect();
    assert_eq!(read, written);
}

#[test]
fn an_entry_larger_than_a_segment_is_refused_whatever_the_tail() {
    let options = LogOptions::new().segment_bytes(8 << 10);
    let log = open(&options.tail_bytes(1 << 20));
    let asked = Arc::clone(&log);
    let max = in_time(move || match asked.append(&vec![0; 10 << 10]) {
        Err(WalError::TooLarge { max, .. }) => max,
        other => panic!("{other:?}"),
    });
    assert!((4 << 10..8 << 10).contains(&max), "{max}");
    // The largest there is takes its segment; header and alignment are in the bound.
    let asked = Arc::clone(&log);
    let largest = usize::try_from(max).unwrap() - 64;
    in_time(move || (0..5).try_for_each(|_| asked.append(&vec![1; largest]).map(drop))).unwrap();
    log.flush().unwrap();
    assert_eq!(log.iter_from(Lsn(0)).count(), 5);
}
