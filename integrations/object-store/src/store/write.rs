//! Writes: they go to the store below, and are forgotten here.

use std::future::Future;
use std::ops::ControlFlow;
use std::sync::Arc;

use perennial::blocks::ReadOptions;

use super::errors::failed;
use super::forget::Writing;
use super::known::learn;
use super::object_store::path::Path;
use super::object_store::{
    CopyOptions, MultipartUpload, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result,
};
use super::upload::Upload;
use super::{Shared, is_cacheable};

impl Shared {
    async fn written<T>(
        self: &Arc<Self>,
        locations: Vec<Path>,
        write: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let writing = Writing::begin(self, locations).await.map_err(failed)?;
        let written = write.await;
        writing.end(written).await
    }

    pub(super) async fn put(
        self: &Arc<Self>,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let bytes = payload.content_length() as u64;
        let write = async {
            let written = self.inner.put_opts(location, payload, options).await?;
            // Before what was there is forgotten: that depends on it.
            learn(&self.kinds, &written, bytes).await;
            Ok(written)
        };
        let written = self.written(vec![location.clone()], write).await?;
        if self.write_through && bytes > 0 && is_cacheable(location) {
            self.read_back(location.clone(), bytes);
        }
        Ok(written)
    }

    pub(super) async fn put_multipart(
        self: &Arc<Self>,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        // Nothing is written until it is complete.
        let inner = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(Upload::new(self, location, inner)))
    }

    pub(super) async fn copy(
        self: &Arc<Self>,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> Result<()> {
        let write = self.inner.copy_opts(from, to, options);
        self.written(vec![to.clone()], write).await
    }

    pub(super) async fn rename(
        self: &Arc<Self>,
        from: &Path,
        to: &Path,
        options: RenameOptions,
    ) -> Result<()> {
        let write = self.inner.rename_opts(from, to, options);
        self.written(vec![from.clone(), to.clone()], write).await
    }

    /// Into the cache, some time.
    fn read_back(self: &Arc<Self>, location: Path, bytes: u64) {
        let shared = Arc::clone(self);
        self.runtime.spawn(async move {
            let Ok(_turn) = shared.read_backs.acquire().await else {
                return;
            };
            let reading = ReadOptions::new().revalidate(shared.policy.revalidate());
            let object = location.as_ref();
            let go_on = |_| ControlFlow::Continue(());
            let read = shared
                .blocks
                .ensure_cached(object, 0..bytes, &reading, go_on);
            if let Err(error) = read.await {
                tracing::debug!(%error, "what was written could not be read back");
            }
        });
    }
}
