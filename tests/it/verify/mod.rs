//! `verify` finds no damage where there is none, finds it where there is, and changes nothing.

mod damage;
mod every_bit;
mod interrupted;
mod kept;
mod mended_heads;
mod odd_places;
mod pointers;
mod repairs;
mod structures;

use std::path::Path;
use std::sync::Arc;

use perennial::{Cache, ErrorKind, Options, Tail, VerifyReport, inspect_with, verify_with};
use perennial_failpoints::SimFs;

const DIR: &str = "/cache";

fn options(capacity: u64) -> Options {
    Options::new()
        .capacity_bytes(capacity)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .memory_tier_bytes(0)
        .checkpoint_every_bytes(16 << 10)
        .background(false)
}

fn open(fs: &SimFs, options: Options) -> Cache {
    Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap()
}

fn verify(fs: &SimFs) -> VerifyReport {
    verify_with(Arc::new(fs.clone()), DIR).unwrap()
}

/// Every byte of every file.
fn bytes(fs: &SimFs) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| {
        let content = fs.read_file(&Path::new(DIR).join(&name)).unwrap();
        (name, content)
    };
    fs.file_names(Path::new(DIR))
        .into_iter()
        .map(read)
        .collect()
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// A few hundred operations; values of some are extents.
fn work(cache: &Cache, dice: &mut Dice, operations: usize) {
    for _ in 0..operations {
        let key = format!("key-{}", dice.below(40));
        match dice.below(20) {
            0..=12 => drop(cache.insert(&key, vec![7; dice.below(300)]).unwrap()),
            13 => drop(
                cache
                    .insert_durable(&key, vec![8; dice.below(300)])
                    .unwrap(),
            ),
            14 => drop(
                cache
                    .insert(&key, vec![9; 1_500 + dice.below(3_000)])
                    .unwrap(),
            ),
            15 | 16 => cache.remove(&key).unwrap(),
            17 => cache.flush().unwrap(),
            18 if dice.below(4) == 0 => cache.checkpoint().unwrap(),
            _ => drop(cache.get(&key).unwrap()),
        }
    }
}

fn assert_clean(fs: &SimFs, when: &str) -> VerifyReport {
    let before = bytes(fs);
    let pending = fs.pending_effects();
    let report = verify(fs);
    assert!(report.problems.is_empty(), "{when}: {report}");
    assert!(bytes(fs) == before, "{when}: something was changed");
    assert_eq!(
        fs.pending_effects(),
        pending,
        "{when}: something was written"
    );
    report
}

#[test]
fn a_cache_without_damage_has_no_problems_whatever_it_went_through() {
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let capacity = if seed % 2 == 0 { 64 << 10 } else { 1 << 20 };
        let mut fs = SimFs::new(seed);
        for life in 0..8 {
            let heap = seed % 5 == 4;
            let kind = if heap { Tail::Heap } else { Tail::Mapped };
            let cache = open(&fs, options(capacity).tail(kind));
            let operations = dice.below(200);
            work(&cache, &mut dice, operations);
            let how = dice.below(3);
            fs = match how {
                0 => {
                    cache.close().unwrap();
                    fs
                }
                1 => {
                    std::mem::forget(cache);
                    fs.process_crash()
                }
                _ => {
                    std::mem::forget(cache);
                    fs.power_loss(seed * 31 + life)
                }
            };
            let when = format!("seed {seed}, life {life}, end {how}");
            let report = assert_clean(&fs, &when);
            let cache = open(&fs.process_crash(), options(capacity).tail(kind));
            // The open itself may have to give up segments to go on.
            let stats = cache.stats();
            assert_eq!(stats.entries + stats.evicted, report.live_entries, "{when}");
            drop(cache);
        }
    }
}

#[test]
fn an_open_cache_cannot_be_verified_but_inspected() {
    let fs = SimFs::new(1);
    let cache = open(&fs, options(1 << 20));
    work(&cache, &mut Dice(1), 300);
    let refused = verify_with(Arc::new(fs.clone()), DIR).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked);
    let inspection = inspect_with(Arc::new(fs.clone()), DIR).unwrap();
    assert_eq!(inspection.segment_bytes, 8 << 10);
    assert!(inspection.checkpoint.is_some() && inspection.tail.same_boot);
    let shown = inspection.to_string();
    for state in ["sealed", "open", "prepared"] {
        assert!(shown.contains(state), "{shown}");
    }
}

#[test]
fn what_is_no_cache_is_said_to_be_none() {
    let fs = SimFs::new(1);
    let refused = verify_with(Arc::new(fs.clone()), DIR).unwrap_err();
    let source = std::error::Error::source(&refused).unwrap();
    let io = source.downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(
        (refused.kind(), io.kind()),
        (ErrorKind::Io, std::io::ErrorKind::NotFound)
    );
    fs.write_file(&Path::new(DIR).join("holiday.jpg"), b"sea");
    for refused in [
        verify_with(Arc::new(fs.clone()), DIR).unwrap_err(),
        inspect_with(Arc::new(fs.clone()), DIR).unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }
    assert_eq!(fs.file_names(Path::new(DIR)), ["holiday.jpg"]);
    fs.remove_file(&Path::new(DIR).join("holiday.jpg"));
    drop(open(&fs, options(1 << 20)));
    fs.write_file(&Path::new(DIR).join("identity"), &[0x5a; 1024]);
    let refused = verify_with(Arc::new(fs.clone()), DIR).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
}
