//! One file per promise, over the public face.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod a_failing_disk_never_lies;
mod a_fetch_never_overwrites;
mod killed_recovery;
mod model;
mod moving_the_tail;
mod oracle;
mod rot_is_a_miss;
mod small;
