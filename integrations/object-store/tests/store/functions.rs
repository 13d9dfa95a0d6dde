//! object_store's own functions for whoever implements a store: each that the store below passes is passed through the cache.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::{POLICIES, over};
use crate::object_store::local::LocalFileSystem;
use crate::object_store::memory::InMemory;
use crate::object_store::{DynObjectStore, Error, integration};

const FUNCTIONS: [&str; 14] = [
    "copy_if_not_exists",
    "copy_rename_nonexistent_object",
    "get_nonexistent_object",
    "get_opts",
    "list_uses_directories_correctly",
    "list_with_delimiter",
    "list_with_offset_exclusivity",
    "multipart_out_of_order",
    "multipart_race_condition",
    "put_get_attributes",
    "put_get_delete_list",
    "put_opts",
    "rename_and_copy",
    "stream_get",
];

fn function<'a>(name: &str, store: &'a DynObjectStore, updates: bool) -> LocalBoxFuture<'a, ()> {
    match name {
        "copy_if_not_exists" => integration::copy_if_not_exists(store).boxed_local(),
        "copy_rename_nonexistent_object" => {
            integration::copy_rename_nonexistent_object(store).boxed_local()
        }
        "get_nonexistent_object" => get_nonexistent_object(store).boxed_local(),
        "get_opts" => integration::get_opts(store).boxed_local(),
        "list_uses_directories_correctly" => {
            integration::list_uses_directories_correctly(store).boxed_local()
        }
        "list_with_delimiter" => integration::list_with_delimiter(store).boxed_local(),
        "list_with_offset_exclusivity" => {
            integration::list_with_offset_exclusivity(store).boxed_local()
        }
        "multipart_out_of_order" => integration::multipart_out_of_order(store).boxed_local(),
        "multipart_race_condition" => {
            integration::multipart_race_condition(store, true).boxed_local()
        }
        "put_get_attributes" => integration::put_get_attributes(store).boxed_local(),
        "put_get_delete_list" => integration::put_get_delete_list(store).boxed_local(),
        "put_opts" => integration::put_opts(store, updates).boxed_local(),
        "rename_and_copy" => integration::rename_and_copy(store).boxed_local(),
        "stream_get" => integration::stream_get(store).boxed_local(),
        _ => panic!("there is no function {name}"),
    }
}

async fn get_nonexistent_object(store: &DynObjectStore) {
    let error = integration::get_nonexistent_object(store, None).await;
    assert!(matches!(error, Err(Error::NotFound { .. })), "{error:?}");
}

/// Each has a store of its own: not all of them tidy up.
async fn passes(name: &str, store: &DynObjectStore, updates: bool) -> bool {
    let function = AssertUnwindSafe(function(name, store, updates));
    function.catch_unwind().await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_memory_passes_is_passed_through_the_cache() {
    let mut passed = 0;
    for name in FUNCTIONS {
        let bare = passes(name, &InMemory::new(), true).await;
        passed += usize::from(bare);
        for policy in POLICIES {
            let through = passes(name, &over(InMemory::new(), policy), true).await;
            assert!(through || !bare, "{name} with {policy:?}");
        }
    }
    assert!(passed >= 12, "memory itself passes only {passed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_files_pass_is_passed_through_the_cache() {
    let files = || {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalFileSystem::new_with_prefix(dir.path()).unwrap();
        (dir, store)
    };
    let mut passed = 0;
    for name in FUNCTIONS {
        let (_dir, store) = files();
        let bare = passes(name, &store, false).await;
        passed += usize::from(bare);
        for policy in POLICIES {
            let (_dir, store) = files();
            let through = passes(name, &over(store, policy), false).await;
            assert!(through || !bare, "{name} with {policy:?}");
        }
    }
    assert!(passed >= 10, "files themselves pass only {passed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_in_parts_to_the_store_below_are_found() {
    for policy in POLICIES {
        let inner = Arc::new(InMemory::new());
        let cached = over(Arc::clone(&inner), policy);
        integration::multipart(&cached, &*inner).await;
    }
}
