//! Caches to count on, in directories that go with them.

use std::ops::Deref;
use std::path::Path as Dir;

use perennial::{Cache, Options};
use tempfile::TempDir;

/// Entries that fit in the tail and in the memory tier several times, at 4 KiB.
pub(crate) const FEW: u64 = 2_000;
/// Values that fill the default tail a little more than once.
const LAP: u64 = 72;

/// An open cache in a directory of its own.
pub(crate) struct Warm {
    cache: Cache,
    _dir: TempDir,
}

impl Deref for Warm {
    type Target = Cache;

    fn deref(&self) -> &Cache {
        &self.cache
    }
}

pub(crate) fn options() -> Options {
    Options::new().capacity_bytes(2 << 30)
}

impl Warm {
    fn open(dir: &Dir, options: Options) -> Self {
        let dir = tempfile::tempdir_in(dir).expect("a directory can be made");
        let cache = Cache::open(dir.path(), options).expect("a fresh directory opens");
        Self { cache, _dir: dir }
    }

    /// The tail's pages have been written once: what the first lap costs is not counted.
    pub(crate) fn lapped(dir: &Dir, options: Options) -> Self {
        let warm = Self::open(dir, options);
        let value = value((1 << 20) - 4096);
        for n in 0..LAP {
            warm.insert(key(u64::MAX - n), &value).expect("stored");
        }
        warm.flush().expect("flushed");
        warm
    }

    pub(crate) fn filled(dir: &Dir, options: Options, entries: u64, bytes: usize) -> Self {
        let warm = Self::open(dir, options);
        let value = value(bytes);
        for n in 0..entries {
            warm.insert(key(n), &value).expect("stored");
        }
        warm
    }

    pub(crate) fn in_tail(dir: &Dir, bytes: usize) -> Self {
        Self::filled(dir, options(), FEW, bytes)
    }

    pub(crate) fn in_page_cache(dir: &Dir, bytes: usize) -> Self {
        let warm = Self::filled(dir, options().memory_tier_bytes(0), FEW, bytes);
        warm.flush().expect("flushed");
        warm.read_all();
        warm
    }

    pub(crate) fn in_memory_tier(dir: &Dir, bytes: usize) -> Self {
        let warm = Self::filled(dir, options(), FEW, bytes);
        warm.flush().expect("flushed");
        warm.read_all();
        warm
    }

    fn read_all(&self) {
        // Four times: then the entries' visited bits are as high as they get.
        for n in 0..4 * FEW {
            self.get(key(n % FEW)).expect("read");
        }
    }
}

/// The key with number `n`: 16 bytes, no two alike.
pub(crate) fn key(n: u64) -> [u8; 16] {
    let mut key = *b"key-............";
    key[8..].copy_from_slice(&n.to_le_bytes());
    key
}

/// A number that looks random, one to one.
pub(crate) fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z ^ (z >> 31)
}

pub(crate) fn value(bytes: usize) -> Vec<u8> {
    (0u8..=250).cycle().take(bytes).collect()
}
