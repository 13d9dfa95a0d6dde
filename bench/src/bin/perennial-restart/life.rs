//! The process before: it fills the cache and comes to its end.

use perennial::{Cache, Options};

use crate::{Args, Ending, Result, say_and_end};

/// Of what comes between two checkpoints.
const WORST_PERCENT: u64 = 95;
/// Keys that are put again between two looks at whether a checkpoint was written.
const AT_ONCE: u64 = 1024;

/// The same for every process. Twice what the entries take: nothing is evicted, and there is room for checkpoints.
pub(crate) fn open_cache(args: &Args) -> Result<Cache> {
    let capacity_bytes = (2 * args.entries * frame_bytes(args)).max(1 << 30);
    let mut options = Options::new()
        .capacity_bytes(capacity_bytes)
        .memory_tier_bytes(0);
    if let Some(entries) = args.at_once {
        options = options.load_at_open_entries(entries);
    }
    Ok(Cache::open(&args.dir, options)?)
}

/// What an entry takes of the log: its header, what is in it, the padding, and its row in the segment's table.
fn frame_bytes(args: &Args) -> u64 {
    (args.value_bytes + 8 + 40).next_multiple_of(16) + 32
}

/// Keys come in no order, as hashes of names would.
pub(crate) fn key(n: u64) -> [u8; 8] {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
}

pub(crate) fn live(args: &Args) -> Result<()> {
    let cache = open_cache(args)?;
    let mut filling = Filling {
        cache: &cache,
        value: vec![0x5a; usize::try_from(args.value_bytes)?],
    };
    for n in 0..args.entries {
        filling.put(n)?;
    }
    let behind = match args.ending {
        Ending::Clean => 0,
        Ending::Kill => {
            cache.checkpoint()?;
            let puts = (args.behind_mib << 20) / frame_bytes(args);
            filling.put_again(puts, args.entries)?;
            puts
        }
        Ending::Worst => filling.until_the_worst(args.entries)?,
    };
    let stats = cache.stats();
    let said = format!(
        "{} entries of {} bytes, {:?}: {behind} puts and {} MiB of log behind the last checkpoint of {} bytes; {} checkpoints took {} of {} MiB written",
        args.entries,
        args.value_bytes,
        args.ending,
        (behind * frame_bytes(args)) >> 20,
        stats.checkpoint_bytes / stats.checkpoints.max(1),
        stats.checkpoints,
        stats.checkpoint_bytes >> 20,
        (stats.inserts * frame_bytes(args) + stats.checkpoint_bytes) >> 20,
    );
    say_and_end(args, cache, &said)
}

struct Filling<'a> {
    cache: &'a Cache,
    value: Vec<u8>,
}

impl Filling<'_> {
    fn put(&mut self, n: u64) -> Result<()> {
        self.value[..8].copy_from_slice(&n.to_le_bytes());
        self.cache.insert(key(n), &self.value)?;
        Ok(())
    }

    fn put_again(&mut self, puts: u64, entries: u64) -> Result<()> {
        (0..puts).try_for_each(|n| self.put(n % entries))
    }

    /// Puts the oldest again until a checkpoint was written, and then once more nearly as many as that took. How many that is.
    fn until_the_worst(&mut self, entries: u64) -> Result<u64> {
        let between = self
            .until_a_checkpoint(entries)
            .and_then(|_| self.until_a_checkpoint(entries))?;
        let behind = between * WORST_PERCENT / 100;
        self.put_again(behind, entries)?;
        Ok(behind)
    }

    fn until_a_checkpoint(&mut self, entries: u64) -> Result<u64> {
        let before = self.cache.stats().checkpoints;
        let mut puts = 0;
        while self.cache.stats().checkpoints == before {
            for _ in 0..AT_ONCE {
                self.put(puts % entries)?;
                puts += 1;
            }
        }
        Ok(puts)
    }
}
