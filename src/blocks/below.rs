//! The origin as the threads of a `BlockCache` ask it: each call hears when nobody waits for what it brings any more.

use std::ops::Range;

use crate::blocks::origin::{Head, Opened, Origin, OriginResult, Version};
use crate::blocks::party::Left;
use crate::blocks::request::ReadOptions;

pub(super) trait Below: Send + Sync {
    fn identity(&self) -> String;

    fn checks_version(&self) -> bool;

    fn version(&self, object: &str, left: &Left) -> OriginResult<Version>;

    fn head(&self, object: &str, left: &Left) -> OriginResult<Head>;

    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
        left: &Left,
    ) -> OriginResult<Opened>;

    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
        left: &Left,
    ) -> OriginResult<usize>;
}

/// A thread that has called it can only wait for it.
impl<O: Origin> Below for O {
    fn identity(&self) -> String {
        Origin::identity(self)
    }

    fn checks_version(&self) -> bool {
        Origin::checks_version(self)
    }

    fn version(&self, object: &str, _: &Left) -> OriginResult<Version> {
        Origin::version(self, object)
    }

    fn head(&self, object: &str, _: &Left) -> OriginResult<Head> {
        Origin::head(self, object)
    }

    fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        options: &ReadOptions,
        _: &Left,
    ) -> OriginResult<Opened> {
        Origin::open_at(self, object, range, options)
    }

    fn read_at(
        &self,
        object: &str,
        version: &Version,
        offset: u64,
        buf: &mut [u8],
        options: &ReadOptions,
        _: &Left,
    ) -> OriginResult<usize> {
        Origin::read_at(self, object, version, offset, buf, options)
    }
}
