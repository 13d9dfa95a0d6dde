//! Every byte of a read is of one version: the one that was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use perennial::ErrorKind;
use perennial::blocks::{BlockCache, Head, Origin, ReadOptions, Revalidate};

use crate::source::{Rng, Source, until};
use crate::{BLOCK, inline, over, roomy, settled, small_blocks};

fn always() -> ReadOptions {
    ReadOptions::new().revalidate(Revalidate::Always)
}

fn version(source: &Source, object: &str) -> u64 {
    source.version_of(object)
}

#[test]
fn a_changed_object_is_read_anew() {
    for blocks in [over, inline] {
        let source = Arc::new(Source::new(10 * BLOCK));
        let blocks = blocks(&source);
        for round in 1..=3 {
            let range = 0..source.len_at(round);
            let read = blocks.read("object", range.clone(), &always()).unwrap();
            assert_eq!(read, source.bytes("object", round, range));
            source.change("object");
        }
        assert_eq!(blocks.stats().changes, 2);
        // Only the newest that was seen is left.
        until(|| blocks.cache().stats().entries == 11);
        assert_eq!(blocks.stats().stale_blocks_removed, 10 + 11);
    }
}

#[test]
fn how_old_a_version_may_be() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = over(&source);
    let read = |options: &ReadOptions| {
        let mut buf = [0; 100];
        let head = blocks.read_at("object", 50, &mut buf, options).unwrap();
        let n = (1..=9).find(|n| head.version == (*n).into()).unwrap();
        assert_eq!(buf.as_slice(), source.bytes("object", n, 50..150));
        n
    };
    let hour = ReadOptions::new().revalidate(Revalidate::After(Duration::from_secs(3600)));
    let instant = ReadOptions::new().revalidate(Revalidate::After(Duration::ZERO));
    assert_eq!(read(&ReadOptions::new()), 1);
    source.change("object");
    assert_eq!(read(&ReadOptions::new()), 1);
    assert_eq!(read(&hour), 1);
    assert_eq!(read(&always()), 2);
    assert_eq!(
        read(&ReadOptions::new()),
        2,
        "what is known is not forgotten"
    );
    source.change("object");
    thread::sleep(Duration::from_millis(1));
    assert_eq!(read(&instant), 3);
    source.change("object");
    // What has to be fetched shows that the object has changed.
    let mut buf = [0; 100];
    let head = blocks.read_at("object", 5 * BLOCK, &mut buf, &ReadOptions::new());
    assert_eq!(head.unwrap().version, 4.into());
    assert_eq!(
        buf.as_slice(),
        source.bytes("object", 4, 5 * BLOCK..5 * BLOCK + 100)
    );
}

#[test]
fn a_version_is_asked_for_once() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = over(&source);
    thread::scope(|s| {
        for n in 0..8 {
            let blocks = &blocks;
            s.spawn(move || {
                blocks
                    .head(&format!("object {}", n % 2), &ReadOptions::new())
                    .unwrap()
            });
        }
    });
    let heads = blocks.stats().heads;
    assert_eq!(heads, 2);
    blocks.head("object 0", &ReadOptions::new()).unwrap();
    assert_eq!(blocks.stats().heads, heads);
}

#[test]
fn several_reads_of_exactly_one_version() {
    for checks_version in [false, true] {
        let source = Arc::new(Source::new(10 * BLOCK));
        source.faults.lock().unwrap().checks_version = checks_version;
        let blocks = over(&source);
        let head = blocks.head("object", &ReadOptions::new()).unwrap();
        let mut buf = [0; 100];
        let options = ReadOptions::new();
        blocks
            .read_version_at("object", &head, 0, &mut buf, &options)
            .unwrap();
        source.change("object");
        blocks.head("object", &always()).unwrap();
        // Its blocks are removed by now, or will be; either way nothing else is given for them.
        match blocks.read_version_at("object", &head, 0, &mut buf, &options) {
            Ok(()) => assert_eq!(buf.as_slice(), source.bytes("object", 1, 0..100)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Changed),
        }
        let read = blocks.read_version_at("object", &head, 5 * BLOCK, &mut buf, &options);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Changed);
        // A length that is no version's has blocks of its own, that never come to be.
        let mut wrong = blocks.head("object", &options).unwrap();
        wrong.len = 100 * BLOCK;
        let read = blocks.read_version_at("object", &wrong, 50 * BLOCK, &mut buf, &options);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Origin);
    }
}

