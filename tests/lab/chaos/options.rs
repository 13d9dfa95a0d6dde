//! How the cache is opened: other options each time, all legal for what is there.

use perennial::{Compression, Eviction, Options, Tail};

use crate::driver::small;
use crate::random::Rng;

/// What stays for all lives of a world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// All that is ever stored fits.
    pub(super) roomy: bool,
}

/// The options of one open, and whether a killed process leaves its tail.
pub(super) fn drawn(rng: &mut Rng, frame: Frame) -> (Options, bool) {
    let capacity_bytes = if frame.roomy {
        1 << 20
    } else {
        [96, 112, 128][pick(rng, 3)] << 10
    };
    let mapped = rng.below(8) > 0;
    let eviction = [Eviction::Fifo, Eviction::Clock, Eviction::S3Merge][pick(rng, 3)];
    let options = small(capacity_bytes)
        .eviction(eviction)
        .tail_bytes([4, 4, 8, 16][pick(rng, 4)] << 10)
        .tail(if mapped { Tail::Mapped } else { Tail::Heap })
        .memory_tier_bytes([0, 0, 32 << 10][pick(rng, 3)])
        .index_shards([1, 1, 2][pick(rng, 3)])
        .checkpoint_every_bytes([8, 16, 64][pick(rng, 3)] << 10);
    let elsewhere = rng.below(12) == 0;
    let options = if elsewhere {
        options.tail_dir("/elsewhere")
    } else {
        options
    };
    (compressed(rng, options), mapped)
}

fn compressed(rng: &mut Rng, options: Options) -> Options {
    match rng.below(4) {
        0 if cfg!(feature = "lz4") => options.compression(Compression::Lz4),
        _ => options,
    }
}

pub(super) fn pick(rng: &mut Rng, of: u64) -> usize {
    usize::try_from(rng.below(of)).expect("few choices")
}
