//! The ledger says what every byte is used for, and is right whatever happened.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use perennial::{Cache, Eviction, Ledger, Options, ReadOnlyCache};
use perennial_failpoints::lab::value;
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};

use crate::small::{DIR, Rng};

fn options(capacity_kib: u64, eviction: Eviction) -> Options {
    Options::new()
        .capacity_bytes(capacity_kib << 10)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .memory_tier_bytes(0)
        .checkpoint_every_bytes(16 << 10)
        .eviction(eviction)
        .background(false)
}

/// Every segment adds up, and all of them to what is there.
fn check(cache: &Cache, machine: &SimFs, at: &str) {
    let ledger = cache.ledger().unwrap();
    for segment in &ledger.segments {
        assert_eq!(segment.total_bytes(), 8 << 10, "{at}: {segment:?}");
    }
    let there = machine.total_bytes(Path::new(DIR));
    let all = ledger.of_all_segments();
    let segments: u64 = ledger.segments.iter().map(|one| one.total_bytes()).sum();
    assert_eq!(all.total_bytes(), segments, "{at}");
    assert_eq!(
        ledger.total_bytes(),
        there,
        "{at}: {:?}",
        machine.file_names(Path::new(DIR))
    );
    assert_eq!(cache.stats().file_bytes, there, "{at}");
}

/// What a `get` finds is what is live, once all is written.
fn check_live(cache: &Cache, at: &str) {
    cache.flush().unwrap();
    let ledger = cache.ledger().unwrap();
    let entries: u64 = ledger.segments.iter().map(|segment| segment.entries).sum();
    assert_eq!(entries, cache.stats().entries, "{at}");
    let live: u64 = ledger
        .segments
        .iter()
        .map(|segment| segment.live_bytes)
        .sum();
    let keys = (0..60).map(|n| format!("key-{n}"));
    let sizes = keys.filter_map(|key| Some(key.len() + cache.get(&key).unwrap()?.len()));
    let values: u64 = sizes.map(|len| len as u64).sum();
    // A header each, and crcs of the pieces of a large one.
    assert!(
        live >= values && live <= values + entries * 80,
        "{at}: {live} for {values}"
    );
}

fn play(cache: &Cache, rng: &mut Rng) -> perennial::Result<()> {
    let n = rng.below(60);
    let key = format!("key-{n}");
    match rng.below(40) {
        0 => cache.checkpoint(),
        1 => cache.resize((64 + 32 * rng.below(6)) << 10),
        2..=4 => cache.remove(&key),
        5 => cache.flush(),
        6..=15 => cache.get(&key).map(drop),
        _ => {
            let len = 100 + rng.below(if n == 0 { 4_500 } else { 900 });
            let len = usize::try_from(len).unwrap();
            cache.insert(&key, value(key.as_bytes(), n, len)).map(drop)
        }
    }
}

const POLICIES: [Eviction; 3] = [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge];

/// 23 of the hard problems.
#[test]
fn minimal_23_ledger_equals_du() {
    for seed in 0..30 {
        let mut rng = Rng(seed);
        let eviction = POLICIES[usize::try_from(seed % 3).unwrap()];
        let mut machine = SimFs::new(seed);
        for life in 0..6 {
            let at = format!("seed {seed}, life {life}");
            let opened = options(64 + 32 * rng.below(6), eviction);
            let cache = Cache::open_with(Arc::new(machine.clone()), DIR, opened).unwrap();
            check(&cache, &machine, &at);
            for _ in 0..120 {
                play(&cache, &mut rng).unwrap();
                check(&cache, &machine, &at);
            }
            check_live(&cache, &at);
            machine = match rng.below(3) {
                0 => {
                    cache.close().unwrap();
                    machine.process_crash()
                }
                1 => machine.process_crash(),
                _ => machine.power_loss(rng.below(1 << 20)),
            };
        }
    }
}

/// What both sides know of each segment that counts: those that are only prepared are free files to a reader.
fn entries_of(ledger: &Ledger) -> Vec<(u64, bool, [u64; 4])> {
    let used = ledger.segments.iter().filter(|one| one.entries > 0);
    used.map(|one| {
        let bytes = [one.entries, one.live_bytes, one.read_bytes, one.dead_bytes];
        (one.number, one.kept, bytes)
    })
    .collect()
}

