//! One file per promise, over the public face.

mod holes;
mod model;
mod oracle;
