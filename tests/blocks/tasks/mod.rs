//! The face for tasks: `cargo test --features tokio --test blocks`.

mod leaving;
mod reading;
mod storm;
mod turns;
mod warming;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use perennial::blocks::{
    AsyncBlockCache, AsyncOrigin, Head, Opened, Origin, OriginResult, ReadOptions, Version,
};

use crate::source::Source;
use crate::{roomy, small_blocks};

/// The same origin for tasks, which waits now and then.
pub(crate) struct Awaited(pub(crate) Arc<Source>);

impl AsyncOrigin for Awaited {
    fn identity(&self) -> String {
        self.0.identity()
    }

    async fn head(&self, object: &str) -> OriginResult<Head> {
        tokio::task::yield_now().await;
        Origin::head(&*self.0, object)
    }

    async fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Opened> {
        tokio::task::yield_now().await;
        self.0.open_at(object, range, options)
    }

    fn checks_version(&self) -> bool {
        self.0.checks_version()
    }

    async fn read_at(
        &self,
        object: &str,
        version: &Version,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Bytes> {
        tokio::time::sleep(Duration::from_micros(50)).await;
        let mut buf = vec![0; usize::try_from(range.end - range.start).unwrap()];
        let read = Origin::read_at(&*self.0, object, version, range.start, &mut buf, options)?;
        buf.truncate(read);
        Ok(buf.into())
    }
}

pub(crate) fn over(source: &Arc<Source>) -> AsyncBlockCache {
    AsyncBlockCache::new(roomy(), Awaited(Arc::clone(source)), small_blocks()).unwrap()
}
