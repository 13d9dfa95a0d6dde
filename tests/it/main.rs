//! One file per promise, over the public face.

mod a_failing_disk_never_lies;
mod model;
mod oracle;
mod rot_is_a_miss;
mod small;
