//! Caches, keys and values to measure with.

use std::ops::Deref;
use std::path::PathBuf;

use perennial::{Cache, Options};
use tempfile::TempDir;

/// An open cache in a directory of its own, which goes with it.
pub(crate) struct Bench {
    cache: Cache,
    _dir: TempDir,
}

impl Deref for Bench {
    type Target = Cache;

    fn deref(&self) -> &Cache {
        &self.cache
    }
}

/// The default options with room for 30 segments: after some seconds every file has been written before.
pub(crate) fn options() -> Options {
    Options::new().capacity_bytes(2 << 30)
}

pub(crate) fn open(options: Options) -> Bench {
    let dir = directory();
    let cache = Cache::open(dir.path(), options).expect("a fresh directory opens");
    Bench { cache, _dir: dir }
}

/// A directory on a real disk: `TMPDIR` where it is set, else below the target directory. `/tmp` is often in memory.
pub(crate) fn directory() -> TempDir {
    let below = std::env::var_os("TMPDIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    tempfile::tempdir_in(below).expect("a directory can be made")
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
