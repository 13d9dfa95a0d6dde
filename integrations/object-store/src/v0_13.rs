//! For object_store 0.13.

#[path = "store/mod.rs"]
mod store;

use std::ops::Range;

pub use os13 as object_store;

use object_store::{Attributes, GetResult, GetResultPayload, ObjectMeta};
pub use store::{Builder, CachedObjectStore};

/// The one thing that differs between the versions.
fn get_result(
    meta: ObjectMeta,
    range: Range<u64>,
    attributes: Attributes,
    payload: GetResultPayload,
) -> GetResult {
    GetResult {
        payload,
        meta,
        range,
        attributes,
    }
}
