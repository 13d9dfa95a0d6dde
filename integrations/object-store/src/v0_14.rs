//! For object_store 0.14.

#[path = "store/mod.rs"]
mod store;

use std::ops::Range;

pub use os14 as object_store;

use object_store::{Attributes, Extensions, GetResult, GetResultPayload, ObjectMeta};
pub use store::{Builder, CachedObjectStore};

/// The one thing that differs between the versions: here an answer may carry what an implementation says beyond it.
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
        extensions: Extensions::new(),
    }
}
