//! A `BlockCache` is an origin itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use perennial::blocks::{
    BlockCache, Origin, OriginError, OriginResult, Priority, ReadOptions, Revalidate, Version,
};

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

/// Becomes shorter when it is read, and says so.
struct Shrinks {
    len: AtomicU64,
    versioned: bool,
}

impl Origin for Shrinks {
    fn identity(&self) -> String {
        "shrinks".into()
    }
    fn version(&self, _: &str) -> OriginResult<Version> {
        let len = self.len.load(Ordering::SeqCst);
        Ok(if self.versioned { len } else { 1 }.into())
    }
    fn len(&self, _: &str) -> OriginResult<u64> {
        Ok(self.len.load(Ordering::SeqCst))
    }
    fn checks_version(&self) -> bool {
        true
    }
    fn read_at(
        &self,
        object: &str,
        version: &Version,
        _: u64,
        buf: &mut [u8],
        _: &ReadOptions,
    ) -> OriginResult<usize> {
        if self.versioned {
            self.len.store(BLOCK, Ordering::SeqCst);
        }
        if *version != self.version(object)? {
            return Err(OriginError::Changed);
        }
        buf.fill(2);
        Ok(buf.len())
    }
}

#[test]
fn an_object_that_shrinks_meanwhile_is_read_as_it_is_now() {
    for remember in [false, true] {
        let origin = Shrinks {
            len: AtomicU64::new(20 * BLOCK),
            versioned: true,
        };
        let lower = BlockCache::new(roomy(), origin, small_blocks()).unwrap();
        let options = small_blocks().remember_heads(remember);
        let upper = BlockCache::new(roomy(), lower, options).unwrap();
        let read = upper.read("object", 0..500, &ReadOptions::new());
        assert_eq!(read.unwrap(), [2; 500]);
        let head = upper.head("object", &ReadOptions::new()).unwrap();
        assert_eq!(head.len, BLOCK);
    }
}

/// An origin that gives one version two lengths, of which the lower one knows the shorter.
#[test]
fn a_version_that_is_shorter_below_is_asked_for_again() {
    let origin = Arc::new(Shrinks {
        len: AtomicU64::new(2 * BLOCK),
        versioned: false,
    });
    let options = small_blocks().block_bytes(2 * BLOCK);
    let lower = BlockCache::new(roomy(), Arc::clone(&origin), options.clone()).unwrap();
    let upper = BlockCache::new(roomy(), lower.clone(), options).unwrap();
    upper.head("object", &ReadOptions::new()).unwrap();
    origin.len.store(BLOCK, Ordering::SeqCst);
    let always = ReadOptions::new().revalidate(Revalidate::Always);
    lower.head("object", &always).unwrap();
    let read = upper.read("object", 0..10, &ReadOptions::new());
    assert_eq!(read.unwrap(), [2; 10]);
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
