//! Limits hold, what is out of range is refused with the limit, and options may change between runs.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use perennial::{Cache, ErrorKind, Eviction, Options, Result, Tail};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{Crash, Keeps, identify, value};

use crate::small::{self, DIR, Life, Rng};

/// A cache that takes large entries.
fn large() -> Options {
    Options::new()
        .capacity_bytes(16 << 20)
        .segment_bytes(1 << 20)
        .tail_bytes(256 << 10)
        .background(false)
}

fn bytes(fs: &SimFs) -> u64 {
    fs.total_bytes(Path::new(DIR))
}

#[test]
fn the_capacity_is_a_bound_at_every_step() {
    const CAPACITY: u64 = 128 << 10;
    const BOUND: u64 = CAPACITY + (8 << 10);
    let mut fs = SimFs::new(1);
    let mut rng = Rng(1);
    let (mut written, mut op) = (0, 0);
    while written < 20 * CAPACITY {
        let cache = small::open(&fs, small::options().capacity_bytes(CAPACITY)).unwrap();
        assert!(bytes(&fs) <= BOUND, "{} bytes after the open", bytes(&fs));
        for _ in 0..200 {
            op += 1;
            let key = format!("key-{}", rng.below(400)).into_bytes();
            let len = rng.below(if op % 10 == 0 { 5_000 } else { 500 });
            cache
                .insert(&key, value(&key, op, usize::try_from(len).unwrap()))
                .unwrap();
            written += len;
            let (there, counted) = (bytes(&fs), cache.stats().file_bytes);
            assert!(there <= BOUND, "{there} bytes after operation {op}");
            assert!(
                counted.abs_diff(there) <= 4 << 10,
                "{there} bytes, counted {counted}"
            );
        }
        assert!(cache.stats().evicted > 0 || op < 600);
        match rng.below(4) {
            0 => cache.close().unwrap(),
            1 => drop(cache),
            2 => {
                std::mem::forget(cache);
                fs = fs.process_crash();
            }
            _ => {
                std::mem::forget(cache);
                fs = fs.power_loss(op);
            }
        }
    }
}

#[test]
fn the_smallest_cache_works() {
    let fs = SimFs::new(1);
    let mut life = Life::new(1);
    for _ in 0..10 {
        let cache = small::open(&fs, small::options()).unwrap();
        life.live(&cache, 500);
        assert!(small::check(&cache, &life.oracle, Crash::Kill).unwrap() > 0);
        cache.close().unwrap();
    }
    assert!(bytes(&fs) <= 64 << 10);
}

#[test]
fn keys_and_values_of_every_size_come_back() {
    let fs = SimFs::new(1);
    let cache = small::open(&fs, large()).unwrap();
    let sizes = [1, 2, 15, 16, 17, 255, 4_095, 4_096, 65_000, 65_535];
    let key_of = |len: usize| -> Vec<u8> { (0..len).map(|i| (i % 251).to_le_bytes()[0]).collect() };
    let check = |cache: &Cache| {
        for (n, size) in sizes.into_iter().enumerate() {
            let found = cache.get(key_of(size)).unwrap().expect("there");
            assert_eq!(identify(&key_of(size), &found).unwrap(), n as u64);
            assert!(cache.contains(key_of(size)).unwrap());
        }
    };
    for (n, size) in sizes.into_iter().enumerate() {
        cache
            .insert(key_of(size), value(&key_of(size), n as u64, 100 + n))
            .unwrap();
    }
    cache.insert("empty", "").unwrap();
    check(&cache);
    cache.close().unwrap();
    let cache = small::open(&fs, large()).unwrap();
    check(&cache);
    assert_eq!(cache.get("empty").unwrap().expect("there").len(), 0);
    assert!(
        cache
            .get_range("empty", 0..10)
            .unwrap()
            .expect("there")
            .is_empty()
    );
    cache.remove("empty").unwrap();
    assert!(!cache.contains("empty").unwrap());
}

