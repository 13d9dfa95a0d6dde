//! Who copies an entry learns its end and its priority, too, and the entry is not read by that.

use std::time::Duration;

use perennial::{Cache, Entry, ErrorKind, Eviction, InsertOptions, Options, Priority};
use perennial_failpoints::{Fs, SimFs};

use crate::small::open;

/// In the tail, in memory, in a segment, in chunks, as an extent.
const LENGTHS: [usize; 4] = [0, 100, 3_000, 200_000];

const PRIORITIES: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::Pinned];

fn large() -> Options {
    Options::new()
        .capacity_bytes(32 << 20)
        .memory_tier_bytes(8 << 20)
        .background(false)
}

fn check(cache: &Cache, len: usize, ends_at_s: u32) {
    for (n, priority) in (1..).zip(PRIORITIES) {
        let entry = cache.entry([n]).unwrap().unwrap();
        assert_eq!(&entry.value[..], vec![n; len]);
        assert_eq!((entry.priority, entry.ends_at_s), (priority, None));
        let entry = cache.entry([n, 0]).unwrap().unwrap();
        assert_eq!(
            (entry.priority, entry.ends_at_s),
            (priority, Some(ends_at_s))
        );
    }
    assert_eq!(cache.entry("absent").unwrap(), None);
}

#[test]
fn wherever_the_entry_lies() {
    for len in LENGTHS {
        let fs = SimFs::new(1);
        let cache = open(&fs, large()).unwrap();
        let now_ms = fs.unix_time_ms();
        let ends_at_s = u32::try_from((now_ms + 60_000).div_ceil(1000)).unwrap();
        for (n, priority) in (1..).zip(PRIORITIES) {
            let options = InsertOptions::new().priority(priority);
            let ends = options.clone().ttl(Duration::from_secs(60));
            cache.insert_with([n], vec![n; len], options).unwrap();
            cache.insert_with([n, 0], vec![n; len], ends).unwrap();
        }
        check(&cache, len, ends_at_s);
        cache.flush().unwrap();
        check(&cache, len, ends_at_s);
        // In the memory tier, too.
        (1..4_u8).for_each(|n| assert!(cache.get([n]).unwrap().is_some()));
        check(&cache, len, ends_at_s);
        cache.close().unwrap();
        let cache = open(&fs, large()).unwrap();
        check(&cache, len, ends_at_s);
        fs.advance(61_000);
        assert_eq!(cache.entry([1, 0]).unwrap(), None, "its time is over");
    }
}

#[test]
fn a_copy_ends_when_the_entry_does() {
    let fs = SimFs::new(1);
    let cache = open(&fs, large()).unwrap();
    let ttl = InsertOptions::new().ttl(Duration::from_secs(60));
    cache.insert_with("k", "v", ttl).unwrap();
    fs.advance(30_300);
    let Entry { ends_at_s, .. } = cache.entry("k").unwrap().unwrap();
    let same = InsertOptions::new().ends_at_s(ends_at_s.unwrap());
    cache.insert_with("copy", "v", same.clone()).unwrap();
    assert_eq!(cache.entry("copy").unwrap(), cache.entry("k").unwrap());
    fs.advance(31_000);
    assert!(!cache.contains("copy").unwrap() && !cache.contains("k").unwrap());
    // Too late: as if it had been in time.
    cache.insert("copy", "older").unwrap();
    cache.insert_with("copy", "v", same).unwrap();
    assert_eq!(cache.get("copy").unwrap(), None);
    let never = InsertOptions::new().ends_at_s(0);
    let error = cache.insert_with("copy", "v", never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// Reclaim copies what is pinned, and what was read.
#[test]
fn an_entry_that_was_moved_is_the_same() {
    let fs = SimFs::new(1);
    let options = Options::new()
        .capacity_bytes(1 << 20)
        .memory_tier_bytes(0)
        .background(false);
    let cache = open(&fs, options).unwrap();
    let pinned = InsertOptions::new().priority(Priority::Pinned);
    let ends = pinned.clone().ends_at_s(u32::MAX);
    cache.insert_with("pinned", [1; 3000], pinned).unwrap();
    cache.insert_with("ends", [2; 3000], ends).unwrap();
    let before = [cache.entry("pinned").unwrap(), cache.entry("ends").unwrap()];
    for n in 0..1_000_u32 {
        cache.insert(n.to_le_bytes(), vec![0; 4000]).unwrap();
    }
    assert!(cache.stats().moved >= 2, "{}", cache.stats().moved);
    let after = [cache.entry("pinned").unwrap(), cache.entry("ends").unwrap()];
    assert_eq!(after, before);
    let [pinned, ends] = after.map(Option::unwrap);
    assert_eq!(
        (pinned.priority, pinned.ends_at_s),
        (Priority::Pinned, None)
    );
    assert_eq!(
        (ends.priority, ends.ends_at_s),
        (Priority::Pinned, Some(u32::MAX))
    );
}

/// With `Clock` what was read is kept. Were a copy a read, the copied entries would stay and the read ones be no better.
#[test]
fn to_copy_an_entry_is_not_to_read_it() {
    let left = |copy: bool| {
        let fs = SimFs::new(1);
        let options = Options::new()
            .capacity_bytes(1 << 20)
            .memory_tier_bytes(0)
            .eviction(Eviction::Clock)
            .background(false);
        let cache = open(&fs, options).unwrap();
        for n in 0..40_u8 {
            cache.insert([n], vec![n; 4000]).unwrap();
        }
        cache.flush().unwrap();
        for n in 0..40_u8 {
            let there = if copy {
                cache.entry([n]).unwrap().is_some()
            } else {
                cache.get([n]).unwrap().is_some()
            };
            assert!(there);
        }
        for n in 0..240_u32 {
            cache.insert(n.to_le_bytes(), vec![0; 4000]).unwrap();
        }
        (0..40_u8).filter(|n| cache.contains([*n]).unwrap()).count()
    };
    assert_eq!((left(true), left(false) > 0), (0, true));
}
