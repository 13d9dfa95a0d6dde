//! What was measured: a table for people, a document for programs.

use std::fmt;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::size::ByteSize;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) keys: u64,
    pub(super) value_bytes: u64,
    pub(super) threads: u16,
    pub(super) capacity_bytes: u64,
    pub(super) phases: Vec<Phase>,
}

#[derive(Debug, Serialize)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    pub(super) operations: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// Reads that gave another value than the newest.
    pub(super) wrong: u64,
    pub(super) seconds: f64,
    pub(super) operations_per_second: f64,
    /// Of values written and read.
    pub(super) mib_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
}

impl Report {
    pub(super) fn wrong(&self) -> u64 {
        self.phases.iter().map(|phase| phase.wrong).sum()
    }
}

const COLUMNS: [&str; 9] = [
    "phase", "ops/s", "MiB/s", "hits", "misses", "p50 us", "p99 us", "p99.9 us", "max us",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header(COLUMNS);
        for phase in &self.phases {
            table.add_row(cells(phase));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(
            f,
            "{} keys, values of {}, {} threads, a cache of {}",
            self.keys,
            ByteSize(self.value_bytes),
            self.threads,
            ByteSize(self.capacity_bytes)
        )?;
        write!(f, "{table}")
    }
}

fn cells(phase: &Phase) -> [String; 9] {
    let us = |us: f64| format!("{us:.1}");
    [
        phase.name.to_owned(),
        format!("{:.0}", phase.operations_per_second),
        format!("{:.1}", phase.mib_per_second),
        phase.hits.to_string(),
        phase.misses.to_string(),
        us(phase.p50_us),
        us(phase.p99_us),
        us(phase.p999_us),
        us(phase.max_us),
    ]
}
