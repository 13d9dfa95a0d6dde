//! Filters built anew while others insert.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use perennial::{Cache, Options};
use perennial_failpoints::SimFs;

/// Keys of a thread that are there at a time.
const WINDOW: u64 = 100;
/// Keys of a thread in all.
const KEYS: u64 = 6_000;

/// 24: a filter that is built anew forgets nothing that is acknowledged. Three threads insert, read and remove keys of their
/// own; so many of these are removed that filters are built all the time, by whoever removes.
#[test]
fn minimal_24_bloom_rebuild_has_no_false_negative() {
    filters_built_anew_forget_nothing().expect("every key is found");
}

pub(crate) fn filters_built_anew_forget_nothing() -> Result<(), String> {
    for shards in [1, 8] {
        let options = Options::new()
            .capacity_bytes(16 << 20)
            .segment_bytes(1 << 20)
            .tail_bytes(1 << 20)
            .index_shards(shards)
            .background(false);
        let cache = Cache::open_with(Arc::new(SimFs::new(1)), "/cache", options);
        let cache = cache.map_err(|error| error.to_string())?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let other = |thread| {
                let (cache, stop) = (&cache, &stop);
                scope.spawn(move || come_and_go(cache, thread, stop))
            };
            let others = [other(1), other(2)];
            let own = come_and_go(&cache, 0, &stop);
            let said = others.map(|other| other.join().unwrap_or_else(|_| Err("panicked".into())));
            said.into_iter().fold(own, Result::and)
        })?;
        let rebuilds = cache.stats().bloom_rebuilds;
        println!("{rebuilds} filters built anew");
        if rebuilds < 100 {
            return Err(format!("only {rebuilds} filters were built anew"));
        }
    }
    Ok(())
}

/// A window of keys moves on: each is found from its insert to its remove.
fn come_and_go(cache: &Cache, thread: u64, stop: &AtomicBool) -> Result<(), String> {
    let key = |n: u64| format!("{thread}/{n}");
    let failed = |error: perennial::Error| error.to_string();
    for n in 0..KEYS {
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        cache.insert(key(n), b"value").map_err(failed)?;
        for back in [0, 1, n % WINDOW] {
            let asked = key(n - back.min(n));
            if !cache.contains(&asked).map_err(failed)? {
                stop.store(true, Ordering::Relaxed);
                return Err(format!("{asked} is denied behind {}", key(n)));
            }
        }
        if n >= WINDOW {
            cache.remove(key(n - WINDOW)).map_err(failed)?;
        }
    }
    Ok(())
}
