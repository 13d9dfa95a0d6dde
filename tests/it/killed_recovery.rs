//! A process dies in the middle of an insert, and the next one dies in the middle of its recovery, at any call: the one
//! after that finds everything that had returned.

use std::path::Path;
use std::sync::{Arc, Mutex};

use perennial::{Cache, Options};
use perennial_failpoints::lab::{Crash, Keeps, Oracle, value};
use perennial_failpoints::{FaultFs, Plan, SimFs};

const INSERTS: u64 = 120;
const VALUE_BYTES: usize = 100;

fn options() -> Options {
    Options::new()
        .capacity_bytes(1 << 20)
        .segment_bytes(8 << 10)
        .tail_bytes(64 << 10)
        .background(false)
}

fn open(fs: &SimFs) -> Cache {
    Cache::open_with(Arc::new(fs.clone()), "/cache", options()).expect("the cache opens")
}

/// What is on disk and in the tail when the process dies inside an insert, for many inserts in a row.
fn deaths() -> Vec<(SimFs, Oracle)> {
    let fs = SimFs::new(1);
    let cache = open(&fs);
    let mut oracle = Oracle::new(Keeps::Everything);
    let mut deaths = Vec::new();
    for op in 1..=INSERTS {
        let key = format!("key-{}", op % 20).into_bytes();
        let made = value(&key, op, VALUE_BYTES);
        let before = oracle.clone();
        let filled = cache.insert_with_len(&key, VALUE_BYTES, |buf| {
            deaths.push((fs.process_crash(), before));
            buf.copy_from_slice(&made);
            Ok::<(), String>(())
        });
        filled.expect("insert");
        oracle.returned(&key, Some(op), false);
    }
    deaths
}

/// The machine after a recovery that was killed after call `n`; `None` when it was over before.
fn killed_after(fs: &SimFs, n: u64) -> Option<SimFs> {
    let fs = fs.process_crash();
    let image = Arc::new(Mutex::new(None));
    let (taken, machine) = (Arc::clone(&image), fs.clone());
    let on_kill = move || *taken.lock().unwrap() = Some(machine.process_crash());
    let faulty = FaultFs::with_kill(Arc::new(fs), Plan::kill_after(n), Arc::new(on_kill));
    let opened = Cache::open_with(Arc::new(faulty), "/cache", options());
    let image = image.lock().unwrap().take();
    drop(opened);
    image
}

/// What an open finds, and what the next one does after a clean close.
fn check(fs: &SimFs, oracle: &Oracle) -> Result<(), String> {
    let mut oracle = oracle.clone();
    for life in ["killed", "closed"] {
        let cache = open(fs);
        let stats = cache.stats();
        if stats.damaged + stats.forgotten_all > 0 {
            return Err(format!("{life}: {stats:?}"));
        }
        for key in oracle.known_keys() {
            let found = cache.get(&key).expect("get");
            oracle
                .check_recovered(&key, found.as_deref(), Crash::Kill)
                .map_err(|why| format!("{life}: {why}"))?;
        }
        let tails = fs.file_names(Path::new("/cache"));
        let tails = tails.iter().filter(|name| name.starts_with("tail-"));
        assert_eq!(tails.count(), 1);
        cache.close().expect("close");
    }
    Ok(())
}

/// The index already points at the insert that is under way when its image is taken; the process dies before the insert
/// returns, so the older version counts.
#[test]
fn a_checkpoint_made_during_an_insert_hides_no_older_version() {
    let fs = SimFs::new(1);
    let cache = open(&fs);
    cache.insert("key", "returned").expect("insert");
    // Replay begins with a whole segment; the older version must lie in one before.
    for n in 0..40_u32 {
        cache.insert(n.to_le_bytes(), [7; 300]).expect("insert");
    }
    let mut died = None;
    let filled = cache.insert_with_len("key", 100, |_| {
        // It may be refused here; it must not be made.
        let _ = cache.checkpoint();
        cache.insert("other", "returned too")?;
        died = Some(fs.process_crash());
        Ok::<(), perennial::Error>(())
    });
    filled.expect("insert");
    let cache = open(&died.expect("an image"));
    let found = |key: &str| cache.get(key).expect("get").map(|value| value.to_vec());
    assert_eq!(found("other").as_deref(), Some(&b"returned too"[..]));
    assert_eq!(found("key").as_deref(), Some(&b"returned"[..]));
}

#[test]
fn a_recovery_can_be_killed_anywhere_and_run_again() {
    for (death, (fs, oracle)) in deaths().into_iter().enumerate() {
        let images = (1..).map_while(|n| Some((n, killed_after(&fs, n)?)));
        for (n, image) in images {
            if let Err(why) = check(&image, &oracle) {
                panic!("died in insert {death}, recovery killed after call {n}: {why}");
            }
        }
    }
}