#[test]
fn the_largest_value_fits_and_one_more_byte_is_refused_with_the_limit() {
    let sizes = [(small::options(), 8_u64 << 10), (large(), 1 << 20)];
    for ((options, segment), key_bytes) in sizes
        .into_iter()
        .flat_map(|case| [(case.clone(), 1), (case, 600)])
    {
        let fs = SimFs::new(1);
        let cache = small::open(&fs, options.clone()).unwrap();
        let key = vec![b'k'; key_bytes];
        let huge = usize::try_from(segment).unwrap();
        let refused = cache.insert(&key, vec![0; huge]).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        let max = limit_in(&refused.to_string());
        assert!(max > huge / 2, "{refused}");
        assert_eq!(cache.max_value_bytes(key_bytes), max as u64);
        let filled = cache.insert_with_len(&key, max + 1, |_| Ok::<_, Infallible>(()));
        assert_eq!(filled.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(
            cache.insert(&key, vec![0; max + 1]).unwrap_err().kind(),
            ErrorKind::Invalid
        );
        // Several, so that one of them begins in a segment that is partly written.
        for op in 0..5 {
            cache.insert(&key, value(&key, op, max)).unwrap();
            cache.insert("small", "x").unwrap();
            let found = cache.get(&key).unwrap().expect("there");
            assert_eq!(identify(&key, &found).unwrap(), op);
        }
        cache.close().unwrap();
        let cache = small::open(&fs, options).unwrap();
        let found = cache.get(&key).unwrap().expect("there");
        assert_eq!((found.len(), identify(&key, &found).unwrap()), (max, 4));
        let end = cache
            .get_range(&key, max as u64 - 10..u64::MAX)
            .unwrap()
            .expect("there");
        assert_eq!(*end, found[max - 10..]);
    }
}

/// The number behind "at most".
fn limit_in(message: &str) -> usize {
    let (_, rest) = message.split_once("at most ").expect("a limit");
    rest.split(' ').next().unwrap().parse().expect("a number")
}

#[test]
fn keys_out_of_range_are_refused_by_every_call_and_nothing_happens() {
    let cache = small::open(&SimFs::new(1), large()).unwrap();
    let long = vec![7; 65_536];
    for key in [&b""[..], &long] {
        let errors = [
            cache.insert(key, "v").unwrap_err(),
            cache.insert_durable(key, "v").unwrap_err(),
            cache
                .insert_with_len(key, 1, |_| Ok::<_, Infallible>(()))
                .unwrap_err(),
            cache.get(key).unwrap_err(),
            cache.get_into(key, &mut Vec::new()).unwrap_err(),
            cache.get_range(key, 0..1).unwrap_err(),
            cache
                .get_or_fetch(key, || Ok::<_, Infallible>(vec![1]))
                .unwrap_err(),
            cache.contains(key).unwrap_err(),
            cache.remove(key).unwrap_err(),
            cache.remove_durable(key).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let said = error.to_string();
            assert!(
                said.contains("1 to 65535") && said.contains(&format!("has {}", key.len())),
                "{said}"
            );
        }
    }
    assert_eq!(cache.stats().entries, 0);
}

#[test]
fn options_out_of_range_are_refused_before_anything_is_made() {
    let bad = [
        small::options().capacity_bytes(50 << 10),
        small::options().capacity_bytes(5 << 40),
        small::options().segment_bytes(12 << 10),
        small::options().tail_bytes(40 << 10),
        small::options().tail_bytes(0),
        small::options().tail_bytes(u64::MAX),
        small::options().index_shards(0),
        small::options().index_shards(3),
        small::options().bloom_fp_rate(f64::NAN),
        small::options().checkpoint_every_bytes(1),
        small::options().flush_every(Duration::ZERO),
    ];
    for options in bad {
        let fs = SimFs::new(1);
        let error = small::open(&fs, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(fs.file_names(Path::new(DIR)).is_empty());
    }
}

/// The tails that a cache may have.
fn tails() -> Vec<Options> {
    let options = || small::options().capacity_bytes(4 << 20);
    vec![
        options(),
        options().tail_bytes(8 << 10),
        options().tail_bytes(64 << 10),
        options().tail_dir("/fast"),
        options().tail_dir("/fast").tail_bytes(32 << 10),
        options().tail_dir("/faster"),
        options().tail(Tail::Heap),
        options().tail(Tail::Heap).tail_bytes(16 << 10),
    ]
}

#[test]
fn another_tail_after_a_kill_loses_nothing_that_was_acknowledged() {
    let mapped = tails().len() - 2;
    for (n, before) in tails().into_iter().take(mapped).enumerate() {
        for (m, after) in tails().into_iter().enumerate() {
            let fs = SimFs::new(1);
            let mut life = Life::new((n * 10 + m) as u64);
            life.oracle.set_keeps(Keeps::Everything);
            let cache = small::open(&fs, before.clone()).unwrap();
            life.live(&cache, 70);
            std::mem::forget(cache);
            let fs = fs.process_crash();
            let cache = small::open(&fs, after.clone()).unwrap();
            small::check(&cache, &life.oracle, Crash::Kill)
                .unwrap_or_else(|why| panic!("{n} to {m}: {why}"));
            // And back, closed this time.
            life.live(&cache, 70);
            cache.close().unwrap();
            let cache = small::open(&fs, before.clone()).unwrap();
            small::check(&cache, &life.oracle, Crash::Kill)
                .unwrap_or_else(|why| panic!("{m} to {n}: {why}"));
            assert!(
                fs.file_names(Path::new(DIR))
                    .iter()
                    .filter(|name| name.starts_with("tail-"))
                    .count()
                    <= 1
            );
        }
    }
}

#[test]
fn a_tail_on_the_heap_keeps_what_was_flushed() {
    for seed in 0..20 {
        let fs = SimFs::new(seed);
        let mut life = Life::new(seed);
        let options = small::options().tail(Tail::Heap).capacity_bytes(4 << 20);
        life.oracle.set_keeps(Keeps::Everything);
        let cache = small::open(&fs, options.clone()).unwrap();
        life.live(&cache, 100);
        std::mem::forget(cache);
        let cache = small::open(&fs.process_crash(), options).unwrap();
        small::check(&cache, &life.oracle, Crash::Power).unwrap();
    }
}

#[test]
fn other_shards_and_another_capacity_keep_what_fits() {
    let fs = SimFs::new(1);
    let keys: Vec<String> = (0..300).map(|n| format!("key-{n}")).collect();
    let options = |capacity, shards| {
        small::options()
            .capacity_bytes(capacity)
            .index_shards(shards)
            .eviction(Eviction::Fifo)
    };
    let cache = small::open(&fs, options(1 << 20, 1)).unwrap();
    for key in &keys {
        cache.insert(key, value(key.as_bytes(), 1, 500)).unwrap();
    }
    cache.close().unwrap();
    let count = |cache: &Cache| {
        let there = |key: &&String| {
            let found = cache.get(key.as_bytes()).unwrap();
            found.is_some_and(|found| identify(key.as_bytes(), &found).unwrap() == 1)
        };
        keys.iter().filter(there).count()
    };
    for (capacity, shards) in [(1 << 20, 64), (4 << 20, 2), (400 << 10, 4096), (1 << 20, 1)] {
        let cache = small::open(&fs, options(capacity, shards)).unwrap();
        assert_eq!(
            count(&cache),
            keys.len(),
            "{capacity} bytes, {shards} shards"
        );
        assert_eq!(cache.stats().evicted, 0);
        cache.close().unwrap();
    }
    let cache = small::open(&fs, options(128 << 10, 8)).unwrap();
    let (kept, stats) = (count(&cache), cache.stats());
    assert!((50..250).contains(&kept), "{kept}\n{stats}");
    assert_eq!(kept as u64 + stats.evicted, keys.len() as u64);
    assert!(bytes(&fs) <= (128 << 10) + (8 << 10), "{}", bytes(&fs));
    // The newest are the ones that are left.
    assert!(cache.contains(&keys[299]).unwrap() && !cache.contains(&keys[0]).unwrap());
    cache.close().unwrap();
    let cache = small::open(&fs, options(1 << 20, 1)).unwrap();
    assert_eq!(count(&cache), kept);
}

#[test]
fn flush_every_makes_durable_without_being_asked() {
    let fs = SimFs::new(1);
    let options = small::options()
        .background(true)
        .flush_every(Duration::from_millis(1));
    let cache = small::open(&fs, options).unwrap();
    cache.insert("key", "value").unwrap();
    let survives = || {
        let cut = fs.power_loss(3);
        let cache = small::open(&cut, small::options()).unwrap();
        cache.contains("key").unwrap()
    };
    while !survives() {
        std::thread::yield_now();
    }
}

#[test]
fn get_into_clears_the_buffer_and_says_whether_there_is_a_value() {
    let cache = small::open(&SimFs::new(1), small::options()).unwrap();
    cache.insert("key", "value").unwrap();
    let mut buf = b"before".to_vec();
    assert!(cache.get_into("key", &mut buf).unwrap());
    assert_eq!(buf, b"value");
    assert!(!cache.get_into("other", &mut buf).unwrap());
    assert!(buf.is_empty());
    cache.insert("large", [9; 4_000]).unwrap();
    assert!(cache.get_into("large", &mut buf).unwrap());
    assert_eq!(buf, [9; 4_000]);
}

#[test]
fn one_clone_closes_for_all() {
    for background in [false, true] {
        let fs = SimFs::new(1);
        let options = || small::options().background(background);
        let cache = small::open(&fs, options()).unwrap();
        let other = cache.clone();
        cache.insert("key", "value").unwrap();
        let error = small::open(&fs, options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        cache.close().unwrap();
        assert_all_closed(&other);
        other.close().unwrap();
        let cache = small::open(&fs, options()).unwrap();
        assert!(cache.contains("key").unwrap());
    }
}

fn assert_all_closed(cache: &Cache) {
    fn kind<T>(result: Result<T>) -> ErrorKind {
        result.map(drop).unwrap_err().kind()
    }
    let kinds = [
        kind(cache.insert("a", "b")),
        kind(cache.insert_durable("a", "b")),
        kind(cache.insert_with_len("a", 1, |_| Ok::<_, Infallible>(()))),
        kind(cache.insert("a", vec![0; 4_000])),
        kind(cache.get("key")),
        kind(cache.get_into("key", &mut Vec::new())),
        kind(cache.get_range("key", 0..1)),
        kind(cache.get_or_fetch("a", || Ok::<_, Infallible>(vec![]))),
        kind(cache.remove("key")),
        kind(cache.remove_durable("key")),
        kind(cache.contains("key")),
        kind(cache.flush()),
        kind(cache.checkpoint()),
    ];
    assert_eq!(kinds, [ErrorKind::Closed; 13]);
}

#[test]
fn dropping_the_last_clone_closes() {
    for background in [false, true] {
        let fs = SimFs::new(1);
        let cache = small::open(&fs, small::options().background(background)).unwrap();
        let other = cache.clone();
        cache.insert("key", "value").unwrap();
        drop(cache);
        assert!(other.contains("key").unwrap());
        drop(other);
        // Closed, and so durable.
        let cache = small::open(&fs.power_loss(1), small::options()).unwrap();
        assert!(cache.contains("key").unwrap());
    }
}

#[test]
fn a_tail_dir_that_is_the_cache_s_own_directory_is_refused() {
    for dir in [DIR, "/cache/", "/./cache"] {
        let fs = SimFs::new(1);
        let error = small::open(&fs, small::options().tail_dir(dir)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("tail_dir"), "{error}");
    }
}

#[test]
fn a_checkpoint_that_was_asked_for_is_written_or_refused() {
    for shards in [1, 64, 4096] {
        let fs = SimFs::new(1);
        let options = small::options()
            .capacity_bytes(1 << 20)
            .index_shards(shards);
        let cache = small::open(&fs, options.clone()).unwrap();
        for n in 0..400_u32 {
            cache.insert(n.to_le_bytes(), b"v").unwrap();
        }
        if let Err(error) = cache.checkpoint() {
            assert_eq!(error.kind(), ErrorKind::Invalid, "{shards}: {error}");
            assert!(error.to_string().contains("tail_bytes"), "{error}");
            assert!(shards > 1);
            continue;
        }
        let killed = fs.process_crash();
        drop(cache);
        let cache = small::open(&killed, options).unwrap();
        let loaded = cache.stats().recovered_from_checkpoint;
        assert_eq!(loaded, 400, "{shards} shards");
    }
}

/// The cache's threads and its lock end with its last handle, wherever that is dropped.
#[test]
fn a_cache_may_be_dropped_within_another_s_closure() {
    let (fs, other_fs) = (SimFs::new(1), SimFs::new(2));
    let cache = small::open(&fs, small::options()).unwrap();
    let other = small::open(&other_fs, small::options().background(true)).unwrap();
    let fill = |_: &mut [u8]| {
        drop(other);
        Ok::<_, String>(())
    };
    cache.insert_with_len("key", 1, fill).unwrap();
    for wait in 0.. {
        match small::open(&other_fs, small::options()) {
            Ok(_) => break,
            Err(error) => assert!(wait < 500, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A tail with io buffers larger than a segment: no frame may be, be it of a checkpoint.
#[test]
fn a_tail_much_larger_than_a_segment_takes_no_frames_larger_than_one() {
    let fs = SimFs::new(1);
    let options = || {
        small::options()
            .capacity_bytes(4 << 20)
            .tail_bytes(1 << 20)
            .index_shards(1)
            .checkpoint_every_bytes(1 << 20)
    };
    let (done, is_done) = std::sync::mpsc::channel();
    let there = fs.clone();
    let run = move || {
        let cache = small::open(&there, options()).unwrap();
        for n in 0..4_000_u32 {
            cache.insert(n.to_le_bytes(), n.to_le_bytes()).unwrap();
        }
        cache.insert("large", vec![7; 5_000]).unwrap();
        cache.checkpoint().unwrap();
        done.send(cache.stats().evicted).unwrap();
    };
    std::thread::Builder::new().spawn(run).unwrap();
    let evicted = is_done.recv_timeout(Duration::from_secs(20));
    assert_eq!(evicted, Ok(0), "it never ends, or costs entries");
    let cache = small::open(&fs.process_crash(), options()).unwrap();
    assert_eq!(cache.stats().recovered_from_checkpoint, 4_001);
    assert_eq!(cache.get("large").unwrap().unwrap().len(), 5_000);
}
