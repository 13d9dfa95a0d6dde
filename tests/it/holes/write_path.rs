//! Holes 17 to 29: the write path.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use perennial::{Cache, ErrorKind};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use super::lab::{DIR, file_with, find_in, get, kill, noted, open, roomy, segments_with, tiny};

/// Long enough for anything that is not stuck; only a test that fails waits for it.
const STUCK: Duration = Duration::from_secs(20);

fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().spawn(body).unwrap()
}

/// Reservations look at the segments under an index shard's lock: whoever prepares one must not hold them during I/O.
#[test]
fn hole_20_a_segment_being_prepared_holds_nobody_up() {
    let running: Arc<OnceLock<Cache>> = Arc::default();
    let (ask, asked) = channel::<Sender<()>>();
    let held_up: Arc<Mutex<Vec<String>>> = Arc::default();
    let failures = Arc::clone(&held_up);
    let plan = Plan::new(move |call| {
        let header = call.kind == CallKind::Write && call.offset == 0;
        if header && call.name.starts_with("seg-") {
            let (answer, answered) = channel();
            let reached = ask.send(answer).is_ok();
            if reached && answered.recv_timeout(STUCK).is_err() {
                failures.lock().unwrap().push(format!("{call:?}"));
            }
        }
        Action::Pass
    });
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), plan);
    let cache = Arc::clone(&running);
    let other = spawn(move || {
        for answer in asked {
            // During the open nobody else is there yet.
            if let Some(cache) = cache.get() {
                assert!(cache.stats().file_bytes > 0);
            }
            let _ = answer.send(());
        }
    });
    let opened = Cache::open_with(Arc::new(fs.clone()), DIR, roomy()).unwrap();
    let cache = running.get_or_init(|| opened);
    for n in 0..60_u32 {
        cache.insert(n.to_le_bytes(), [1; 700]).unwrap();
        if !noted(&held_up).is_empty() {
            break;
        }
    }
    assert_eq!(noted(&held_up), Vec::<String>::new());
    // The plan holds the sender: without it the other thread ends.
    fs.set_plan(Plan::none());
    other.join().unwrap();
}

/// One thread makes a checkpoint, which waits for another's entry; that one's closure asks for a checkpoint too.
#[test]
fn hole_25_a_closure_that_fills_an_entry_waits_for_nobody_who_waits_for_it() {
    type Ask = fn(&Cache) -> Result<(), ErrorKind>;
    let asks: [(&str, Ask); 3] = [
        ("checkpoint", |cache| {
            cache.checkpoint().map_err(|e| e.kind())
        }),
        ("close", |cache| cache.clone().close().map_err(|e| e.kind())),
        ("inserts", |cache| {
            // These enter new segments, and with no threads the upkeep is theirs.
            let mut inserts = (0..40_u32).map(|n| cache.insert(n.to_le_bytes(), [1; 400]));
            inserts
                .try_for_each(|done| done.map(drop))
                .map_err(|e| e.kind())
        }),
    ];
    for (name, ask) in asks {
        let cache = open(&SimFs::new(2), roomy());
        let (done, result) = channel();
        spawn({
            let cache = cache.clone();
            move || {
                let other = cache.clone();
                let fill = |_: &mut [u8]| {
                    let checkpoint = spawn(move || other.checkpoint().map_err(|e| e.kind()));
                    // Time to come to where it waits for everything before it, this entry too. Whether it got there or
                    // not, no answer below may depend on it.
                    thread::sleep(Duration::from_millis(50));
                    let _ = done.send((ask(&cache), checkpoint));
                    Ok::<_, String>(())
                };
                let _ = cache.insert_with_len("filled", 300, fill);
            }
        });
        let answer = result.recv_timeout(STUCK);
        let (answer, checkpoint) = answer.unwrap_or_else(|_| panic!("{name} waits for ever"));
        assert!(
            matches!(answer, Ok(()) | Err(ErrorKind::Invalid)),
            "{name}: {answer:?}"
        );
        assert_eq!(checkpoint.join().unwrap(), Ok(()), "{name}");
    }
}

