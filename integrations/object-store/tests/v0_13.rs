//! The store for object_store 0.13. The tests are the same for each version: `store/`.

#![cfg(feature = "object_store_0_13")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "store/mod.rs"]
mod store;

use perennial_object_store::v0_13::{CachedObjectStore, object_store};
