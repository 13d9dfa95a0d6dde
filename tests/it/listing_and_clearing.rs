//! Keys are listed once each, in any order or in theirs; what is removed by prefix or cleared stays away.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use perennial::{Cache, ErrorKind, Eviction, Options};
use perennial_failpoints::SimFs;

use crate::small::{DIR, Rng};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn options(capacity_bytes: u64) -> Options {
    Options::new()
        .capacity_bytes(capacity_bytes)
        .segment_bytes(8 << 10)
        .tail_bytes(8 << 10)
        .memory_tier_bytes(8 << 10)
        .index_shards(4)
        .checkpoint_every_bytes(64 << 10)
        .background(false)
}

fn open(fs: &SimFs, options: Options) -> Cache {
    Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap()
}

fn put(cache: &Cache, key: &[u8], len: usize) {
    cache.insert(key, vec![1; len]).unwrap();
}

fn listed(cache: &Cache) -> Vec<Vec<u8>> {
    cache.keys().map(|key| key.unwrap().into_vec()).collect()
}

/// Short keys and long ones, in families.
fn key(rng: &mut Rng) -> Vec<u8> {
    let family = [&b"a"[..], b"ab", b"b\xff", b"c/"][usize::try_from(rng.below(4)).unwrap()];
    let mut key = family.to_vec();
    let n = rng.below(30);
    key.extend(n.to_string().bytes());
    if n < 4 {
        key.resize(usize::try_from(200 * (n + 1)).unwrap(), b'x');
    }
    key
}

fn check(cache: &Cache, model: &Model, rng: &mut Rng) {
    let mut all = listed(cache);
    all.sort();
    assert_eq!(all, model.keys().cloned().collect::<Vec<_>>());
    let scanned: Vec<_> = cache
        .scan::<&[u8]>(..)
        .map(|key| key.unwrap().into_vec())
        .collect();
    assert_eq!(scanned, all);
    let (one, other) = (key(rng), key(rng));
    let range = (
        Bound::Excluded(one.clone().min(other.clone())),
        Bound::Included(one.clone().max(other)),
    );
    let between: Vec<_> = cache
        .scan(range.clone())
        .map(|key| key.unwrap().into_vec())
        .collect();
    let expected: Vec<_> =
        if range.0 == Bound::Excluded(one.clone()) && range.1 == Bound::Included(one.clone()) {
            Vec::new()
        } else {
            model.range(range).map(|(key, _)| key.clone()).collect()
        };
    assert_eq!(between, expected);
    let prefix = &one[..1 + usize::try_from(rng.below(2)).unwrap()];
    let begun: Vec<_> = cache
        .scan_prefix(prefix)
        .map(|key| key.unwrap().into_vec())
        .collect();
    let with = |key: &&Vec<u8>| key.starts_with(prefix);
    assert_eq!(
        begun,
        model.keys().filter(with).cloned().collect::<Vec<_>>()
    );
    for (key, value) in model {
        assert_eq!(&*cache.get(key).unwrap().unwrap(), &value[..]);
    }
    assert_eq!(cache.stats().entries, model.len() as u64);
}

/// A process that is killed loses nothing; what is flushed, lost power does not take.
#[test]
fn what_is_listed_is_what_is_there_through_closes_kills_and_lost_power() {
    for seed in 0..40 {
        let mut rng = Rng(seed);
        let mut fs = SimFs::new(seed);
        let mut cache = open(&fs, options(4 << 20));
        let mut model = Model::new();
        for step in 0..250 {
            match rng.below(60) {
                0..=34 => {
                    let len = if rng.below(8) == 0 { 3_000 } else { 200 };
                    let (key, len) = (key(&mut rng), usize::try_from(rng.below(len)).unwrap());
                    let value = vec![u8::try_from(step).unwrap(); len];
                    cache.insert(&key, &value).unwrap();
                    model.insert(key, value);
                }
                35..=41 => {
                    let key = key(&mut rng);
                    cache.remove(&key).unwrap();
                    model.remove(&key);
                }
                42..=44 => {
                    let key = key(&mut rng);
                    let prefix =
                        &key[..1 + usize::try_from(rng.below(3)).unwrap().min(key.len() - 1)];
                    let before = model.len();
                    model.retain(|key, _| !key.starts_with(prefix));
                    let removed = cache.remove_prefix(prefix).unwrap();
                    assert_eq!(removed, (before - model.len()) as u64);
                }
                45 => {
                    cache.clear().unwrap();
                    model.clear();
                }
                46 => cache.checkpoint().unwrap(),
                47..=48 => {
                    cache.close().unwrap();
                    cache = open(&fs, options(4 << 20));
                }
                49..=50 => {
                    fs = fs.process_crash();
                    std::mem::forget(std::mem::replace(&mut cache, open(&fs, options(4 << 20))));
                }
                51 => {
                    cache.flush().unwrap();
                    fs = fs.power_loss(seed);
                    std::mem::forget(std::mem::replace(&mut cache, open(&fs, options(4 << 20))));
                }
                _ => check(&cache, &model, &mut rng),
            }
        }
        check(&cache, &model, &mut rng);
        assert_eq!(cache.stats().damaged_reads, 0, "seed {seed}");
    }
}

