//! A `BlockCache` is an origin, too: one in memory over one on a slow disk, say.

use std::ops::Range;

use perennial_wal::to_usize;

use crate::blocks::BlockCache;
use crate::blocks::origin::{Head, Opened, Origin, OriginError, OriginResult, Version};
use crate::blocks::request::{ReadOptions, Revalidate};
use crate::error::{Error, ErrorKind};

fn told(error: Error) -> OriginError {
    match error.kind() {
        ErrorKind::Changed => OriginError::Changed,
        _ => OriginError::Failed(error.into()),
    }
}

/// Who asks wants to know what is true now.
fn always() -> ReadOptions {
    ReadOptions::new().revalidate(Revalidate::Always)
}

impl Origin for BlockCache {
    /// That of the origin below, and that it came through here: both may share one cache.
    fn identity(&self) -> String {
        format!("blocks:{}", self.shared.identity)
    }

    fn version(&self, object: &str) -> OriginResult<Version> {
        Ok(Origin::head(self, object)?.version)
    }

    fn len(&self, object: &str) -> OriginResult<u64> {
        Ok(Origin::head(self, object)?.len)
    }

    fn head(&self, object: &str) -> OriginResult<Head> {
        self.shared.head(object, &always()).map_err(told)
    }

    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
    ) -> OriginResult<Opened> {
        let options = options.clone().revalidate(Revalidate::Always);
        let opened = self.shared.open(object, &range, &options).map_err(told)?;
        let end = range.end.min(opened.head.len);
        let start = range.start.min(end);
        let mut buf = vec![0; to_usize(end - start)];
        // Of this version and no other: another may be shorter than what is to be filled.
        let read = self
            .shared
            .read_version(object, &opened, start, &mut buf, &options);
        read.map_err(|stopped| told(stopped.told(object, &opened.head)))?;
        Ok(Opened::new(opened.head, range.start, buf))
    }

    fn checks_version(&self) -> bool {
        true
    }

    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
    ) -> OriginResult<usize> {
        let remembered = options.clone().revalidate(Revalidate::Never);
        let mut head = self.shared.head(object, &remembered).map_err(told)?;
        if head.version != *version {
            head = Origin::head(self, object)?;
        }
        // The same version of another length is another one to who has asked for this one.
        if head.version != *version || head.len < offset.saturating_add(buf.len() as u64) {
            return Err(OriginError::Changed);
        }
        let read = self.read_version_at(object, &head, offset, buf, options);
        read.map_err(told)?;
        Ok(buf.len())
    }
}
