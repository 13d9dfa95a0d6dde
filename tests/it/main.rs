//! One file per promise, over the public face.

mod model;
mod oracle;
