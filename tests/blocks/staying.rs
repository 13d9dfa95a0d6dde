//! Heads stay in the cache with the blocks that they name.

use std::sync::Arc;

use perennial::blocks::{BlockCache, ReadOptions};
use perennial::{Cache, Options};
use perennial_failpoints::{Action, CallKind, Plan, SimFs};

use crate::errors::on_a_device;
use crate::remembering::{asked, remembering};
use crate::source::{Source, until};
use crate::{BLOCK, KIB, settled};

/// Where the head of an object is kept that `Source` has.
fn head_key(object: &str) -> Vec<u8> {
    let len = u16::try_from(object.len()).unwrap().to_le_bytes();
    let begin = b"\0bk\x01\x06\0source".as_slice();
    [begin, &len, object.as_bytes(), &[0xFF; 2]].concat()
}

/// Blocks without a head are of no use to the next life: whoever reads the ones reads the other, as far as the cache can see.
#[test]
fn a_head_stays_as_long_as_its_blocks_are_read() {
    let options = Options::new()
        .capacity_bytes(2 << 20)
        .segment_bytes(64 * KIB);
    let cache = Cache::open_with(Arc::new(SimFs::new(1)), "/cache", options).unwrap();
    let source = Arc::new(Source::new(4 * BLOCK));
    let blocks = remembering(&cache, &source);
    let read = |blocks: &BlockCache, object: &str| {
        let read = blocks.read(object, 0..4 * BLOCK, &ReadOptions::new());
        assert_eq!(read.unwrap(), source.bytes(object, 1, 0..4 * BLOCK));
    };
    read(&blocks, "hot");
    for n in 0..300 {
        read(&blocks, &format!("{n}"));
        (0..32).for_each(|_| read(&blocks, "hot"));
    }
    settled(&blocks);
    assert!(cache.stats().evicted > 300, "{}", cache.stats());
    let before = asked(&source);
    read(&remembering(&cache, &source), "hot");
    assert_eq!(asked(&source), before);
}

/// While the device stands still nothing is kept, and afterwards what is still in use.
#[test]
fn heads_that_find_no_room_are_kept_when_there_is_some() {
    let (cache, fs) = on_a_device(128 * KIB);
    let source = Arc::new(Source::new(4 * BLOCK));
    let blocks = remembering(&cache, &source);
    fs.set_plan(Plan::new(|call| match call.kind {
        CallKind::Write | CallKind::SyncData | CallKind::SyncDir | CallKind::Allocate => {
            Action::Hold
        }
        _ => Action::Pass,
    }));
    let objects: Vec<_> = (0..50).map(|n| format!("object {n}")).collect();
    let read = |object: &String| {
        let read = blocks.read(object, 0..4 * BLOCK, &ReadOptions::new());
        assert_eq!(read.unwrap(), source.bytes(object, 1, 0..4 * BLOCK));
    };
    objects.iter().for_each(read);
    let is_kept = |object: &String| cache.contains(head_key(object)).unwrap();
    assert!(!objects.iter().all(is_kept), "there was room for all");
    fs.set_plan(Plan::none());
    fs.let_go();
    for object in &objects {
        until(|| {
            read(object);
            is_kept(object)
        });
    }
}
