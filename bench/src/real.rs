//! The cache itself, on files in a temporary directory.

use perennial::{Cache, ErrorKind, Options};

use crate::args::PolicyName;
use crate::failure::Failure;
use crate::model::{charge, hash};
use crate::report::Counts;
use crate::trace::Request;

pub(crate) fn replay(
    trace: &[Request],
    policy: PolicyName,
    capacity: u64,
    segment_bytes: u64,
) -> Result<Counts, Failure> {
    if policy != PolicyName::Fifo {
        return Err(Failure::NotAvailable(policy));
    }
    let dir = tempfile::tempdir().map_err(Failure::Temporary)?;
    let options = Options::new()
        .capacity_bytes(capacity)
        .segment_bytes(power_of_two(segment_bytes));
    let cache = Cache::open(dir.path(), options)?;
    let counts = replay_on(&cache, trace)?;
    cache.close()?;
    Ok(counts)
}

fn replay_on(cache: &Cache, trace: &[Request]) -> Result<Counts, Failure> {
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
    // Whole segments, those prepared for what comes next among them.
    let segments = stats.reclaimed_segments + stats.segments;
    counts.flash_bytes = segments * (stats.capacity_bytes / stats.max_segments.max(1));
    counts.segments = stats.max_segments;
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

/// The largest size of a segment that the cache takes and that is no larger.
fn power_of_two(bytes: u64) -> u64 {
    1 << bytes.clamp(8 << 10, 64 << 20).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(keys: impl IntoIterator<Item = u64>) -> Vec<Request> {
        let request = |key| Request {
            key,
            value_bytes: 1000,
        };
        keys.into_iter().map(request).collect()
    }

    #[test]
    fn the_cache_itself_answers() {
        let trace = requests((0..100).chain(0..100));
        let counts = replay(&trace, PolicyName::Fifo, 1 << 20, 64 << 10).unwrap();
        assert_eq!((counts.requests, counts.hits), (200, 100));
        assert_eq!(counts.admitted_bytes, 100 * charge(1, 1000));
        assert!(counts.flash_bytes >= counts.admitted_bytes);
    }

    #[test]
    fn what_it_cannot_do_yet_is_refused() {
        for policy in [PolicyName::Clock, PolicyName::S3Merge, PolicyName::Lru] {
            let refused = replay(&[], policy, 1 << 20, 64 << 10).unwrap_err();
            assert!(matches!(refused, Failure::NotAvailable(p) if p == policy));
            assert_eq!(refused.status(), 4);
        }
    }
}
