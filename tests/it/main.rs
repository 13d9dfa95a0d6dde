//! One file per promise, over the public face.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod killed_recovery;
mod model;
mod oracle;