/// Reclaim moves entries all the time between two items of a listing, and their old places are written over.
#[test]
fn a_key_that_is_there_the_whole_time_is_listed_once() {
    for eviction in [Eviction::Clock, Eviction::S3Merge] {
        for len in [100, 700, 2_000] {
            let cache = open(&SimFs::new(1), options(300 << 10).eviction(eviction));
            let hot: BTreeSet<Vec<u8>> = (0..20).map(|n| format!("hot-{n}").into_bytes()).collect();
            let evicted = RefCell::new(BTreeSet::new());
            let mut next = 0;
            let mut churn = |puts: u64| {
                for _ in 0..puts {
                    next += 1;
                    cache.insert(format!("cold-{next}"), vec![7; len]).unwrap();
                    if next % 8 == 0 {
                        let gone = hot.iter().filter(|key| cache.get(key).unwrap().is_none());
                        evicted.borrow_mut().extend(gone.cloned());
                    }
                }
            };
            for key in &hot {
                cache.insert(key, vec![1; len]).unwrap();
            }
            churn(2_000);
            let moved = cache.stats().moved;
            for _ in 0..5 {
                // In the log, so that all of them are moved meanwhile.
                hot.iter().for_each(|key| put(&cache, key, len));
                evicted.borrow_mut().clear();
                let mut seen = Vec::new();
                for key in cache.keys() {
                    seen.push(key.unwrap().into_vec());
                    churn(if seen.len() % 4 == 0 { 40 } else { 0 });
                }
                let distinct: BTreeSet<_> = seen.iter().cloned().collect();
                assert_eq!(distinct.len(), seen.len(), "{eviction:?} {len}: twice");
                // Rarely a policy drops even what is read.
                let evicted = evicted.borrow();
                assert!(evicted.len() < 16, "{eviction:?} {len}: {evicted:?}");
                let missed = hot.difference(&distinct);
                let missed: Vec<_> = missed.filter(|key| !evicted.contains(*key)).collect();
                assert!(missed.is_empty(), "{eviction:?} {len}: {missed:?}");
                let scanned: Vec<_> = cache.scan_prefix("hot-").map(Result::unwrap).collect();
                assert!(scanned.is_sorted() && scanned.len() + evicted.len() == 20);
            }
            assert!(cache.stats().moved >= moved + 20, "{eviction:?} {len}");
            assert_eq!(cache.stats().damaged_reads, 0);
        }
    }
}

#[test]
fn a_key_that_is_stored_anew_meanwhile_is_listed_once() {
    let cache = open(&SimFs::new(1), options(4 << 20));
    let keys: BTreeSet<Vec<u8>> = (0..500).map(|n| format!("key-{n}").into_bytes()).collect();
    for key in &keys {
        cache.insert(key, [1; 300]).unwrap();
    }
    let mut seen = Vec::new();
    for key in cache.keys() {
        keys.iter().take(5).for_each(|key| put(&cache, key, 300));
        seen.push(key.unwrap().into_vec());
    }
    seen.sort();
    assert_eq!(seen, keys.into_iter().collect::<Vec<_>>());
}

