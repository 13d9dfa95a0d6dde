//! Whoever listens hears of every entry that the cache drops by itself, once, and of no other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use perennial::{
    Cache, ErrorKind, EvictReason, Eviction, EvictionListener, InsertOptions, Options,
};
use perennial_failpoints::SimFs;

use crate::small::{DIR, Rng};

const ALL: [Eviction; 3] = [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge];

/// What was told, by key.
type Told = Arc<Mutex<BTreeMap<Vec<u8>, Vec<u64>>>>;

fn options(eviction: Eviction) -> Options {
    Options::new()
        .capacity_bytes(200 << 10)
        .segment_bytes(8 << 10)
        .tail_bytes(8 << 10)
        .memory_tier_bytes(0)
        .index_shards(2)
        .eviction(eviction)
        .background(false)
}

fn open(fs: &SimFs, options: Options) -> Cache {
    Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap()
}

fn telling(told: &Told, options: Options) -> Options {
    let told = Arc::clone(told);
    options.on_evict(move |key: &[u8], size: u64, reason: EvictReason| {
        assert_eq!(reason, EvictReason::Reclaimed);
        let mut told = told.lock().unwrap();
        told.entry(key.to_vec()).or_default().push(size);
    })
}

/// Values of all sizes, large ones among them; every key is stored once, some are removed.
#[test]
fn stored_is_there_or_evicted_or_removed() {
    for eviction in ALL {
        let (told, fs) = (Told::default(), SimFs::new(1));
        let cache = open(&fs, telling(&told, options(eviction)));
        let mut rng = Rng(5);
        let mut sizes = BTreeMap::new();
        let mut removed = 0;
        for n in 0..4_000 {
            let key = format!("key-{n}").into_bytes();
            let len = if rng.below(10) == 0 { 4_000 } else { 400 };
            let len = usize::try_from(rng.below(len)).unwrap();
            cache.insert(&key, vec![1; len]).unwrap();
            sizes.insert(key.clone(), (key.len() + len) as u64);
            (0..10).for_each(|k| drop(cache.get(format!("key-{k}")).unwrap()));
            if rng.below(20) == 0 {
                let there = cache.contains(&key).unwrap();
                cache.remove(&key).unwrap();
                sizes.remove(&key).filter(|_| there).unwrap();
                removed += 1;
            }
        }
        let told = told.lock().unwrap();
        assert!(
            told.values().all(|sizes| sizes.len() == 1),
            "{eviction:?}: told twice"
        );
        assert!(
            told.iter()
                .all(|(key, told)| sizes.get(key) == Some(&told[0]))
        );
        let stats = cache.stats();
        assert_eq!(stats.evicted, told.len() as u64, "{eviction:?}");
        assert_eq!(
            stats.entries + stats.evicted + removed,
            4_000,
            "{eviction:?}"
        );
        for key in sizes.keys() {
            assert_ne!(
                cache.contains(key).unwrap(),
                told.contains_key(key),
                "{eviction:?}"
            );
        }
        assert!(eviction == Eviction::Fifo || stats.moved > 10);
    }
}

/// What is stored anew is no eviction of the older version, and a clear tells one number.
#[test]
fn replaced_is_not_told_and_cleared_is_told_as_a_number() {
    struct Both(Told, Arc<Mutex<u64>>);
    impl EvictionListener for Both {
        fn evicted(&self, key: &[u8], size: u64, _: EvictReason) {
            self.0
                .lock()
                .unwrap()
                .entry(key.to_vec())
                .or_default()
                .push(size);
        }
        fn cleared(&self, entries: u64) {
            *self.1.lock().unwrap() += entries;
        }
    }
    for eviction in ALL {
        let (told, cleared) = (Told::default(), Arc::new(Mutex::new(0)));
        let both = Both(Arc::clone(&told), Arc::clone(&cleared));
        let cache = open(&SimFs::new(1), options(eviction).on_evict(both));
        let mut rng = Rng(9);
        // Stored and not replaced: what went, went by eviction.
        let mut stored = 0_u64;
        for _ in 0..5_000 {
            let key = format!("key-{}", rng.below(900));
            stored += u64::from(!cache.contains(&key).unwrap());
            cache.insert(&key, [3; 250]).unwrap();
        }
        let count = || told.lock().unwrap().values().map(Vec::len).sum::<usize>() as u64;
        assert_eq!(stored, cache.stats().entries + count(), "{eviction:?}");
        let (before, entries) = (count(), cache.stats().entries);
        cache.clear().unwrap();
        assert_eq!((*cleared.lock().unwrap(), count()), (entries, before));
    }
}

