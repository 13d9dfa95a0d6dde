//! A store that puts one object at a time, and answers nothing meanwhile.

use std::fmt;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use tokio::sync::RwLock;

use super::object_store::aws::AmazonS3;
use super::object_store::path::Path;
use super::object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// Servers look at the condition of a `PUT`, then store: of two at once both may succeed. And s3s-fs opens a file, then looks for its e_tag: a
/// `GET` beside a `PUT` may be told the new one of old bytes.
#[derive(Debug)]
pub(super) struct OneWriter {
    inner: AmazonS3,
    turn: RwLock<()>,
}

impl OneWriter {
    pub(super) fn new(inner: AmazonS3) -> Self {
        Self {
            inner,
            turn: RwLock::new(()),
        }
    }
}

impl fmt::Display for OneWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OneWriter({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for OneWriter {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let _turn = self.turn.write().await;
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        // The body is that of the answer, whenever it is read.
        let _turn = self.turn.read().await;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
