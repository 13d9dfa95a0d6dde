//! The store for object_store 0.14. The tests are the same for each version: `store/`.

#![cfg(feature = "object_store_0_14")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "store/mod.rs"]
mod store;

use std::sync::Arc;

use object_store::integration;
use object_store::memory::InMemory;
use perennial_object_store::v0_14::{CachedObjectStore, object_store};

/// Not in 0.13.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_functions_of_object_store_pass() {
    for policy in store::POLICIES {
        let inner = Arc::new(InMemory::new());
        let cached = store::over(Arc::clone(&inner), policy);
        integration::multipart_with_opts(&cached, &*inner).await;
        integration::multipart_put_part_out_of_order(&cached, &*inner).await;
    }
}
