//! Exact LRU in memory, charged with value bytes alone: what a cache without any overhead would do.

use std::hash::BuildHasherDefault;

use lru::LruCache;

use crate::model::AsIs;
use crate::report::Counts;
use crate::trace::Request;

pub(crate) fn replay(trace: &[Request], capacity: u64) -> Counts {
    let mut counts = Counts::default();
    let mut cache = LruCache::unbounded_with_hasher(BuildHasherDefault::<AsIs>::default());
    let mut used = 0;
    for request in trace {
        let bytes = u64::from(request.value_bytes);
        let hash = crate::model::hash(request.key);
        let hit = cache.get(&hash).is_some();
        counts.request(bytes, hit);
        if hit || bytes > capacity {
            continue;
        }
        cache.put(hash, bytes);
        used += bytes;
        while used > capacity {
            let Some((_, gone)) = cache.pop_lru() else {
                break;
            };
            used -= gone;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recent_goes_first() {
        let of = |keys: &[u64]| -> Vec<Request> {
            let request = |key: &u64| Request {
                key: *key,
                value_bytes: 10,
            };
            keys.iter().map(request).collect()
        };
        // 1 2 3 fill it; 1 is read, so 4 drives out 2.
        let counts = replay(&of(&[1, 2, 3, 1, 4, 1, 3, 4, 2]), 30);
        assert_eq!((counts.hits, counts.requests), (4, 9));
        assert_eq!(replay(&of(&[1, 1]), 9).hits, 0, "too large for the cache");
    }
}
