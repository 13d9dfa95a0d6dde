//! Origins whose answers are futures.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::blocks::below::Below;
#[cfg(doc)]
use crate::blocks::origin::Origin;
use crate::blocks::origin::{Head, Opened, OriginResult, Version};
use crate::blocks::party::Left;
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

impl<O: AsyncOrigin> AsyncOrigin for Arc<O> {
    fn identity(&self) -> String {
        (**self).identity()
    }

    fn head(&self, object: &str) -> impl Future<Output = OriginResult<Head>> + Send {
        (**self).head(object)
    }

    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> impl Future<Output = OriginResult<Opened>> + Send {
        (**self).open_at(object, range, options)
    }

    fn checks_version(&self) -> bool {
        (**self).checks_version()
    }

    fn read_at(
        &self,
        object: &str,
        version: &Version,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> impl Future<Output = OriginResult<Bytes>> + Send {
        (**self).read_at(object, version, range, options)
    }
}

/// For the fetch threads: each waits for one answer at a time. A thread for each fetch is little beside what a fetch takes, and
/// panics, cancelled reads and priorities are the same for both faces.
pub(super) struct Awaited<O> {
    pub(super) origin: O,
    pub(super) runtime: Handle,
}

impl<O> Awaited<O> {
    /// Waits for the answer, as long as anybody waits for what it brings: then its future is dropped, and the thread is free.
    fn wait<T>(
        &self,
        answer: impl Future<Output = OriginResult<T>>,
        left: &Left,
    ) -> OriginResult<T> {
        // It goes inside of the runtime, as it came.
        self.runtime.block_on(async {
            let mut answer = pin!(answer);
            let unless_left = poll_fn(|task| {
                if left.is_so_or_wakes(task.waker()) {
                    return Poll::Ready(Err("nobody waits for it any more".into()));
                }
                answer.as_mut().poll(task)
            });
            unless_left.await
        })
    }
}

impl<O: AsyncOrigin> Below for Awaited<O> {
    fn identity(&self) -> String {
        self.origin.identity()
    }

    fn checks_version(&self) -> bool {
        self.origin.checks_version()
    }

    fn version(&self, object: &str, left: &Left) -> OriginResult<Version> {
        Ok(self.head(object, left)?.version)
    }

    fn head(&self, object: &str, left: &Left) -> OriginResult<Head> {
        self.wait(self.origin.head(object), left)
    }

    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
        left: &Left,
    ) -> OriginResult<Opened> {
        self.wait(self.origin.open_at(object, range, options), left)
    }

    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
        left: &Left,
    ) -> OriginResult<usize> {
        let range = offset..offset + buf.len() as u64;
        let read = self.origin.read_at(object, version, range, options);
        let bytes = self.wait(read, left)?;
        // More than asked for is refused by who asked.
        let copied = bytes.len().min(buf.len());
        buf[..copied].copy_from_slice(&bytes[..copied]);
        Ok(bytes.len())
    }
}
