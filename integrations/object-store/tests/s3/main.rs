//! The cache before real S3 servers: moto, whose conditional requests are right, and s3s-fs, which is quick. What a server is
//! missing for is skipped, with a line that shouts; `.ci/setup-s3` installs both. `just s3` shows the tables that
//! `docs/object-store.md` has.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(
    clippy::duplicate_mod,
    reason = "one source for both versions of object_store"
)]

mod distance;
mod outcome;
#[allow(
    dead_code,
    unused_imports,
    reason = "an example and another crate have the rest"
)]
#[path = "../servers/mod.rs"]
mod servers;
#[cfg(feature = "object_store_0_13")]
mod v0_13;
#[cfg(feature = "object_store_0_14")]
mod v0_14;

use std::time::Duration;

use perennial::{Cache, ErrorKind, Options};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A cache on disk, and the directory it lies in, which goes with this.
pub(crate) fn cache() -> (TempDir, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let cache = reopened(&dir);
    (dir, cache)
}

/// The cache that lies in `dir`.
pub(crate) fn reopened(dir: &TempDir) -> Cache {
    let open = || Cache::open(dir.path(), Options::new().capacity_bytes(256 << 20));
    // Half a minute.
    for _ in 0..1500 {
        match open() {
            // By ourselves: tasks that are still ending hold the cache that was closed.
            Err(error) if error.kind() == ErrorKind::Locked => {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened.unwrap(),
        }
    }
    open().unwrap()
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
