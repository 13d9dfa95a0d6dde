//! What no store can be much faster than, measured in the same run.

mod aligned;
pub(crate) mod bare_loop;
pub(crate) mod device;
pub(crate) mod raw_file;
