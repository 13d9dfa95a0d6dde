//! Charts of what a program counted; without its lines there are none.

use super::samples::{Opened, Samples};
use super::svg::{Bar, bars, count, curve, figure};
use super::table;

pub(super) const NOTHING: &str = "<p>Nothing about reads, or about opens that are over, is on disk, so there is nothing to show. \
     With <code>--stats FILE</code> the page shows what the program that uses the cache has counted.</p>\n";

pub(super) fn sections(samples: &Samples) -> String {
    let mut charts = String::new();
    if samples.hits.iter().any(|run| !run.is_empty()) {
        charts += &hit_ratio(samples);
    }
    if !samples.opens.is_empty() {
        charts += &opens(&samples.opens);
    }
    if !samples.growth.is_empty() {
        charts += &growth(samples);
    }
    let listed = if samples.opens.is_empty() {
        String::new()
    } else {
        listed(&samples.opens)
    };
    format!("<div class=\"charts\">\n{charts}</div>\n{listed}")
}

fn hit_ratio(samples: &Samples) -> String {
    let place = |(line, part): &(usize, f64)| (count(*line), *part);
    let runs = samples.hits.iter();
    let runs: Vec<Vec<_>> = runs.map(|run| run.iter().map(place).collect()).collect();
    let percent = |part: f64| format!("{:.0} %", part * 100.0);
    let title = "Hits of all lookups, from one line to the next";
    curve(
        title,
        "line of the statistics; a gap is an open",
        &runs,
        1.0,
        &percent,
    )
}

fn growth(samples: &Samples) -> String {
    let place = |(line, bytes): &(usize, u64)| (count(*line), figure(*bytes));
    let run: Vec<_> = samples.growth.iter().map(place).collect();
    let most = run.iter().map(|point| point.1).fold(1.0, f64::max);
    let show = |bytes: f64| format!("{:.1} MiB/s", bytes / f64::from(1 << 20));
    curve(
        "How fast the log grew",
        "line of the statistics",
        &[run],
        most,
        &show,
    )
}

fn opens(opens: &[Opened]) -> String {
    let bar = |(n, opened): (usize, &Opened)| Bar {
        label: (n + 1).to_string(),
        parts: vec![(figure(opened.open_us), "live")],
        told: format!(
            "{} µs, {} operations replayed",
            opened.open_us, opened.replayed
        ),
    };
    let all: Vec<Bar> = opens.iter().enumerate().map(bar).collect();
    let show = |us: f64| format!("{:.1} ms", us / 1000.0);
    bars("How long opens took", "open", &all, &show)
}

fn listed(opens: &[Opened]) -> String {
    let heads = [
        "open",
        "line",
        "µs",
        "entries of the checkpoint",
        "replayed",
        "holes",
        "damaged",
        "forgot all",
    ];
    let row = |(n, opened): (usize, &Opened)| {
        let numbers = [
            opened.open_us,
            opened.from_checkpoint,
            opened.replayed,
            opened.holes,
            opened.damaged,
            opened.forgotten_all,
        ];
        let mut row = vec![(n + 1).to_string(), opened.line.to_string()];
        row.extend(numbers.iter().map(u64::to_string));
        row
    };
    let rows: Vec<_> = opens.iter().enumerate().map(row).collect();
    table(&heads, &rows)
}

/// A size for an axis.
pub(super) fn bytes(figure: f64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let unit = units
        .into_iter()
        .find(|(_, shift)| figure >= f64::from(1_u32 << shift));
    unit.map_or_else(
        || format!("{figure:.0} B"),
        |(unit, shift)| format!("{:.1} {unit}", figure / f64::from(1_u32 << shift)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_their_unit() {
        for (figure, text) in [
            (0.0, "0 B"),
            (1536.0, "1.5 KiB"),
            (3.0 * 1_073_741_824.0, "3.0 GiB"),
        ] {
            assert_eq!(bytes(figure), text);
        }
    }
}
