//! What the fuzz targets do with their input, and the inputs they begin with.
//!
//! The fuzzer calls the bodies through `fuzz_targets/`; the test `tests/fuzz` of the workspace calls them with every
//! committed seed. A crc keeps a fuzzer out of everything behind it, so the targets can make crcs fit after the input
//! has changed the bytes under them: [`forge`].

pub mod checkpoint;
mod directories;
#[path = "../../tests/lab/driver.rs"]
#[allow(dead_code, reason = "the lab's own tests use the rest")]
mod driver;
mod edits;
mod forge;
pub mod frame;
mod input;
pub mod log_stream;
pub mod open_dir;
pub mod ops_crash;
pub mod segment_header;
pub mod trailer;

/// A fuzz target.
pub struct Target {
    /// Its name, and that of its seeds' directory.
    pub name: &'static str,
    /// Panics where something is wrong.
    pub run: fn(&[u8]),
    /// Inputs to begin with, by name.
    pub seeds: fn() -> Vec<Seed>,
}

/// An input's name, and the input.
pub type Seed = (String, Vec<u8>);

/// Every target.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "frame",
        run: frame::run,
        seeds: frame::seeds,
    },
    Target {
        name: "log_stream",
        run: log_stream::run,
        seeds: log_stream::seeds,
    },
    Target {
        name: "segment_header",
        run: segment_header::run,
        seeds: segment_header::seeds,
    },
    Target {
        name: "trailer",
        run: trailer::run,
        seeds: trailer::seeds,
    },
    Target {
        name: "checkpoint",
        run: checkpoint::run,
        seeds: checkpoint::seeds,
    },
    Target {
        name: "open_dir",
        run: open_dir::run,
        seeds: open_dir::seeds,
    },
    Target {
        name: "ops_crash",
        run: ops_crash::run,
        seeds: ops_crash::seeds,
    },
];
