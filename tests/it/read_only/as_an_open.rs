//! Where nobody writes meanwhile: to the last entry what an open finds, of a cache that is open, killed, without power, closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use perennial::{Cache, ErrorKind, InsertOptions, Tail};
use perennial_failpoints::{Action, CallKind, FaultFs, Fs, Plan, SimFs};

use super::{KEYS, Story, all_of, key, open_read_only};
use crate::small::{DIR, options};

fn all_in(cache: &Cache) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let keys = (0..KEYS).map(key);
    keys.filter_map(|key| {
        let value = cache.get(&key).unwrap()?;
        Some((key, value.to_vec()))
    })
    .collect()
}

/// What was found is what an open of a copy of the disk finds, but for what that evicts to have a free segment.
fn check_against_an_open(fs: &SimFs, mut found: BTreeMap<Vec<u8>, Vec<u8>>, when: &str) {
    let copy = fs.process_crash();
    let cache = Cache::open_with(Arc::new(copy), DIR, options()).unwrap();
    let opened = all_in(&cache);
    if cache.stats().evicted > 0 {
        found.retain(|key, _| opened.contains_key(key));
    }
    assert_eq!(found, opened, "{when}");
}

/// Reads, and nothing else: not even a lock.
fn only_reads(fs: &SimFs) -> Arc<dyn Fs> {
    let plan = Plan::new(|call| {
        let reads = matches!(
            call.kind,
            CallKind::OpenDir
                | CallKind::List
                | CallKind::HasOtherEntries
                | CallKind::Open
                | CallKind::Read
                | CallKind::Len
        );
        assert!(reads, "{call:?}");
        Action::Pass
    });
    Arc::new(FaultFs::new(Arc::new(fs.clone()), plan))
}

/// Looks at the disk, which is as it was afterwards.
fn looked_at(fs: &SimFs) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let before = fs.digest();
    let found = all_of(&open_read_only(only_reads(fs)).unwrap());
    assert_eq!(fs.digest(), before);
    found
}

/// And perhaps what that has evicted, for nothing on disk says so before the file is used again.
#[test]
fn it_shows_what_the_open_cache_shows() {
    for seed in 0..60 {
        let mut story = Story::small(seed);
        for round in 0..12 {
            story.steps(25);
            let found = looked_at(&story.fs);
            for (key, value) in all_in(&story.cache) {
                assert_eq!(found.get(&key), Some(&value), "seed {seed}, round {round}");
            }
            let snapshot = open_read_only(Arc::new(story.fs.clone())).unwrap();
            story.check(&snapshot, story.now);
        }
    }
}

#[test]
fn it_shows_what_the_next_open_finds() {
    let mut shown = 0;
    for seed in 0..60 {
        let mut story = Story::small(seed);
        for round in 0..8 {
            story.steps(30);
            let killed = story.fs.process_crash();
            let found = looked_at(&killed);
            shown += found.len();
            check_against_an_open(&killed, found, &format!("seed {seed}, killed in {round}"));
            let powerless = story.fs.power_loss(seed * 8 + round);
            let found = looked_at(&powerless);
            shown += found.len();
            check_against_an_open(
                &powerless,
                found,
                &format!("seed {seed}, no power in {round}"),
            );
        }
        story.cache.close().unwrap();
        let found = looked_at(&story.fs);
        check_against_an_open(&story.fs, found, &format!("seed {seed}, closed"));
    }
    assert!(shown > 1000, "{shown}");
}

#[test]
fn a_tail_in_memory_shows_what_is_in_the_files() {
    for seed in 0..30 {
        let mut story = Story::new(seed, options().tail(Tail::Heap));
        for _ in 0..10 {
            story.steps(20);
            let snapshot = open_read_only(only_reads(&story.fs)).unwrap();
            story.check(&snapshot, story.flushed);
        }
    }
}

#[test]
fn what_comes_later_is_not_seen() {
    let fs = SimFs::new(1);
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options()).unwrap();
    cache.insert("kept", "1").unwrap();
    cache.insert("removed", "2").unwrap();
    cache.insert("replaced", "3").unwrap();
    let before = open_read_only(Arc::new(fs.clone())).unwrap();
    cache.remove("removed").unwrap();
    cache.insert("replaced", "4").unwrap();
    cache.insert("new", "5").unwrap();
    let after = open_read_only(Arc::new(fs)).unwrap();
    let shows = |snapshot: &perennial::ReadOnlyCache| {
        ["kept", "removed", "replaced", "new"].map(|key| {
            let value = snapshot.get(key).unwrap();
            value.map(|value| String::from_utf8(value.to_vec()).unwrap())
        })
    };
    let some = |value: &str| Some(value.to_owned());
    assert_eq!(shows(&before), [some("1"), some("2"), some("3"), None]);
    assert_eq!(shows(&after), [some("1"), None, some("4"), some("5")]);
    assert!(before.stats().end < after.stats().end);
}

#[test]
fn an_entry_whose_time_is_over_is_a_miss() {
    let fs = SimFs::new(1);
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options()).unwrap();
    let ends = InsertOptions::new().ttl(std::time::Duration::from_secs(60));
    cache.insert_with("k", "v", ends).unwrap();
    let snapshot = open_read_only(Arc::new(fs.clone())).unwrap();
    assert!(snapshot.get("k").unwrap().is_some() && snapshot.keys().count() == 1);
    fs.advance(61_000);
    assert!(snapshot.get("k").unwrap().is_none() && snapshot.keys().count() == 0);
    assert_eq!(snapshot.stats().damaged_reads, 0);
}

#[test]
fn where_there_is_no_cache_none_is_made() {
    let fs = SimFs::new(1);
    let absent = open_read_only(Arc::new(fs.clone())).unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::Io);
    fs.create_dir_all(std::path::Path::new(DIR)).unwrap();
    let empty = open_read_only(only_reads(&fs)).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::Invalid);
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options()).unwrap();
    let snapshot = open_read_only(Arc::new(fs)).unwrap();
    assert_eq!((snapshot.stats().entries, snapshot.keys().count()), (0, 0));
    let long = vec![7; 65_536];
    assert_eq!(snapshot.get(long).unwrap_err().kind(), ErrorKind::Invalid);
    cache.close().unwrap();
}

/// Its key is known, so that nothing older is shown; all else is there.
#[test]
fn damage_is_a_miss_and_counted() {
    let fs = SimFs::new(1);
    let cache = Cache::open_with(Arc::new(fs.clone()), DIR, options()).unwrap();
    cache.insert("other", "value").unwrap();
    cache.insert("k", vec![0xab; 300]).unwrap();
    cache.close().unwrap();
    let snapshot = open_read_only(Arc::new(fs.clone())).unwrap();
    let path = crate::small::file("seg-000000");
    let bytes = fs.read_file(&path).unwrap();
    let at = bytes.windows(8).position(|w| w == [0xab; 8]).unwrap();
    assert!(fs.flip_bit(&path, at as u64 + 9, 3));
    assert!(snapshot.get("k").unwrap().is_none());
    assert_eq!(
        snapshot.get("other").unwrap().as_deref(),
        Some(&b"value"[..])
    );
    let stats = snapshot.stats();
    assert_eq!((stats.damaged_reads, stats.recycled), (1, 0));
    assert_eq!((stats.hits, stats.misses), (1, 1));
}
