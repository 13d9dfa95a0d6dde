//! An upload in parts, which is an object when it is complete.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::Shared;
use super::errors::failed;
use super::forget::{Change, Writing};
use super::known::learn;
use super::object_store::path::Path;
use super::object_store::{MultipartUpload, PutPayload, PutResult, Result, UploadPart};

pub(super) struct Upload {
    shared: Arc<Shared>,
    location: Path,
    inner: Box<dyn MultipartUpload>,
    /// Of all parts.
    bytes: u64,
}

impl Upload {
    pub(super) fn new(
        shared: &Arc<Shared>,
        location: &Path,
        inner: Box<dyn MultipartUpload>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            location: location.clone(),
            inner,
            bytes: 0,
        }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.bytes += data.content_length() as u64;
        self.inner.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let locations = vec![self.location.clone()];
        let writing = Writing::begin(&self.shared, locations)
            .await
            .map_err(failed)?;
        let written = self.inner.complete().await;
        if let Ok(written) = &written {
            learn(&self.shared.kinds, written, self.bytes).await;
        }
        writing.end(written).await
    }

    async fn abort(&mut self) -> Result<()> {
        // It writes nothing itself, but a completion that failed may have been one.
        let writing = Writing::new(&self.shared, vec![self.location.clone()], Change::Written);
        let aborted = self.inner.abort().await;
        writing.end(aborted).await
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("location", &self.location)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
