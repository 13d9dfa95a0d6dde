//! Memory for each entry, while many entries are there.

use super::setup::Task;
use super::{Part, note};
use crate::data::Values;
use crate::failure::Result;
use crate::measure::memory::Memory;
use crate::record::Metrics;

/// The smaller the value, the more of what there is is for the entry.
const VALUE_BYTES: usize = 32;
/// foyer's files are a multiple of 4 KiB an entry.
const BYTES_AN_ENTRY: u64 = 4608;
const MOST_BYTES: u64 = 8 << 30;
/// So little that what is counted is for the entries, whoever has it.
const MEMORY_BYTES: u64 = 0;

pub(super) fn run(task: &Task<'_>, entries: u64) -> Result<Vec<Part>> {
    let values = Values::new(VALUE_BYTES);
    let capacity = (entries * BYTES_AN_ENTRY).clamp(1 << 30, MOST_BYTES);
    let nothing = Memory::now()?;
    let store = task.open(capacity, MEMORY_BYTES)?;
    let opened = Memory::now()?;
    let put = task.put_all(&*store, &values, 0, entries)?;
    store.flush()?;
    let full = Memory::now()?;
    let each = |after: u64, before: u64| (after as f64 - before as f64) / put as f64;
    let mut metrics = Metrics::new();
    note(&mut metrics, "entries", put as f64);
    note(
        &mut metrics,
        "rss_bytes_per_entry",
        each(full.anonymous, opened.anonymous),
    );
    note(
        &mut metrics,
        "allocated_bytes_per_entry",
        each(full.allocated, opened.allocated),
    );
    note(
        &mut metrics,
        "rss_bytes_per_entry_with_buffers",
        each(full.anonymous, nothing.anonymous),
    );
    for (name, figure) in store.figures() {
        match name {
            "index_bytes" => note(&mut metrics, "index_bytes_per_entry", figure / put as f64),
            "entries" => note(&mut metrics, "kept", figure / put as f64),
            _ => (),
        }
    }
    store.close()?;
    Ok(Part::whole(metrics))
}
