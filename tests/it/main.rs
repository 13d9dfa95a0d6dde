//! One file per promise, over the public face.

mod model;
mod oracle;
mod rot_is_a_miss;
mod small;