/// What is known from elsewhere may be nonsense.
#[test]
fn a_head_that_is_longer_than_any_object_is_refused() {
    let source = Arc::new(Source::new(10 * BLOCK));
    let blocks = over(&source);
    let version = blocks.head("object", &ReadOptions::new()).unwrap().version;
    let mut buf = [0; 100];
    for (len, offset) in [
        (u64::MAX, u64::MAX - 10),
        (u64::MAX, u64::MAX - 100),
        (u64::MAX, 0),
        ((1 << 62) + 1, 0),
        (1 << 62, u64::MAX - 10),
        (1 << 62, (1 << 62) - 99),
    ] {
        let head = Head::new(version.clone(), len);
        let options = ReadOptions::new();
        let read = blocks.read_version_at("object", &head, offset, &mut buf, &options);
        assert_eq!(
            read.unwrap_err().kind(),
            ErrorKind::Invalid,
            "{len} {offset}"
        );
    }
}

/// Reads of the origin are half of one version and half of the next.
#[test]
fn what_changes_while_it_is_read_is_not_kept() {
    for checks_version in [false, true] {
        let source = Arc::new(Source::new(64 * BLOCK));
        source.faults.lock().unwrap().checks_version = checks_version;
        let blocks = over(&source);
        let done = AtomicBool::new(false);
        thread::scope(|s| {
            s.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    source.change("object");
                    thread::sleep(Duration::from_micros(300));
                }
            });
            let mut rng = Rng(3);
            let mut good = 0;
            for _ in 0..2_000 {
                let offset = rng.below(40 * BLOCK);
                let mut buf = vec![0; usize::try_from(rng.below(16 * BLOCK)).unwrap()];
                let before = version(&source, "object");
                match blocks.read_at("object", offset, &mut buf, &always()) {
                    Ok(head) => {
                        let after = version(&source, "object");
                        let of = (before..=after).find(|n| head.version == (*n).into());
                        let of = of.expect("a version of that time");
                        let range = offset..offset + buf.len() as u64;
                        assert_eq!(buf, source.bytes("object", of, range));
                        good += 1;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Changed),
                }
            }
            done.store(true, Ordering::Relaxed);
            assert!(good > 100, "only {good} reads succeeded");
        });
        settled(&blocks);
    }
}

#[test]
fn two_origins_share_a_cache() {
    let cache = roomy();
    let sources = ["a", "b", "a\0b", ""].map(|name| Arc::new(Source::named(name, 20 * BLOCK)));
    let faces = sources
        .each_ref()
        .map(|source| BlockCache::new(cache.clone(), Arc::clone(source), small_blocks()).unwrap());
    for object in ["x", "", "a"] {
        for (blocks, source) in faces.iter().zip(&sources) {
            for _ in 0..2 {
                let read = blocks.read(object, 100..9_000, &ReadOptions::new());
                assert_eq!(read.unwrap(), source.bytes(object, 1, 100..9_000));
            }
        }
    }
    assert!(sources.iter().all(|source| source.given_again() == 0));
    // One that is called otherwise than before begins cold, and the first is as warm as it was.
    let again = BlockCache::new(cache, Arc::clone(&sources[0]), small_blocks()).unwrap();
    again.read("x", 100..9_000, &ReadOptions::new()).unwrap();
    assert_eq!(
        (again.stats().full_hits, again.stats().origin_reads),
        (1, 0)
    );
}

#[test]
fn names_that_no_key_can_hold_are_invalid() {
    let source = Arc::new(Source::new(BLOCK));
    let blocks = over(&source);
    let long = "x".repeat(70_000);
    let read = blocks.read(&long, 0..1, &ReadOptions::new());
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Invalid);
    let long = Arc::new(Source::named(&"x".repeat(20_000), BLOCK));
    let made = BlockCache::new(roomy(), Arc::clone(&long), small_blocks());
    assert_eq!(made.unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(long.identity().len(), 20_000);
}
