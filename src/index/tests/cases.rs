//! Single cases, each with its own story.

use perennial_wal::Addr;

use super::{addr, all_live, hash, index, put};
use crate::index::{ImageEntry, Index, IndexGeometry};

#[test]
fn keys_of_one_identity_are_one_entry() {
    let index = index(3, 50);
    let (first, second) = (0xabcd_ef01_2345_6789, 0xabcd_ef01_2345_6789 ^ 0x3fff);
    put(&index, first, addr(1), 4);
    put(&index, second, addr(2), 5);
    assert_eq!(index.len(), 1);
    assert_eq!(index.get(first), index.get(second));
    assert_eq!(index.get(first).unwrap().addr, addr(2));
    put(&index, first ^ (1 << 14), addr(3), 5);
    assert_eq!(index.len(), 2);
}

#[test]
fn dead_slots_are_used_again() {
    let index = index(2, 46);
    let window = 4_000;
    for n in 0..40 * window {
        let live = move |addr: Addr| addr.units() + window > n;
        let mut shard = index.lock(hash(n));
        shard.prepare(hash(n));
        shard.set(hash(n), addr(n), 1, &live);
        drop(shard);
        if n == 10 * window {
            assert!(
                index.memory_bytes() < 20 * 4_000,
                "{}",
                index.memory_bytes()
            );
        }
    }
    assert!(
        index.memory_bytes() < 20 * 4_000,
        "{}",
        index.memory_bytes()
    );
    for n in 39 * window..40 * window {
        assert_eq!(index.get(hash(n)).unwrap().addr, addr(n));
    }
}

#[test]
fn removed_keys_do_not_fill_the_filter() {
    let index = index(0, 46);
    for n in 0..20_000 {
        put(&index, hash(n), addr(n), 1);
        if n >= 1_000 {
            index.lock(hash(n - 1_000)).remove(hash(n - 1_000)).unwrap();
        }
        if index.filters_are_stale() {
            index.refresh_filters(&all_live);
        }
    }
    let passed = (0..19_000).filter(|&n| index.may_contain(hash(n))).count();
    assert!(passed < 19_000 / 40, "{passed} of 19000 passed");
}

#[test]
fn hashes_that_crowd_one_home_find_their_places() {
    let index = index(0, 64);
    for n in 0..10_000 {
        put(&index, n, addr(n), 1);
    }
    for n in 0..10_000 {
        assert_eq!(index.get(n).unwrap().addr, addr(n));
    }
}

#[test]
fn kept_and_log_addresses_are_told_apart() {
    let index = index(1, 46);
    let (log, kept) = (Addr::from_units(false, 77), Addr::from_units(true, 77));
    put(&index, 5 << 40, log, 1);
    let mut shard = index.lock(5 << 40);
    assert!(!shard.remove_if(5 << 40, kept));
    assert!(shard.replace_if(5 << 40, log, kept, 2));
    drop(shard);
    assert_eq!(index.get(5 << 40).unwrap().addr, kept);
}

#[test]
fn an_image_entry_carries_its_visits() {
    let index = index(0, 46);
    let entry = ImageEntry {
        identity: 99,
        addr: addr(1),
        size_class: 63,
        visited: 3,
        pinned: false,
    };
    index.load(entry, &all_live);
    let mut image = Vec::new();
    index.image(0, &all_live, &mut image);
    assert_eq!(image, [entry]);
}

#[test]
#[should_panic(expected = "prepare comes before set")]
fn setting_what_was_not_prepared_is_our_bug() {
    index(0, 46).lock(1).set(1, addr(1), 1, &all_live);
}

#[test]
fn extra_state_belongs_to_its_shard() {
    let geometry = IndexGeometry {
        shards_log2: 1,
        identity_bits: 48,
        fp_rate: 0.5,
    };
    let index: Index<Vec<u64>> = Index::new(geometry);
    index.lock(0).extra().push(7);
    assert_eq!(*index.lock(1).extra(), [7]);
    assert!(index.lock(u64::MAX).extra().is_empty());
    assert_eq!(index.geometry(), geometry);
}