/// Who writes a sector that is being written may be overtaken: writes come in the order of the log, one at a time.
#[test]
fn hole_17_writes_come_in_the_order_of_the_log() {
    let last: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let back: Arc<Mutex<Vec<String>>> = Arc::default();
    let (seen, wrong) = (Arc::clone(&last), Arc::clone(&back));
    let plan = Plan::new(move |call| {
        let data = call.kind == CallKind::Write && call.name.starts_with("seg-");
        // Neither the header nor the trailer.
        if data && call.offset >= 1024 && call.offset + call.len < 8 << 10 {
            let mut seen = seen.lock().unwrap();
            let end = seen.entry(call.name.to_owned()).or_default();
            // The sector in which the last one ended is written again, nothing before it.
            if call.offset + 512 < *end {
                wrong.lock().unwrap().push(format!("{call:?} after {end}"));
            }
            *end = call.offset + call.len;
        }
        Action::Pass
    });
    let fs = FaultFs::new(Arc::new(SimFs::new(3)), plan);
    let cache = Cache::open_with(Arc::new(fs), DIR, roomy().background(true)).unwrap();
    thread::scope(|scope| {
        for thread in 0..4_u32 {
            let cache = &cache;
            scope.spawn(move || {
                for n in 0..60_u32 {
                    let key = [thread.to_le_bytes(), n.to_le_bytes()].concat();
                    let value = vec![1; 40 + to_usize(n) * 7];
                    if n % 3 == 0 {
                        cache.insert_durable(key, value).unwrap();
                    } else {
                        cache.insert(key, value).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(noted(&back), Vec::<String>::new());
    assert!(noted(&last).len() > 3, "several segments");
}

fn to_usize(n: u32) -> usize {
    usize::try_from(n).unwrap()
}

/// The last sector of a write goes out with zeros behind its end, never from the ring: others are copying there, over
/// what a lap before has left.
#[test]
fn hole_17_nothing_of_the_ring_lies_behind_a_writes_end() {
    let machine = SimFs::new(4);
    let cache = open(&machine, tiny());
    let mut looked_at = 0;
    for n in 0..120_u8 {
        cache.insert("filler", [0x99; 450]).unwrap();
        let value = [n, 0x55, n, 0x55].repeat(10);
        cache.insert_durable("k", &value).unwrap();
        let (path, at) = segments_with(&machine, &value).pop().unwrap();
        let content = machine.read_file(Path::new(&path)).unwrap();
        let at = usize::try_from(at).unwrap();
        // Behind the value comes the mark that ends the buffer.
        let (end, sector_end) = (
            (at + 40).next_multiple_of(16) + 48,
            at.next_multiple_of(512),
        );
        let behind = content.get(end..sector_end).unwrap_or_default();
        // Or the frames of a checkpoint; but nothing of the lap before.
        let of_a_lap_before = behind.windows(4).any(|bytes| bytes == [0x99; 4]);
        assert!(!of_a_lap_before, "round {n}");
        looked_at += behind.len();
    }
    assert!(looked_at > 2_000, "{looked_at} bytes");
}

#[test]
fn hole_19_a_commit_syncs_every_segment_it_wrote() {
    for lens in [300_usize, 900, 2_500] {
        let machine = SimFs::new(5);
        let cache = open(&machine, roomy());
        for n in 0..40_u32 {
            // Plain ones fill the rest of a segment, the durable one lies in the next.
            for plain in 0..n % 4 {
                let key = format!("plain-{n}-{plain}");
                cache.insert(key, vec![1; lens]).unwrap();
            }
            cache
                .insert_durable(n.to_le_bytes(), vec![2; lens])
                .unwrap();
            for seed in 0..4 {
                let after = open(&machine.power_loss(seed), roomy());
                for before in 0..=n {
                    let found = after.get(before.to_le_bytes()).unwrap();
                    assert!(found.is_some(), "{lens}: {before} of {n}, seed {seed}");
                    for plain in 0..before % 4 {
                        let key = format!("plain-{before}-{plain}");
                        assert!(get(&after, &key).is_some(), "{lens}: {key}, seed {seed}");
                    }
                }
                std::mem::forget(after);
            }
        }
    }
}

/// By error and by panic: nothing waits for the entry, and the older version stays gone.
#[test]
fn hole_22_an_abandoned_entry_is_a_remove() {
    for panics in [false, true] {
        let machine = SimFs::new(6);
        let cache = open(&machine, roomy());
        cache.insert_durable("k", "older").unwrap();
        let attempt = || {
            cache.insert_with_len("k", 2_000, |_| {
                assert!(!panics, "as the test wants");
                Err("no")
            })
        };
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt));
        assert_eq!(failed.is_err(), panics);
        assert_eq!(get(&cache, "k"), None);
        let killed = machine.process_crash();
        assert_eq!(get(&open(&killed, roomy()), "k"), None);
        cache.checkpoint().unwrap();
        cache.flush().unwrap();
        for seed in 0..5 {
            let after = open(&machine.power_loss(seed), roomy());
            assert_eq!(get(&after, "k"), None, "seed {seed}");
        }
    }
}

/// The ring holds frames of the laps before; a reader of an entry that is being copied sees none of it.
#[test]
fn hole_23_an_entry_being_copied_is_not_read() {
    let cache = open(&SimFs::new(7), tiny());
    for n in 0..200_u32 {
        cache.insert("k", vec![7; 100 + to_usize(n % 5)]).unwrap();
        let fill = |value: &mut [u8]| {
            let early = cache.get("k").map_err(|e| e.kind());
            assert_eq!(early.map(|_| ()), Err(ErrorKind::Invalid), "round {n}");
            value.fill(8);
            Ok::<_, String>(())
        };
        cache.insert_with_len("k", 120, fill).unwrap();
        assert_eq!(get(&cache, "k"), Some(vec![8; 120]));
    }
}

/// Larger than the ring, whose places go on behind it: what lies in the ring before and after keeps its place.
#[test]
fn hole_24_an_extent_longer_than_the_ring_disturbs_nothing() {
    let machine = SimFs::new(8);
    let cache = open(&machine, roomy().tail_bytes(4 << 10));
    for n in 0..60_u32 {
        let small = vec![n.to_le_bytes()[0]; 50];
        let large = vec![n.to_le_bytes()[0]; 5_000];
        cache.insert("small", &small).unwrap();
        cache.insert("large", &large).unwrap();
        assert_eq!(get(&cache, "small"), Some(small.clone()), "round {n}");
        assert_eq!(get(&cache, "large"), Some(large.clone()), "round {n}");
        let after = open(&machine.process_crash(), roomy().tail_bytes(4 << 10));
        assert_eq!(get(&after, "small"), Some(small), "round {n}, killed");
        assert_eq!(get(&after, "large"), Some(large), "round {n}, killed");
        std::mem::forget(after);
    }
    kill(&machine, cache);
}

/// The older version stays until the extent is written and the small frame that names it is in the log.
#[test]
fn hole_24_an_extent_cut_short_leaves_the_older_version() {
    for n in 1.. {
        let machine = SimFs::new(9);
        let cache = open(&machine, roomy());
        cache.insert("k", vec![1; 5_000]).unwrap();
        let image = kill(&machine, cache);
        let dead = super::lab::Doomed::at(&image, move |call| call.n == n);
        let newer = Cache::open_with(Arc::new(dead.fs.clone()), DIR, roomy());
        let newer = newer.map(|cache| (cache.insert("k", vec![2; 5_000]), cache));
        std::mem::forget(newer);
        let Some(killed) = dead.image() else { break };
        let found = get(&open(&killed, roomy()), "k").expect("one of the two");
        assert!(found == vec![1; 5_000] || found == vec![2; 5_000], "{n}");
    }
}

/// The kernel lost a page of the tail and read an older one back: the log stops before it writes that.
#[test]
fn hole_26_a_tail_that_changed_underneath_is_not_written() {
    let machine = SimFs::new(10);
    let cache = open(&machine, roomy());
    cache.insert_durable("before", "v").unwrap();
    cache.insert("k", [0x66; 200]).unwrap();
    let tail = file_with(&machine, "tail-");
    let at = find_in(&machine, &tail, &[0x66; 200]).unwrap();
    // In the header, 32 bytes before the key.
    assert!(machine.flip_bit(Path::new(&tail), at - 1 - 20, 0));
    let failed = cache.flush().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Poisoned);
    assert!(segments_with(&machine, &[0x66; 200]).is_empty());
}

/// A store through the mapping must never need a block that the disk has not.
#[test]
fn hole_26_the_tail_is_written_in_full_before_it_is_mapped() {
    let written: Arc<Mutex<(u64, bool)>> = Arc::default();
    let seen = Arc::clone(&written);
    let plan = Plan::new(move |call| {
        let mut seen = seen.lock().unwrap();
        match call.kind {
            CallKind::Write if call.name.starts_with("tail-") && !seen.1 => seen.0 += call.len,
            CallKind::Map => seen.1 = true,
            _ => {}
        }
        Action::Pass
    });
    let fs = FaultFs::new(Arc::new(SimFs::new(11)), plan);
    let cache = Cache::open_with(Arc::new(fs), DIR, roomy()).unwrap();
    assert_eq!(noted(&written), ((16 << 10) + 4096, true));
    drop(cache);
}

/// One that is there has its size, and may be a copy that left its zeros out.
#[test]
fn hole_26_a_tail_that_is_there_is_given_its_room_again() {
    let machine = SimFs::new(13);
    open(&machine, roomy()).close().unwrap();
    let given: Arc<Mutex<(u64, bool)>> = Arc::default();
    let seen = Arc::clone(&given);
    let plan = Plan::new(move |call| {
        let mut seen = seen.lock().unwrap();
        match call.kind {
            CallKind::Allocate if call.name.starts_with("tail-") && !seen.1 => seen.0 += call.len,
            CallKind::Map => seen.1 = true,
            _ => {}
        }
        Action::Pass
    });
    let fs = FaultFs::new(Arc::new(machine), plan);
    let cache = Cache::open_with(Arc::new(fs), DIR, roomy()).unwrap();
    assert_eq!(noted(&given), ((16 << 10) + 4096, true));
    drop(cache);
}

#[test]
fn hole_29_segments_are_read_without_read_ahead() {
    let advised: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&advised);
    let plan = Plan::new(move |call| {
        let advice = call.kind == CallKind::Advise;
        seen.lock()
            .unwrap()
            .extend(advice.then(|| call.name.to_owned()));
        Action::Pass
    });
    let fs = FaultFs::new(Arc::new(SimFs::new(12)), plan);
    let cache = Cache::open_with(Arc::new(fs), DIR, tiny()).unwrap();
    cache.insert("k", [1; 300]).unwrap();
    for n in 0..20_u32 {
        cache.insert_durable(n.to_le_bytes(), [2; 300]).unwrap();
    }
    assert!(get(&cache, "k").is_some());
    assert_eq!(noted(&advised), ["seg-000000"]);
}
