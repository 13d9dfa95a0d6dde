//! Opening a cache the way it was made.

use std::io;
use std::path::{Path, PathBuf};

use perennial::{Cache, Options, ReadOnlyCache, Stats, Tail};
use perennial_recovery::TailKind;

use crate::call::Call;
use crate::config::{Config, Flags, NewFlags, Said, Source};
use crate::exit::comes_from;
use crate::failure::Failure;
use crate::place::Place;
use crate::size::ByteSize;

/// The library's least number of segments.
const MIN_SEGMENTS: u64 = 6;
/// What the library keeps free for the identity file and its replacement.
const IDENTITY_BYTES: u64 = 4096;

/// The library's largest capacity for each byte of the tail.
const CAPACITY_PER_RING: u64 = 64 << 10;

/// The cache that a command opens, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The cache's directory.
    #[arg(value_name = "DIR")]
    pub(crate) cache: PathBuf,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

impl Target {
    /// Opens the cache; where there is none, none is made.
    pub(crate) fn open(&self, call: &Call<'_>) -> Result<Cache, Failure> {
        self.open_as(call, |_, options| options)
    }

    /// For a command that only reads: beside the process that has it open, and where nothing may be written. Settings are checked
    /// all the same.
    pub(crate) fn open_read_only(&self, call: &Call<'_>) -> Result<ReadOnlyCache, Failure> {
        let place = Place::look(&self.cache)?;
        let config = call.config(&self.flags, &NewFlags::default(), Some(&self.cache))?;
        if let Some(said) = config.capacity_said() {
            must_suit_the_tail(&place, said.value, || said.source.name_of("capacity"))?;
        }
        let cache = Cache::open_read_only(&self.cache)?;
        let stats = cache.stats();
        tracing::info!(
            entries = stats.entries,
            end = stats.end,
            open_us = stats.open_us,
            "opened to read only"
        );
        tell_of_damage(stats.damaged, stats.forgotten_all);
        Ok(cache)
    }

    /// For a command that stores values. No other needs the codec, which this command may have been built without.
    pub(crate) fn open_to_store(&self, call: &Call<'_>) -> Result<Cache, Failure> {
        self.open_as(call, storing)
    }

    fn open_as(
        &self,
        call: &Call<'_>,
        and: impl FnOnce(&Config, Options) -> Options,
    ) -> Result<Cache, Failure> {
        let place = Place::look(&self.cache)?;
        let config = call.config(&self.flags, &NewFlags::default(), Some(&self.cache))?;
        if let Some(said) = config.capacity_said() {
            must_suit_the_tail(&place, said.value, || said.source.name_of("capacity"))?;
        }
        let options = and(&config, options(&self.cache, &place, &config));
        let opened = Cache::open(&self.cache, options);
        let cache = opened.map_err(|error| self.refused(&config, error))?;
        tell(&cache.stats());
        Ok(cache)
    }
}

impl Target {
    fn refused(&self, config: &Config, error: perennial::Error) -> Failure {
        if comes_from(&error, io::ErrorKind::ReadOnlyFilesystem) {
            return Failure::ReadOnly(self.cache.clone());
        }
        config.refused(error, true)
    }
}

/// How it came back. What was damaged is a warning, though no error: the cache has forgotten it.
fn tell(stats: &Stats) {
    tracing::info!(
        entries = stats.entries,
        replayed = stats.replayed,
        open_us = stats.open_us,
        "opened"
    );
    tell_of_damage(stats.damaged, stats.forgotten_all);
}

fn tell_of_damage(damaged: u64, forgotten_all: u64) {
    if damaged + forgotten_all > 0 {
        tracing::warn!(
            damaged,
            all = forgotten_all > 0,
            "damage was found, and what it held is forgotten"
        );
    }
}

fn options(cache: &Path, place: &Place, config: &Config) -> Options {
    let capacity = capacity(config, place);
    if let Some(said) = config.capacity_said()
        && said.value != capacity.value
    {
        tracing::warn!(
            cache = %cache.display(), said = %said.value.exact(), by = %said.source,
            "the files take more than the capacity, which is raised; `perennial resize` makes a cache smaller"
        );
    }
    with_tail_of(place, used_as(config).capacity_bytes(capacity.value.0))
}

/// The head of a checkpoint goes through the tail, and grows with the capacity.
pub(crate) fn must_suit_the_tail(
    place: &Place,
    capacity: ByteSize,
    name: impl FnOnce() -> String,
) -> Result<(), Failure> {
    let ring_bytes = place.identity.tail.ring_bytes;
    if capacity.0 / CAPACITY_PER_RING <= ring_bytes {
        return Ok(());
    }
    Err(Failure::TooLargeForTail {
        name: name(),
        capacity: capacity.said(),
        tail: ByteSize(ring_bytes).said(),
        most: ByteSize(ring_bytes.saturating_mul(CAPACITY_PER_RING)).said(),
    })
}

/// What does not depend on how the cache was made. A process that ends at once has no use for a memory tier.
pub(crate) fn used_as(config: &Config) -> Options {
    Options::new()
        .memory_tier_bytes(0)
        .eviction(config.eviction().value.into())
        .pinned_percent(config.pinned_percent().value)
}

/// What only matters to who stores values.
pub(crate) fn storing(config: &Config, options: Options) -> Options {
    options.compression(config.compression().value.0)
}

/// The tail stays where it is and as large as it is.
fn with_tail_of(place: &Place, options: Options) -> Options {
    let tail = &place.identity.tail;
    let options = options.tail_bytes(tail.ring_bytes);
    match (tail.kind, &tail.dir) {
        (TailKind::Heap, _) => options.tail(Tail::Heap),
        (TailKind::Mapped, Some(dir)) => options.tail_dir(dir),
        (TailKind::Mapped, None) => options,
    }
}

/// What the cache may take: what was said, but never so little that the open would drop entries.
pub(crate) fn capacity(config: &Config, place: &Place) -> Said<ByteSize> {
    let (there, least) = (taken_bytes(place), least_bytes(place));
    let segment_bytes = u64::from(place.identity.segment_bytes);
    match config.capacity_said() {
        // The library itself may have one segment more than fits; to take that for what was chosen would let the cache grow
        // with every open.
        Some(said) if there <= said.value.0.saturating_add(segment_bytes) => said,
        Some(_) => of_the_cache(there.max(least)),
        None => of_the_cache(there.max(least).max(made_for_bytes(place))),
    }
}

fn of_the_cache(bytes: u64) -> Said<ByteSize> {
    Said {
        value: ByteSize(bytes),
        source: Source::Cache,
    }
}

/// What segments, tail and identity take now.
fn taken_bytes(place: &Place) -> u64 {
    let segment_bytes = u64::from(place.identity.segment_bytes);
    place.segment_files * segment_bytes + place.tail_bytes + IDENTITY_BYTES
}

/// The least that a cache with these segments and this tail can be opened with.
fn least_bytes(place: &Place) -> u64 {
    let segments = MIN_SEGMENTS * u64::from(place.identity.segment_bytes);
    let ring_bytes = place.identity.tail.ring_bytes;
    (segments + place.tail_bytes + IDENTITY_BYTES).max(2 * ring_bytes)
}

/// Nothing says what the capacity was that a cache was made with. The bits by which it tells keys apart say the power of
/// two below it, up to 8 GiB: 40 more than it takes to number entries of 512 bytes.
fn made_for_bytes(place: &Place) -> u64 {
    let numbering = place.identity.identity_bits.saturating_sub(40).min(24);
    512 << numbering
}
