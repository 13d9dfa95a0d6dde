//! How to come to a bucket: bare, and through the cache.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use perennial::Cache;
use perennial_object_store::HeadPolicy;

use super::CachedObjectStore;
use super::object_store::aws::{AmazonS3, AmazonS3Builder, S3ConditionalPut, S3CopyIfNotExists};
use super::object_store::{BackoffConfig, ObjectStore, RetryConfig};
use crate::servers::{KEY, REGION};

/// A client of the bucket at `server`, which may be a proxy.
pub(super) fn client(server: SocketAddr, bucket: &str) -> AmazonS3 {
    let builder = AmazonS3Builder::new()
        .with_endpoint(format!("http://{server}"))
        .with_bucket_name(bucket)
        .with_region(REGION)
        .with_access_key_id(KEY)
        .with_secret_access_key(KEY)
        .with_allow_http(true)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
        .with_retry(hardly_ever());
    super::marking(builder).build().unwrap()
}

/// What a server does not know it answers as if it had failed; by default that is tried again for three minutes.
fn hardly_ever() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(20),
            max_backoff: Duration::from_millis(200),
            base: 2.0,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(20),
    }
}

/// The same through the cache.
pub(super) fn through(
    bare: Arc<dyn ObjectStore>,
    cache: &Cache,
    identity: &str,
    policy: HeadPolicy,
) -> CachedObjectStore {
    CachedObjectStore::builder(bare, cache.clone())
        .identity(identity)
        .head_policy(policy)
        .build()
        .unwrap()
}
