//! The process after: it opens the cache and looks for keys.

use std::time::{Duration, Instant};

use crate::life::{key, open_cache};
use crate::{Args, Result, say_and_end};

/// Keys are looked for in steps of so many: coprime to most numbers of entries.
const STEP: u64 = 7_368_787;

pub(crate) fn open(args: &Args) -> Result<()> {
    let started = Instant::now();
    let cache = open_cache(args)?;
    let opened = started.elapsed();
    let (mut first, mut hits) = (Duration::ZERO, 0);
    for look in 0..args.looks {
        let n = look * STEP % args.entries;
        let Some(found) = cache.get(key(n))? else {
            continue;
        };
        if found.get(..8) != Some(&n.to_le_bytes()) {
            return Err(format!("key {n} shows another value").into());
        }
        if hits == 0 {
            first = started.elapsed();
        }
        hits += 1;
    }
    let looked = started.elapsed();
    let stats = cache.stats();
    let said = format!(
        "open {:.1} ms, first hit {:.1} ms, {} looks {:.1} ms, {hits} of them hits; {} entries from the checkpoint, {} operations replayed",
        ms(opened),
        ms(first),
        args.looks,
        ms(looked),
        stats.recovered_from_checkpoint,
        stats.replayed
    );
    say_and_end(args, cache, &said)
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}
