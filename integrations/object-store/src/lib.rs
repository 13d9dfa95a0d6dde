#![cfg_attr(feature = "object_store_0_14", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "object_store_0_14"),
    doc = "An object store that is read through a perennial cache."
)]
#![allow(
    clippy::duplicate_mod,
    reason = "one source is compiled for each version of object_store"
)]

#[cfg(not(any(feature = "object_store_0_13", feature = "object_store_0_14")))]
compile_error!("choose a version of object_store: feature object_store_0_14 or object_store_0_13");

mod about;
mod kinds;
mod policy;
mod relayed;
#[cfg(feature = "object_store_0_13")]
pub mod v0_13;
#[cfg(feature = "object_store_0_14")]
pub mod v0_14;
mod version;

pub use policy::HeadPolicy;
#[cfg(feature = "object_store_0_14")]
pub use v0_14::{Builder, CachedObjectStore};
