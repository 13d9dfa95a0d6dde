//! A `BlockCache` is an origin itself.

use std::sync::Arc;

use perennial::blocks::{BlockCache, Origin, OriginError, Priority, ReadOptions, Revalidate};

use crate::source::Source;
use crate::{BLOCK, over, roomy, small_blocks};

#[test]
fn one_over_the_other() {
    let source = Arc::new(Source::new(50 * BLOCK + 7));
    let lower = over(&source);
    // Both in one cache: their blocks are not each other's.
    let cache = lower.cache().clone();
    let options = small_blocks().block_bytes(2 * BLOCK);
    let upper = BlockCache::new(cache.clone(), lower.clone(), options.clone()).unwrap();
    let same = BlockCache::new(cache, lower.clone(), small_blocks()).unwrap();
    let always = ReadOptions::new().revalidate(Revalidate::Always);
    for version in 1..=3 {
        let len = source.len_at(version);
        for blocks in [&upper, &same, &lower, &upper] {
            let read = blocks.read("object", 0..len, &always).unwrap();
            assert_eq!(read, source.bytes("object", version, 0..len));
        }
        source.change("object");
    }
    assert_eq!(source.given_again(), 0);
}

#[test]
fn identities_nest() {
    let source = Arc::new(Source::named("store", BLOCK));
    let lower = over(&source);
    let upper = BlockCache::new(roomy(), lower.clone(), small_blocks()).unwrap();
    assert_eq!(lower.identity(), "blocks:store");
    assert_eq!(upper.identity(), "blocks:blocks:store");
}

#[test]
fn what_has_changed_is_changed_for_the_upper_one() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let lower = over(&source);
    let head = Origin::head(&lower, "object").ok().unwrap();
    source.change("object");
    let mut buf = [0; 10];
    let options = ReadOptions::new();
    let read = Origin::read_at(&lower, "object", &head.version, 0, &mut buf, &options);
    assert!(matches!(read, Err(OriginError::Changed)));
}

#[test]
fn priorities_reach_the_origin() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let lower = over(&source);
    let upper = BlockCache::new(roomy(), lower, small_blocks()).unwrap();
    let low = ReadOptions::new().priority(Priority::Background);
    upper.read("object", 0..BLOCK, &low).unwrap();
    assert_eq!(
        source.calls.lock().unwrap()[0].priority,
        Priority::Background
    );
}
