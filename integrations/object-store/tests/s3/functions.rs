//! Every function of `object_store::integration` that a server lets the bare client pass passes through the cache, too.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use perennial::Cache;
use perennial_object_store::HeadPolicy;

use super::object_store::aws::AmazonS3;
use super::object_store::integration as suite;
use super::object_store::{Error, ObjectStore};
use super::one_writer::OneWriter;
use super::place::{client, through};
use super::{MORE, VERSION, run_more};
use crate::outcome::{Outcome, Row, Table};
use crate::servers::{Kind, Server};

/// A function that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What both versions have.
const NAMES: &[&str] = &[
    "put_get_delete_list",
    "put_get_attributes",
    "get_opts",
    "put_opts",
    "stream_get",
    "list_uses_directories_correctly",
    "list_with_delimiter",
    "list_with_offset_exclusivity",
    "list_paginated",
    "get_nonexistent_object",
    "rename_and_copy",
    "copy_if_not_exists",
    "copy_rename_nonexistent_object",
    "multipart",
    "multipart_race_condition",
    "multipart_out_of_order",
];

#[test]
fn what_passes_on_moto_passes_through_the_cache() {
    compare(Kind::Moto, 12);
}

#[test]
fn what_passes_on_s3s_fs_passes_through_the_cache() {
    compare(Kind::S3sFs, 5);
}

/// Fails as well when the bare client passes less than `at_least`: then it is the server that nothing works with.
fn compare(kind: Kind, at_least: usize) {
    let Some(server) = kind.start().unwrap() else {
        return;
    };
    let (_dir, cache) = crate::cache();
    let mut table = Table::new(kind.name(), VERSION);
    crate::runtime().block_on(async {
        for &name in NAMES.iter().chain(MORE) {
            table.push(Row {
                name,
                bare: one(&server, name, None, &cache).await,
                immutable: one(&server, name, Some(HeadPolicy::Immutable), &cache).await,
                revalidated: one(&server, name, Some(HeadPolicy::AlwaysRevalidate), &cache).await,
            });
        }
    });
    println!("{table}");
    table.judge(at_least);
}

/// Runs a function on a bucket of its own, bare or with that policy. The cache is the same for all: that the same names in
/// other buckets are other objects is tested by the way.
async fn one(server: &Server, name: &str, policy: Option<HeadPolicy>, cache: &Cache) -> Outcome {
    let how = match policy {
        None => "bare",
        Some(HeadPolicy::Immutable) => "immutable",
        Some(_) => "revalidated",
    };
    let bucket = format!("{how}-{}", name.replace('_', "-"));
    server.create_bucket(&bucket).unwrap();
    let bare = client(server.address(), &bucket);
    let mut store: Arc<dyn ObjectStore> = Arc::new(bare.clone());
    if name == "put_opts" {
        store = Arc::new(OneWriter::new(bare.clone()));
    }
    if let Some(policy) = policy {
        let identity = format!("{}/{bucket}", server.address());
        store = Arc::new(through(store, cache, &identity, policy));
    }
    outcome(run(name, &*store, &bare)).await
}

async fn outcome(run: impl Future<Output = ()>) -> Outcome {
    let caught = AssertUnwindSafe(Box::pin(run)).catch_unwind();
    match tokio::time::timeout(PATIENCE, caught).await {
        Err(_) => Outcome::Failed(format!("it takes longer than {PATIENCE:?}")),
        Ok(Err(panic)) => Outcome::of_panic(&*panic),
        Ok(Ok(())) => Outcome::Passed,
    }
}

/// `bare` is what has the methods that are no part of `ObjectStore`: for the cache it is somebody else who writes.
async fn run(name: &str, store: &dyn ObjectStore, bare: &AmazonS3) {
    match name {
        "put_get_delete_list" => suite::put_get_delete_list(store).await,
        "put_get_attributes" => suite::put_get_attributes(store).await,
        "get_opts" => suite::get_opts(store).await,
        "put_opts" => suite::put_opts(store, true).await,
        "stream_get" => suite::stream_get(store).await,
        "list_uses_directories_correctly" => suite::list_uses_directories_correctly(store).await,
        "list_with_delimiter" => suite::list_with_delimiter(store).await,
        "list_with_offset_exclusivity" => suite::list_with_offset_exclusivity(store).await,
        "list_paginated" => suite::list_paginated(store, bare).await,
        "get_nonexistent_object" => {
            let error = suite::get_nonexistent_object(store, None).await;
            let error = error.expect_err("there is no such object");
            assert!(matches!(error, Error::NotFound { .. }), "{error}");
        }
        "rename_and_copy" => suite::rename_and_copy(store).await,
        "copy_if_not_exists" => suite::copy_if_not_exists(store).await,
        "copy_rename_nonexistent_object" => suite::copy_rename_nonexistent_object(store).await,
        "multipart" => suite::multipart(store, bare).await,
        "multipart_race_condition" => suite::multipart_race_condition(store, true).await,
        "multipart_out_of_order" => suite::multipart_out_of_order(store).await,
        other => run_more(other, store, bare).await,
    }
}
