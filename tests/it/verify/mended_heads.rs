//! A checkpoint's head, or a part of one, that was given up: the row in its segment's trailer still names it.

use std::path::Path;
use std::sync::Arc;

use perennial::{ReadOnlyCache, RepairMode, repair_with, verify_with};
use perennial_failpoints::SimFs;

use super::{DIR, open, options};

/// A checkpoint in a sealed segment, and none behind it; killed.
fn killed_cache(shards: u32) -> SimFs {
    let fs = SimFs::new(7);
    let with = options(1 << 20).checkpoint_every_bytes(1 << 30);
    let cache = open(&fs, with.index_shards(shards));
    for n in 0..10_u32 {
        cache.insert(n.to_le_bytes(), [7; 100]).unwrap();
    }
    cache.checkpoint().unwrap();
    for n in 0..60_u32 {
        cache.insert(n.to_le_bytes(), [8; 300]).unwrap();
    }
    cache.flush().unwrap();
    std::mem::forget(cache);
    let fs = fs.process_crash();
    fs.mark_all_durable();
    fs
}

/// The pad in its place proved itself, had some bytes more than the head's row said, and was cut as if it were one.
#[test]
fn whatever_is_given_up_can_be_opened() {
    for shards in [1, 2, 4] {
        let whole = killed_cache(shards);
        let path = Path::new(DIR).join("seg-000000");
        for at in (1024..8192 - 64).step_by(16) {
            let fs = whole.process_crash();
            assert!(fs.overwrite(&path, at, &[0x5a; 32]));
            repair_with(Arc::new(fs.clone()), DIR, RepairMode::Apply).unwrap();
            verify_with(Arc::new(fs.clone()), DIR).unwrap();
            ReadOnlyCache::open_with(Arc::new(fs.clone()), DIR).unwrap();
            open(&fs, options(1 << 20).index_shards(shards));
        }
    }
}