#[test]
fn a_listener_that_panics_or_asks_the_cache_breaks_nothing() {
    for eviction in ALL {
        let own: Arc<Mutex<Option<Cache>>> = Arc::default();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (in_it, answers) = (Arc::clone(&own), Arc::clone(&asked));
        let listener = move |key: &[u8], _: u64, _: EvictReason| {
            let cache = in_it.lock().unwrap().clone();
            let Some(cache) = cache else { return };
            assert!(cache.get(key).unwrap().is_none(), "it is gone already");
            let flushed = cache.flush().map_err(|e| e.kind());
            let cleared = cache.clear().map_err(|e| e.kind());
            let inserted = cache.insert(b"from inside", [1; 50]).map_err(|e| e.kind());
            answers
                .lock()
                .unwrap()
                .push((flushed, cleared, inserted.map(drop)));
            panic!("a listener's own fault");
        };
        let cache = open(&SimFs::new(1), options(eviction).on_evict(listener));
        *own.lock().unwrap() = Some(cache.clone());
        for n in 0..1_500 {
            cache.insert(format!("{n}"), [1; 300]).unwrap();
        }
        let asked = asked.lock().unwrap();
        assert!(asked.len() > 500);
        for (flushed, cleared, inserted) in &*asked {
            assert!(matches!(flushed, Ok(()) | Err(ErrorKind::Invalid)));
            assert_eq!(*cleared, Err(ErrorKind::Invalid));
            assert!(matches!(inserted, Ok(()) | Err(ErrorKind::Invalid)));
        }
        assert!(asked.iter().any(|(_, _, inserted)| inserted.is_ok()));
        *own.lock().unwrap() = None;
        cache.close().unwrap();
    }
}

/// What had ended when its segment went is told as that, and nothing else is.
#[test]
fn what_had_ended_is_told_as_expired() {
    const ENDS_S: u64 = 60;
    for eviction in ALL {
        let reasons = Arc::new(Mutex::new(BTreeMap::new()));
        let told = Arc::clone(&reasons);
        let listener = move |key: &[u8], _: u64, reason: EvictReason| {
            told.lock().unwrap().insert(key.to_vec(), reason);
        };
        let fs = SimFs::new(1);
        let cache = open(&fs, options(eviction).on_evict(listener));
        let ends = InsertOptions::new().ttl(Duration::from_secs(ENDS_S));
        for n in 0..40 {
            cache
                .insert_with(format!("ends-{n}"), [1; 300], ends.clone())
                .unwrap();
            cache.insert(format!("stays-{n}"), [1; 300]).unwrap();
        }
        fs.advance(ENDS_S * 1000 + 1000);
        for n in 0..1_500 {
            cache.insert(format!("{n}"), [1; 300]).unwrap();
        }
        let reasons = reasons.lock().unwrap();
        let of = |name: &str| {
            let told = reasons
                .iter()
                .filter(|(key, _)| key.starts_with(name.as_bytes()));
            told.map(|(_, reason)| *reason).collect::<Vec<_>>()
        };
        assert_eq!(of("ends-"), [EvictReason::Expired; 40], "{eviction:?}");
        assert_eq!(of("stays-"), [EvictReason::Reclaimed; 40], "{eviction:?}");
    }
}
