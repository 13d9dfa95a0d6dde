//! With what options a life begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use perennial::{Cache, Eviction, Health, HealthState, OnIoError, Options, Result};

use crate::child::Place;
use crate::faults::Injector;
use crate::random::Random;

const SEGMENT_BYTES: u64 = 64 << 10;

/// All values fit in the largest.
pub(crate) const CAPACITIES: &[u64] = &[4 << 20, 6 << 20, 8 << 20, 12 << 20];

/// Drawn for each life.
pub(crate) fn options(random: &mut Random) -> Options {
    let policies = [Eviction::S3Merge, Eviction::Clock, Eviction::Fifo];
    let after_errors = [
        OnIoError::ReadOnly,
        OnIoError::MemoryOnly,
        OnIoError::FailStop,
    ];
    let options = Options::new()
        .capacity_bytes(random.pick(CAPACITIES))
        .segment_bytes(SEGMENT_BYTES)
        .tail_bytes(random.pick(&[128 << 10, 256 << 10]))
        .memory_tier_bytes(256 << 10)
        .checkpoint_every_bytes(random.pick(&[256 << 10, 1 << 20]))
        .load_at_open_entries(random.pick(&[0, 1 << 16]))
        .eviction(random.pick(&policies))
        .on_io_error(random.pick(&after_errors));
    if random.one_in(3) {
        return options.flush_every(Duration::from_millis(5));
    }
    options
}

/// Opens the cache; `in_memory` is set once a life goes on in memory alone.
pub(crate) fn open(
    injector: &Injector,
    place: &Place,
    random: &mut Random,
    in_memory: &Arc<AtomicBool>,
) -> Result<Cache> {
    let in_memory = Arc::clone(in_memory);
    let options = options(random).on_health(move |health: &Health| {
        in_memory.fetch_or(health.state == HealthState::MemoryOnly, Ordering::SeqCst);
    });
    Cache::open_with(Arc::new(injector.fs.clone()), place.cache(), options)
}
