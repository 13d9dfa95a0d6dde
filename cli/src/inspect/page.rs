//! `perennial inspect --html`: a page with everything in it. Nothing is fetched from anywhere, and no key or value is shown.

mod file;
mod map;
mod over_time;
mod samples;
mod svg;
mod timeline;

use std::path::Path;

use perennial::{Cache, Inspection, Ledger, SizeCount};

use crate::failure::Failure;
use crate::size::ByteSize;
use map::Cell;
use samples::Samples;
use svg::{Bar, bars, escape, figure};

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;max-width:1140px;margin:2em auto;padding:0 1em;color:#1c2733;background:#fff}\
h1{font-size:1.6em}h2{margin-top:2em;font-size:1.25em;border-bottom:1px solid #d8dee4}\
.charts{display:flex;flex-wrap:wrap;align-items:flex-start;gap:24px 20px}svg{max-width:100%;height:auto}\
svg text{font:12px system-ui,sans-serif;fill:#1c2733}svg .title{font-weight:600;font-size:13px}\
svg .small{font-size:11px}svg .end{text-anchor:end}svg .middle{text-anchor:middle}\
.grid{stroke:#e4e8ec}.axis{stroke:#5b6b7a}.tick{stroke:#fff;stroke-width:.6}\
.edge{fill:none;stroke:#8896a4;stroke-width:.8}.curve{fill:none;stroke:#2f6fb3;stroke-width:1.6}.point{fill:#2f6fb3}\
.life{stroke:#b3261e;stroke-width:2}.checkpoint{stroke:#1c2733;stroke-width:2}\
.read{fill:#e8590c;background:#e8590c}.live{fill:#4c9f70;background:#4c9f70}.dead{fill:#adb5bd;background:#adb5bd}\
.own{fill:#5c7cbf;background:#5c7cbf}.pad{fill:#dfe4ea;background:#dfe4ea}.free{fill:#fff;background:#fff}\
.legend span{margin-right:1.4em;white-space:nowrap}.legend i{display:inline-block;width:.9em;height:.9em;\
margin-right:.4em;border:1px solid #8896a4;vertical-align:-.1em}\
table{border-collapse:collapse;font-size:13px;margin:.6em 0}th,td{padding:3px 9px;border-bottom:1px solid #e4e8ec;\
text-align:right;white-space:nowrap}.wide{overflow-x:auto}details{margin:.6em 0}summary{cursor:pointer}code{font-size:13px}";

/// Bars of ages there are at most.
const AGES: usize = 32;

/// Looks, writes the page, and says in a line what is in it.
pub(super) fn write(dir: &Path, page: &Path, stats: Option<&Path>) -> Result<String, Failure> {
    let samples = stats.map(Samples::read).transpose()?;
    let ledger = Cache::open_read_only(dir)?.ledger()?;
    // Behind it: what was made meanwhile is in no account, and no account is of what is not there.
    let inspection = perennial::inspect(dir)?;
    let text = document(dir, &inspection, &ledger, samples.as_ref());
    file::write(page, &text)?;
    let all = ledger.of_all_segments();
    Ok(format!(
        "{}: {} segment files, {} entries, {}",
        page.display(),
        inspection.segments.len(),
        all.entries,
        ByteSize(all.live_bytes)
    ))
}

fn document(
    dir: &Path,
    inspection: &Inspection,
    ledger: &Ledger,
    samples: Option<&Samples>,
) -> String {
    let cells = map::cells(inspection, ledger);
    let mut body = head(dir, inspection, ledger);
    body += "<h2>Segments</h2>\n";
    body += &map::legend();
    body += &map::maps(&cells, inspection.segment_bytes);
    body += &listed(&cells);
    body += "<h2>Ages and sizes</h2>\n<div class=\"charts\">\n";
    body += &ages(&cells, inspection);
    body += &sizes(&ledger.sizes);
    body += "</div>\n<p>Nothing on disk has a time but ends of entries: an age is how much was logged since. Copies in kept \
             segments are older than the segment they were moved from, which is gone.</p>\n";
    body += "<h2>Recovery</h2>\n";
    body += &timeline::chart(inspection).unwrap_or_default();
    body += "<p>Red: an open after a kill, or in another boot. Black: the newest checkpoint. Orange: what an open would replay.</p>\n";
    body += "<h2>Over time</h2>\n";
    body += &samples.map_or_else(|| over_time::NOTHING.to_owned(), over_time::sections);
    let begin = file::BEGIN;
    let name = escape(&dir.display().to_string());
    format!(
        "{begin}<meta charset=\"utf-8\"><title>{name}</title><style>{STYLE}</style></head>\n\
         <body><h1>{name}</h1>\n{body}</body></html>\n"
    )
}

fn head(dir: &Path, inspection: &Inspection, ledger: &Ledger) -> String {
    let all = ledger.of_all_segments();
    let checkpoint = match &inspection.checkpoint {
        None => "none".to_owned(),
        Some(one) => format!("number {}, {} entries", one.generation, one.entries),
    };
    let rows = [
        ("cache", inspection.cache_id.clone()),
        ("files take", ByteSize(ledger.total_bytes()).to_string()),
        ("entries", all.entries.to_string()),
        ("live", ByteSize(all.live_bytes).to_string()),
        ("of it read", ByteSize(all.read_bytes).to_string()),
        ("dead", ByteSize(all.dead_bytes).to_string()),
        (
            "segments of",
            ByteSize(inspection.segment_bytes).to_string(),
        ),
        ("tail", ByteSize(inspection.tail.ring_bytes).to_string()),
        ("checkpoint", checkpoint),
        ("log ends at", format!("{:#x}", inspection.end)),
    ];
    let row = |(name, value): &(&str, String)| {
        format!(
            "<tr><th>{}</th><td>{}</td></tr>\n",
            escape(name),
            escape(value)
        )
    };
    let rows: String = rows.iter().map(row).collect();
    let shown = escape(&dir.display().to_string());
    format!(
        "<p>What <code>perennial inspect --html</code> found in {shown}.</p>\n<table>{rows}</table>\n"
    )
}

/// Live bytes of the log by how much was logged behind their segment, and last those of kept segments.
fn ages(cells: &[Cell<'_>], inspection: &Inspection) -> String {
    let counted = cells.iter().filter_map(|cell| cell.ledger);
    let (kept, log): (Vec<_>, Vec<_>) = counted.partition(|one| one.kept);
    let newest = inspection.end / inspection.segment_bytes.max(1);
    let age = |number: u64| newest.saturating_sub(number);
    let span = log.iter().map(|one| age(one.number) + 1).max().unwrap_or(1);
    let each = span.div_ceil(AGES as u64).max(1);
    let of = |these: Vec<&perennial::SegmentLedger>, label: String| {
        let sum = |bytes: fn(&perennial::SegmentLedger) -> u64| -> u64 {
            these.iter().map(|one| bytes(one)).sum()
        };
        let (live, read) = (sum(|one| one.live_bytes), sum(|one| one.read_bytes));
        Bar {
            told: format!(
                "{label}: {} live, {} of it read",
                ByteSize(live),
                ByteSize(read)
            ),
            label,
            parts: vec![(figure(read), "read"), (figure(live - read), "live")],
        }
    };
    let mut all: Vec<Bar> = (0..span.div_ceil(each))
        .map(|bar| {
            let in_it = log.iter().filter(|one| age(one.number) / each == bar);
            let label = ByteSize(bar * each * inspection.segment_bytes).to_string();
            of(in_it.copied().collect(), label)
        })
        .collect();
    if !kept.is_empty() {
        all.push(of(kept, "kept".to_owned()));
    }
    bars("Live bytes by age", "logged since", &all, &over_time::bytes)
}

/// Entries of each power of two, from the smallest that there is to the largest.
fn sizes(sizes: &[SizeCount]) -> String {
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else {
        return String::new();
    };
    let powers = first.from_bytes.ilog2()..=last.from_bytes.ilog2();
    let bar = |power: u32| {
        let found = sizes.iter().find(|one| one.from_bytes == 1 << power);
        let (entries, bytes) = found.map_or((0, 0), |one| (one.entries, one.bytes));
        let label = ByteSize(1 << power).to_string();
        Bar {
            told: format!("from {label} on: {entries} entries, {}", ByteSize(bytes)),
            label,
            parts: vec![(figure(entries), "live")],
        }
    };
    let all: Vec<Bar> = powers.map(bar).collect();
    let show = |entries: f64| match entries {
        few if few < 10.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    };
    bars(
        "Live entries by size",
        "header, key and value, from",
        &all,
        &show,
    )
}

fn listed(cells: &[Cell<'_>]) -> String {
    let heads = [
        "segment", "slot", "state", "entries", "live", "read", "dead", "own", "joins", "frames",
    ];
    let row = |cell: &Cell<'_>| {
        let (summary, one) = (cell.summary, cell.ledger.cloned().unwrap_or_default());
        let bytes = [
            one.live_bytes,
            one.read_bytes,
            one.dead_bytes,
            one.metadata_bytes,
        ];
        let mut row = vec![
            summary.number.to_string(),
            summary.slot.to_string(),
            summary.state.to_string(),
            one.entries.to_string(),
        ];
        row.extend(bytes.iter().map(u64::to_string));
        row.extend([summary.joins.to_string(), summary.frames.to_string()]);
        row
    };
    let rows: Vec<_> = cells.iter().map(row).collect();
    let table = table(&heads, &rows);
    format!("<details><summary>All files, sizes in bytes</summary>{table}</details>\n")
}

/// Cells are escaped here.
fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let heads: String = heads
        .iter()
        .map(|head| format!("<th>{}</th>", escape(head)))
        .collect();
    let row = |cells: &Vec<String>| {
        let cells = cells
            .iter()
            .map(|cell| format!("<td>{}</td>", escape(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<div class=\"wide\"><table><tr>{heads}</tr>\n{rows}</table></div>\n")
}
