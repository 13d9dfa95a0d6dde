//! The cache itself, on files in a temporary directory.

use std::sync::Arc;

use perennial::{Cache, ErrorKind, Eviction, Options};

use crate::args::{PolicyName, Replay, Switch};
use crate::failure::Failure;
use crate::model::{ROW_BYTES, Shape, charge, hash, held_ready};
use crate::report::Counts;
use crate::steady::Steady;
use crate::trace::Request;

pub(crate) fn replay(trace: &[Request], args: &Replay, shape: Shape) -> Result<Counts, Failure> {
    let dir = tempfile::tempdir().map_err(Failure::Temporary)?;
    let tail = tempfile::tempdir().map_err(Failure::Temporary)?;
    let options = options(args, shape)?.tail_dir(tail.path());
    let cache = Cache::open_with(Arc::new(Steady::default()), dir.path(), options)?;
    let counts = replay_on(&cache, trace, shape, held_ready(needs_spare(args.policy)))?;
    cache.close()?;
    Ok(counts)
}

fn options(args: &Replay, shape: Shape) -> Result<Options, Failure> {
    let eviction = match args.policy {
        PolicyName::Fifo => Eviction::Fifo,
        PolicyName::Clock => Eviction::Clock,
        PolicyName::S3Merge => Eviction::S3Merge,
        PolicyName::Lru => return Err(Failure::NotAvailable(args.policy)),
    };
    let held_ready = held_ready(needs_spare(args.policy));
    let capacity = shape.capacity + held_ready * shape.segment_bytes;
    Ok(Options::new()
        .capacity_bytes(capacity)
        .segment_bytes(shape.segment_bytes)
        .tail_bytes(shape.ring_bytes())
        .index_shards(1 << shape.shards_log2())
        // All upkeep in its place: the same counts each time.
        .background(false)
        .eviction(eviction)
        .promote_at(args.promote)
        .placement_duel(args.duel == Switch::On))
}

/// Whether a file is left for survivors.
fn needs_spare(policy: PolicyName) -> bool {
    policy != PolicyName::Fifo
}

fn replay_on(
    cache: &Cache,
    trace: &[Request],
    shape: Shape,
    held_ready: u64,
) -> Result<Counts, Failure> {
    let largest = trace.iter().map(|request| request.value_bytes).max();
    let value = vec![0x5a; usize::try_from(largest.unwrap_or(0)).unwrap_or(usize::MAX)];
    let mut counts = Counts::default();
    for request in trace {
        let key = request.key.to_le_bytes();
        let hit = cache.get(key)?.is_some();
        counts.request(request.value_bytes.into(), hit);
        if !hit && insert(cache, key, &value, request.value_bytes)? {
            counts.admitted_bytes += charge(hash(request.key), request.value_bytes);
        }
    }
    cache.flush()?;
    let stats = cache.stats();
    // Whole segments: those that were reclaimed, and those that are there, prepared ones among them.
    let segments = stats.reclaimed_segments + stats.max_segments;
    counts.flash_bytes = segments * shape.segment_bytes;
    counts.moved_bytes = stats.moved_bytes + stats.moved * ROW_BYTES;
    counts.segments = stats.max_segments - held_ready;
    Ok(counts)
}

/// False: the value does not fit in a segment.
fn insert(cache: &Cache, key: [u8; 8], value: &[u8], bytes: u32) -> Result<bool, Failure> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    match cache.insert(key, &value[..bytes]) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn requests(keys: impl IntoIterator<Item = u64>) -> Vec<Request> {
        let request = |key| Request {
            key,
            value_bytes: 1000,
        };
        keys.into_iter().map(request).collect()
    }

    fn shape(segment_bytes: u64) -> Shape {
        Shape::within(1 << 20, 0, Some(segment_bytes))
    }

    fn args(policy: &str) -> Replay {
        let line = format!("perennial-bench replay t.bin --capacity 1048576 --policy {policy}");
        let args = Args::try_parse_from(line.split(' ')).unwrap();
        let Command::Replay(replay) = args.command else {
            panic!("not a replay");
        };
        replay
    }

    #[test]
    fn the_cache_itself_answers() {
        let trace = requests((0..100).chain(0..100));
        for policy in ["fifo", "clock", "s3-merge"] {
            let counts = replay(&trace, &args(policy), shape(64 << 10)).unwrap();
            assert_eq!((counts.requests, counts.hits), (200, 100));
            assert_eq!(counts.admitted_bytes, 100 * charge(1, 1000));
            assert!(counts.flash_bytes >= counts.admitted_bytes);
        }
    }

    #[test]
    fn the_same_trace_is_answered_alike_each_time() {
        let keys = (0..2_000_u64).flat_map(|n| [n, n * n % 701, n % 97]);
        let trace = requests(keys);
        let [one, other] =
            [0, 1].map(|_| replay(&trace, &args("s3-merge"), shape(32 << 10)).unwrap());
        assert!(one.hits > 0 && one.hits < one.requests);
        assert_eq!((one.hits, one.moved_bytes), (other.hits, other.moved_bytes));
    }

    #[test]
    fn what_only_the_model_has_is_refused() {
        let refused = replay(&[], &args("lru"), shape(64 << 10)).unwrap_err();
        assert!(matches!(refused, Failure::NotAvailable(PolicyName::Lru)));
        assert_eq!(refused.status(), 4);
    }
}
