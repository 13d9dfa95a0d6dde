//! What the demo found out: a table for people, a line for programs.

use std::fmt;
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use super::child::Ending;
use super::judge::Tally;
use super::life::Deeds;

/// A child's life and what was left of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) ending: Ending,
    pub(super) deeds: Deeds,
    pub(super) open: Duration,
    pub(super) evicted: u64,
    pub(super) tally: Tally,
}

#[derive(Debug, Default)]
pub(super) struct Report(pub(super) Vec<Row>);

/// The one line of `--json`. `lives` counts the kills; `acked` and `found` are sums over all reopens.
#[derive(Debug, Serialize, PartialEq)]
pub(super) struct Summary {
    lives: usize,
    acked: u64,
    found: u64,
    evicted: u64,
    lost: u64,
    stale: u64,
    wrong: u64,
    resurrected: u64,
    open_ms_max: f64,
    put_mb_s: f64,
}

impl Report {
    fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.0.iter().for_each(|row| total.add(row.tally));
        total
    }

    fn evicted(&self) -> u64 {
        self.0.iter().map(|row| row.evicted).sum()
    }

    fn kills(&self) -> usize {
        self.0
            .iter()
            .filter(|row| row.ending == Ending::Killed)
            .count()
    }

    fn rejected(&self) -> u64 {
        self.0.iter().map(|row| row.deeds.rejected).sum()
    }

    /// The capacity holds everything, so an eviction is a fault, too. So is a cache that keeps nothing at all.
    pub(super) fn is_clean(&self) -> bool {
        let total = self.total();
        total.is_clean() && total.found > 0 && self.evicted() == 0
    }

    pub(super) fn summary(&self) -> Summary {
        let total = self.total();
        let open = self.0.iter().map(|row| row.open).max().unwrap_or_default();
        let bytes = self.0.iter().map(|row| row.deeds.acked_bytes).sum();
        let time = self.0.iter().map(|row| row.deeds.time).sum();
        Summary {
            lives: self.kills(),
            acked: total.acked,
            found: total.found,
            evicted: self.evicted(),
            lost: total.lost,
            stale: total.stale,
            wrong: total.wrong,
            resurrected: total.resurrected,
            open_ms_max: rounded(millis(open), 100.0),
            put_mb_s: rounded(mb_per_s(bytes, time), 10.0),
        }
    }
}

const COLUMNS: [&str; 11] = [
    "life",
    "ended by",
    "operations",
    "acknowledged",
    "found",
    "lost",
    "stale",
    "wrong",
    "came back",
    "open ms",
    "put MB/s",
];

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header(COLUMNS);
        for (life, row) in (1..).zip(&self.0) {
            table.add_row(cells(life, row));
        }
        for column in table
            .column_iter_mut()
            .enumerate()
            .filter(|(n, _)| *n != 1)
            .map(|(_, column)| column)
        {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        self.verdict(f)
    }
}

impl Report {
    fn verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, kills) = (self.total(), self.kills());
        if self.rejected() > 0 {
            writeln!(
                f,
                "The cache chose not to keep {} entries.",
                self.rejected()
            )?;
        }
        if self.is_clean() {
            return write!(
                f,
                "Still warm: after {kills} kills and a clean close, all {} acknowledged entries were found, byte for byte.",
                total.found
            );
        }
        write!(
            f,
            "NOT WARM: {} of {} acknowledged entries were found; {} lost, {} stale, {} wrong, {} came back after \
             their removal, {} evicted.",
            total.found,
            total.acked,
            total.lost,
            total.stale,
            total.wrong,
            total.resurrected,
            self.evicted()
        )
    }
}

fn cells(life: usize, row: &Row) -> [String; 11] {
    let Row {
        ending,
        deeds,
        open,
        tally,
        ..
    } = row;
    [
        life.to_string(),
        match ending {
            Ending::Killed => "SIGKILL".to_owned(),
            Ending::Close => "close".to_owned(),
        },
        deeds.ops.to_string(),
        tally.acked.to_string(),
        tally.found.to_string(),
        tally.lost.to_string(),
        tally.stale.to_string(),
        tally.wrong.to_string(),
        tally.resurrected.to_string(),
        format!("{:.1}", millis(*open)),
        format!("{:.0}", mb_per_s(deeds.acked_bytes, deeds.time)),
    ]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate that is shown with three digits"
)]
fn mb_per_s(bytes: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        bytes as f64 / 1e6 / time.as_secs_f64()
    }
}

fn rounded(number: f64, steps: f64) -> f64 {
    (number * steps).round() / steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ending: Ending, tally: Tally) -> Row {
        let deeds = Deeds {
            ops: 12,
            rejected: 0,
            acked_bytes: 3_000_000,
            evicted: 0,
            time: Duration::from_millis(30),
        };
        Row {
            ending,
            deeds,
            open: Duration::from_micros(1_234),
            evicted: 0,
            tally,
        }
    }

    fn clean() -> Report {
        let tally = Tally {
            acked: 10,
            found: 10,
            ..Tally::default()
        };
        Report(vec![row(Ending::Killed, tally), row(Ending::Close, tally)])
    }

    #[test]
    fn the_line_for_programs() {
        assert_eq!(
            serde_json::to_string(&clean().summary()).unwrap(),
            "{\"lives\":1,\"acked\":20,\"found\":20,\"evicted\":0,\"lost\":0,\"stale\":0,\"wrong\":0,\
             \"resurrected\":0,\"open_ms_max\":1.23,\"put_mb_s\":100.0}"
        );
    }

    #[test]
    fn the_table_for_people() {
        let text = clean().to_string();
        assert!(
            text.contains("SIGKILL") && text.contains("1.2 ") && text.contains("100 "),
            "{text}"
        );
        assert!(
            text.ends_with("all 20 acknowledged entries were found, byte for byte."),
            "{text}"
        );
    }

    #[test]
    fn one_fault_of_any_kind_is_not_clean() {
        assert!(clean().is_clean());
        let spoil: [fn(&mut Row); 5] = [
            |row| row.tally.lost = 1,
            |row| row.tally.stale = 1,
            |row| row.tally.wrong = 1,
            |row| row.tally.resurrected = 1,
            |row| row.evicted = 1,
        ];
        for (case, spoil) in spoil.iter().enumerate() {
            let mut report = clean();
            spoil(&mut report.0[0]);
            assert!(!report.is_clean(), "case {case}");
            assert!(report.to_string().contains("NOT WARM"), "case {case}");
        }
    }

    #[test]
    fn a_cache_that_keeps_nothing_is_not_clean() {
        let report = Report(vec![row(Ending::Killed, Tally::default())]);
        assert!(!report.is_clean());
    }
}