/// Who only reads comes to the same ledger as who has the cache open: live and dead at once, what was read with a checkpoint.
#[test]
fn a_reader_s_ledger_is_the_writer_s() {
    let (mut kept, mut read) = (0, 0);
    for seed in 0..12 {
        let mut rng = Rng(seed);
        let eviction = POLICIES[usize::try_from(seed % 3).unwrap()];
        let machine = SimFs::new(seed);
        let opened = options(128 + 32 * rng.below(4), eviction);
        let cache = Cache::open_with(Arc::new(machine.clone()), DIR, opened).unwrap();
        for turn in 0..20 {
            for _ in 0..40 {
                play(&cache, &mut rng).unwrap();
            }
            // One that is new, so that there is something for a checkpoint.
            cache.insert(b"new", [7; 10]).unwrap();
            cache.checkpoint().unwrap();
            cache.flush().unwrap();
            let at = format!("seed {seed}, turn {turn}");
            let writer = cache.ledger().unwrap();
            let reader = ReadOnlyCache::open_with(Arc::new(machine.clone()), DIR).unwrap();
            let reader = reader.ledger().unwrap();
            assert_eq!(entries_of(&reader), entries_of(&writer), "{at}");
            assert_eq!(reader.sizes, writer.sizes, "{at}");
            assert_eq!(reader.total_bytes(), writer.total_bytes(), "{at}");
            kept += reader.segments.iter().filter(|one| one.kept).count();
            read += reader.of_all_segments().read_bytes;
            let counted: u64 = reader.sizes.iter().map(|size| size.entries).sum();
            assert_eq!(counted, cache.stats().entries, "{at}");
        }
    }
    assert!(
        kept > 0 && read > 0,
        "{kept} kept segments, {read} bytes read"
    );
}

/// Files that cannot be made, made whole or removed are counted as far as they are there.
#[test]
fn minimal_23_a_call_that_fails_leaves_no_count_behind() {
    for kind in [
        CallKind::Create,
        CallKind::Allocate,
        CallKind::Remove,
        CallKind::SyncDir,
    ] {
        for n in 1..40 {
            let machine = SimFs::new(n);
            let mut seen = 0;
            let plan = Plan::new(move |call| {
                let counts = call.kind == kind && call.name.contains("seg-");
                seen += u64::from(counts || (kind == CallKind::SyncDir && call.kind == kind));
                if counts && seen % n == 0 {
                    Action::FailRaw(28)
                } else {
                    Action::Pass
                }
            });
            let fs = FaultFs::new(Arc::new(machine.clone()), plan);
            let mut rng = Rng(n);
            let opened = options(128, Eviction::S3Merge);
            let Ok(cache) = Cache::open_with(Arc::new(fs), DIR, opened) else {
                continue;
            };
            for _ in 0..150 {
                // What is refused changes no count.
                let _ = play(&cache, &mut rng);
                let there = machine.total_bytes(Path::new(DIR));
                assert_eq!(cache.stats().file_bytes, there, "{kind:?}, every {n}th");
            }
        }
    }
}

/// On a real disk: files take the blocks that they are counted with.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "what the file system itself says"
)]
fn the_ledger_is_what_du_says() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path(), options(1024, Eviction::S3Merge)).unwrap();
    let mut rng = Rng(7);
    for turn in 0..3_000 {
        play(&cache, &mut rng).unwrap();
        if turn % 500 != 0 {
            continue;
        }
        let files = std::fs::read_dir(dir.path()).unwrap();
        let files: Vec<_> = files
            .map(|file| file.unwrap().metadata().unwrap())
            .collect();
        let lengths: u64 = files.iter().map(MetadataExt::size).sum();
        assert_eq!(cache.ledger().unwrap().total_bytes(), lengths);
        // The identity has less than a block.
        let blocks: u64 = files.iter().map(|file| file.blocks() * 512).sum();
        assert!(
            blocks.abs_diff(lengths) <= 8 << 10,
            "{blocks} in blocks, {lengths} in bytes"
        );
    }
}
