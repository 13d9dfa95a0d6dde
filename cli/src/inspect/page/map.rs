//! The segments, each a cell whose colours say what its bytes are used for.

use std::collections::BTreeMap;

use perennial::{FileState, Inspection, Ledger, SegmentLedger, SegmentSummary};

use super::svg::{document, escape, figure, rect, text, told};
use crate::size::ByteSize;

const ACROSS: usize = 40;
const CELL: (f64, f64) = (22.0, 30.0);
const GAP: f64 = 4.0;
const TOP: f64 = 28.0;

/// What a legend says of each class.
pub(super) const CLASSES: [(&str, &str); 6] = [
    ("read", "live, and read since it was stored"),
    ("live", "live"),
    ("dead", "dead: replaced, removed, moved or evicted"),
    (
        "own",
        "the cache's own: headers, tables, removes, checkpoints",
    ),
    ("pad", "between frames, or behind the last one"),
    ("free", "free"),
];

pub(super) fn legend() -> String {
    let one = |(class, words): &(&str, &str)| {
        format!("<span><i class=\"{class}\"></i>{}</span>\n", escape(words))
    };
    let all: String = CLASSES.iter().map(one).collect();
    format!("<p class=\"legend\">\n{all}</p>\n")
}

/// A segment file, and what its bytes are used for where it counts.
pub(super) struct Cell<'a> {
    pub(super) summary: &'a SegmentSummary,
    pub(super) ledger: Option<&'a SegmentLedger>,
}

/// In the order in which they are inspected: the log, oldest first, kept ones, free ones.
pub(super) fn cells<'a>(inspection: &'a Inspection, ledger: &'a Ledger) -> Vec<Cell<'a>> {
    let accounts = ledger.segments.iter();
    let accounts: BTreeMap<u64, &SegmentLedger> = accounts.map(|one| (one.number, one)).collect();
    let cell = |summary: &'a SegmentSummary| Cell {
        summary,
        ledger: accounts.get(&summary.number).copied(),
    };
    inspection.segments.iter().map(cell).collect()
}

impl Cell<'_> {
    /// Bytes of each class, as in [`CLASSES`]; they are the whole file.
    pub(super) fn parts(&self, segment_bytes: u64) -> [u64; 6] {
        self.ledger.map_or([0, 0, 0, 0, 0, segment_bytes], |one| {
            [
                one.read_bytes,
                one.live_bytes - one.read_bytes,
                one.dead_bytes,
                one.metadata_bytes,
                one.padding_bytes,
                one.free_bytes,
            ]
        })
    }

    fn told(&self) -> String {
        let (summary, state) = (self.summary, self.summary.state);
        let name = match summary.number {
            0 => format!("slot {}, {state}", summary.slot),
            number => format!("segment {number}, slot {}, {state}", summary.slot),
        };
        let Some(one) = self.ledger else {
            return name;
        };
        format!(
            "{name}: {} entries, {} live, {} of it read; {} dead",
            one.entries,
            ByteSize(one.live_bytes),
            ByteSize(one.read_bytes),
            ByteSize(one.dead_bytes)
        )
    }

    fn drawn(&self, at: (f64, f64), segment_bytes: u64) -> String {
        let mut y = at.1 + CELL.1;
        let mut drawn = String::new();
        for ((class, _), bytes) in CLASSES.iter().zip(self.parts(segment_bytes)) {
            let height = figure(bytes) / figure(segment_bytes.max(1)) * CELL.1;
            y -= height;
            // Thinner than can be seen: a cell of a large segment has a header of nothing.
            if height > 0.05 {
                drawn += &rect((at.0, y), (CELL.0, height), class);
            }
        }
        drawn += &rect(at, CELL, "edge");
        told(&self.told(), &drawn)
    }
}

/// A map for each use of files: those of the log, those kept, and what counts for nothing.
pub(super) fn maps(cells: &[Cell<'_>], segment_bytes: u64) -> String {
    let is_log = |state| matches!(state, FileState::Sealed | FileState::Open);
    let of = |wanted: &dyn Fn(FileState) -> bool| -> Vec<&Cell<'_>> {
        cells
            .iter()
            .filter(|cell| wanted(cell.summary.state))
            .collect()
    };
    let log = of(&is_log);
    let kept = of(&|state| state == FileState::Kept);
    let others = of(&|state| !is_log(state) && state != FileState::Kept);
    map("The log, oldest first", &log, segment_bytes)
        + &map("Kept: copies of what was worth it", &kept, segment_bytes)
        + &map("Prepared, free and foreign files", &others, segment_bytes)
}

fn map(title: &str, cells: &[&Cell<'_>], segment_bytes: u64) -> String {
    if cells.is_empty() {
        return String::new();
    }
    let step = (CELL.0 + GAP, CELL.1 + GAP);
    let mut body = String::new();
    for (n, cell) in cells.iter().enumerate() {
        let (row, column) = (n / ACROSS, n % ACROSS);
        let at = (
            super::svg::count(column) * step.0,
            TOP + super::svg::count(row) * step.1,
        );
        body += &cell.drawn(at, segment_bytes);
    }
    let rows = super::svg::count(cells.len().div_ceil(ACROSS));
    let columns = super::svg::count(cells.len().clamp(12, ACROSS));
    let size = (columns * step.0, TOP + rows * step.1 + 18.0);
    body += &text(
        0.0,
        size.1 - 4.0,
        "small",
        &format!("{} files", cells.len()),
    );
    document(size.0, size.1, title, &body)
}
