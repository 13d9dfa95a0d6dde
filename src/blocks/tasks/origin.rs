//! Origins whose answers are futures.

use std::future::Future;
use std::ops::Range;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::blocks::origin::{Head, Opened, Origin, OriginResult, Version};
use crate::blocks::request::ReadOptions;

/// An [`Origin`] whose answers are futures: implement it with `async fn`. What is said of [`Origin`] goes for this, too; its futures
/// are polled by the fetch threads, inside of the runtime in which the [`AsyncBlockCache`](crate::blocks::AsyncBlockCache) was made.
pub trait AsyncOrigin: Send + Sync + 'static {
    /// As [`Origin::identity`].
    fn identity(&self) -> String;

    /// Version and length of the same moment.
    ///
    /// # Errors
    /// Whatever the origin has to say.
    fn head(&self, object: &str) -> impl Future<Output = OriginResult<Head>> + Send;

    /// As [`Origin::open_at`]. Default: [`head`](Self::head), and no bytes.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> impl Future<Output = OriginResult<Opened>> + Send {
        let _ = (range, options);
        async move { Ok(self.head(object).await?.into()) }
    }

    /// As [`Origin::checks_version`]: true when [`read_at`](Self::read_at) answers [`OriginError::Changed`](crate::blocks::OriginError::Changed)
    /// unless all bytes are of the version asked for. Default: false.
    fn checks_version(&self) -> bool {
        false
    }

    /// The object's bytes in `range`, which is one of whole blocks, cut at the object's length. Fewer than asked for are a failure
    /// of the blocks that are not whole.
    ///
    /// # Errors
    /// [`OriginError::Changed`](crate::blocks::OriginError::Changed), or whatever the origin has to say.
    fn read_at(
        &self,
        object: &str,
        version: &Version,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> impl Future<Output = OriginResult<Bytes>> + Send;
}

/// For the fetch threads: each waits for one answer at a time. A thread for each fetch is little beside what a fetch takes, and
/// panics, cancelled reads and priorities are the same for both faces.
pub(super) struct Awaited<O> {
    pub(super) origin: O,
    pub(super) runtime: Handle,
}

impl<O: AsyncOrigin> Origin for Awaited<O> {
    fn identity(&self) -> String {
        self.origin.identity()
    }

    fn version(&self, object: &str) -> OriginResult<Version> {
        Ok(self.head(object)?.version)
    }

    fn len(&self, object: &str) -> OriginResult<u64> {
        Ok(self.head(object)?.len)
    }

    fn head(&self, object: &str) -> OriginResult<Head> {
        self.runtime.block_on(self.origin.head(object))
    }

    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Opened> {
        self.runtime
            .block_on(self.origin.open_at(object, range, options))
    }

    fn checks_version(&self) -> bool {
        self.origin.checks_version()
    }

    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> OriginResult<usize> {
        let range = offset..offset + buf.len() as u64;
        let read = self.origin.read_at(object, version, range, options);
        let bytes = self.runtime.block_on(read)?;
        // More than asked for is refused by who asked.
        let copied = bytes.len().min(buf.len());
        buf[..copied].copy_from_slice(&bytes[..copied]);
        Ok(bytes.len())
    }
}