#[test]
fn a_listing_of_a_closed_cache_ends_with_an_error() {
    let cache = open(&SimFs::new(1), options(4 << 20));
    (0..2_000).for_each(|n| put(&cache, n.to_string().as_bytes(), 100));
    let clone = cache.clone();
    let mut keys = cache.keys();
    assert!(keys.next().unwrap().is_ok());
    clone.close().unwrap();
    let errors: Vec<_> = keys.filter_map(Result::err).collect();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].kind(), ErrorKind::Closed);
    assert_eq!(cache.clear().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(
        cache.remove_prefix("").unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(
        cache.scan_prefix("").next().unwrap().unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[test]
fn inside_a_closure_that_fills_nothing_is_cleared_and_the_rest_is_listed() {
    let cache = open(&SimFs::new(1), options(4 << 20));
    cache.insert("old", [1; 10]).unwrap();
    let filled = cache.insert_with_len("new", 10, |_| {
        assert_eq!(cache.clear().unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(
            cache.remove_prefix("old").unwrap_err().kind(),
            ErrorKind::Invalid
        );
        // Neither is the own entry there yet, nor does the listing wait for it.
        assert_eq!(listed(&cache), [b"old"]);
        Ok::<_, std::io::Error>(())
    });
    filled.unwrap();
    assert_eq!(
        cache
            .scan_prefix("")
            .map(Result::unwrap)
            .collect::<Vec<_>>(),
        [(*b"new").into(), (*b"old").into()] as [Box<[u8]>; 2]
    );
}

#[test]
fn a_clear_waits_for_what_is_being_filled_and_takes_it() {
    let cache = open(&SimFs::new(1), options(4 << 20));
    let (begun, go) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    std::thread::scope(|s| {
        let filler = s.spawn(|| {
            cache.insert_with_len("slow", 10, |value| {
                value.fill(7);
                begun.wait();
                go.wait();
                Ok::<_, std::io::Error>(())
            })
        });
        begun.wait();
        let clearer = s.spawn(|| cache.clear());
        // Until it is in the index's way no more; a late clear would make the test pass, and not fail.
        while cache.stats().cleared == 0 {
            std::thread::yield_now();
        }
        assert_eq!(cache.stats().entries, 0);
        cache.insert("after", [1; 10]).unwrap();
        go.wait();
        filler.join().unwrap().unwrap();
        clearer.join().unwrap().unwrap();
    });
    assert!(cache.get("slow").unwrap().is_none());
    assert_eq!(listed(&cache), [b"after"]);
}

#[test]
fn a_fetch_that_began_before_a_clear_is_not_stored() {
    let cache = open(&SimFs::new(1), options(4 << 20));
    let fetched = cache.get_or_fetch("k", || {
        cache.clear().unwrap();
        Ok::<_, std::io::Error>(vec![1])
    });
    assert_eq!(&*fetched.unwrap(), [1]);
    assert!(cache.get("k").unwrap().is_none());
}

#[test]
fn a_fetch_that_began_before_its_prefix_was_removed_is_not_stored() {
    let cache = open(&SimFs::new(1), options(4 << 20));
    let fetch = |key: &str| {
        let fetched = cache.get_or_fetch(key, || {
            cache.remove_prefix("a/").unwrap();
            Ok::<_, std::io::Error>(vec![1])
        });
        assert_eq!(&*fetched.unwrap(), [1]);
        cache.contains(key).unwrap()
    };
    assert!(!fetch("a/1"));
    assert!(fetch("b/1"));
}

#[test]
fn a_cleared_cache_takes_as_much_as_a_new_one() {
    for eviction in [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge] {
        let fs = SimFs::new(1);
        let cache = open(&fs, options(300 << 10).eviction(eviction));
        let fill = |puts: u64, from: u64| {
            for n in from..from + puts {
                cache.insert(format!("{n}"), [1; 700]).unwrap();
                drop(cache.get(format!("{}", from + n % 7)).unwrap());
            }
        };
        fill(3_000, 0);
        let before = cache.stats();
        cache.clear().unwrap();
        let after = cache.stats();
        assert_eq!((after.entries, after.cleared), (0, before.entries));
        assert_eq!(after.evicted, before.evicted);
        fill(200, 10_000);
        let full = cache.stats();
        assert_eq!(
            (full.entries, full.evicted),
            (200, before.evicted),
            "{eviction:?}"
        );
        for disk in [fs.process_crash(), fs.power_loss(3)] {
            let cache = open(&disk, options(300 << 10).eviction(eviction));
            let old = listed(&cache)
                .into_iter()
                .filter(|key| key.len() < 5)
                .count();
            assert_eq!((old, cache.stats().damaged), (0, 0), "{eviction:?}");
        }
    }
}

#[test]
fn verify_has_nothing_to_say_of_a_cleared_cache() {
    let fs = SimFs::new(1);
    let cache = open(&fs, options(300 << 10).eviction(Eviction::S3Merge));
    let fill = |from: u64| {
        for n in from..from + 1_000 {
            cache.insert(format!("{n}"), [1; 300]).unwrap();
            drop(cache.get(format!("{}", from + n % 7)).unwrap());
        }
    };
    fill(0);
    cache.clear().unwrap();
    fill(5_000);
    let removed = cache.remove_prefix("59").unwrap();
    assert!(removed > 0);
    cache.close().unwrap();
    let report = perennial::verify_with(Arc::new(fs.clone()), DIR).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let opened = open(&fs, options(300 << 10).eviction(Eviction::S3Merge)).stats();
    assert_eq!(report.live_entries, opened.entries + opened.evicted);
    assert_eq!((opened.damaged, opened.forgotten_all), (0, 0));
}
