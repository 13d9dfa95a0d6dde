//! What is read back more than it is written goes through the page cache, other writes past it, into the same segments: on a real
//! disk, where the kernel has to keep the two in step.

use perennial::{Cache, Eviction, Options};
use perennial_failpoints::lab::{key, value};

const KEYS: u8 = 200;
/// More than decides about how it is written.
const WRITTEN: u64 = 80 << 20;

/// Of some sectors, of parts of them, of an extent now and then.
fn len(n: u64) -> usize {
    match n % 50 {
        0 => 700_000,
        1..=9 => 100 + (n % 700) as usize,
        _ => 3_000 + (n * 97 % 30_000) as usize,
    }
}

fn key_of(n: u64) -> u8 {
    u8::try_from(n * 7 % u64::from(KEYS)).expect("few keys")
}

#[test]
fn values_are_right_however_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new()
        .capacity_bytes(64 << 20)
        .segment_bytes(4 << 20)
        .tail_bytes(4 << 20)
        .memory_tier_bytes(0)
        .eviction(Eviction::Fifo);
    let mut cache = Cache::open(dir.path(), options.clone()).unwrap();
    let mut newest = [None; KEYS as usize];
    // A key is put anew long before the log comes round to its last version: the newest one of each is there.
    let check = |cache: &Cache, of: u8, newest: &[Option<u64>]| {
        let found = cache.get(key(of)).unwrap();
        let put = newest[usize::from(of)].map(|n| value(&key(of), n, len(n)));
        assert!(found.as_deref() == put.as_deref(), "key {of}");
    };
    let (mut n, mut written) = (0_u64, 0);
    while written < WRITTEN {
        let of = key_of(n);
        let bytes = value(&key(of), n, len(n));
        // In turn written directly, by a commit; and in the background, one way or the other.
        if n.is_multiple_of(9) {
            cache.insert_durable(key(of), &bytes).unwrap();
        } else {
            cache.insert(key(of), &bytes).unwrap();
        }
        newest[usize::from(of)] = Some(n);
        written += bytes.len() as u64;
        // For some rounds much is read back, then nothing.
        if written / (WRITTEN / 3) != 1 {
            for back in 0..4 {
                check(&cache, key_of(n + back), &newest);
            }
        }
        n += 1;
        if n.is_multiple_of(1_500) {
            cache.close().unwrap();
            cache = Cache::open(dir.path(), options.clone()).unwrap();
        }
    }
    for of in 0..KEYS {
        check(&cache, of, &newest);
    }
    cache.close().unwrap();
}
