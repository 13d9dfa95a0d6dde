use std::sync::Arc;

use perennial_failpoints::SimFs;

use super::LEAST_OPERATIONS;
use crate::{Cache, Options};

/// However few bytes they take: what a replay takes for each is the same.
#[test]
fn a_checkpoint_comes_after_so_many_operations() {
    let options = Options::new()
        .capacity_bytes(1 << 20)
        .segment_bytes(8 << 10)
        .tail_bytes(16 << 10)
        .background(false);
    let fs = SimFs::new(1);
    let open = || Cache::open_with(Arc::new(fs.clone()), "/cache", options.clone()).unwrap();
    let cache = open();
    cache.insert("key", "value").unwrap();
    let engine = cache.engine();
    let mut checkpoints = Vec::new();
    for operations in [
        LEAST_OPERATIONS - 10,
        20,
        LEAST_OPERATIONS / 2,
        LEAST_OPERATIONS / 2,
    ] {
        engine.counters.removes.add(operations);
        engine.upkeep_step().unwrap();
        engine.upkeep_step().unwrap();
        checkpoints.push(cache.stats().checkpoints);
    }
    assert_eq!(checkpoints, [0, 1, 1, 2]);
    cache.close().unwrap();
    assert_eq!(open().stats().checkpoints, 0);
}

/// Plain inserts were not, and there was no checkpoint for any number of them.
#[test]
fn whatever_is_logged_is_counted() {
    let fs = SimFs::new(1);
    let options = Options::new().capacity_bytes(1 << 20).background(false);
    let cache = Cache::open_with(Arc::new(fs), "/cache", options).unwrap();
    let counted = || cache.engine().logged_operations();
    cache.insert("key", "value").unwrap();
    assert_eq!(counted(), 1);
    let large = vec![7; 12 << 10];
    cache.insert("large", &large).unwrap();
    let normal = crate::InsertOptions::new();
    cache
        .insert_with(
            "key",
            "value",
            normal.ttl(std::time::Duration::from_secs(9)),
        )
        .unwrap();
    cache.remove("key").unwrap();
    assert_eq!(counted(), 4);
}
