//! A page with everything in it: nothing is fetched from anywhere.

mod charts;

use super::judge::{HEADS, judge};
use super::svg::escape;
use super::unit::{names, show};
use crate::backend::Kind;
use crate::record::Run;

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;max-width:1180px;margin:2em auto;padding:0 1em;color:#1c2733;background:#fff}\
h1{font-size:1.6em}h2{margin-top:2em;font-size:1.25em;border-bottom:1px solid #d8dee4}\
.charts{display:flex;flex-wrap:wrap;align-items:flex-start;gap:28px 36px}svg{max-width:100%;height:auto}\
svg text{font:12px system-ui,sans-serif;fill:#1c2733}svg .title{font-weight:600;font-size:13px}\
svg .small{font-size:11px}svg .end{text-anchor:end}svg .middle{text-anchor:middle}\
.grid{stroke:#e4e8ec}.axis{stroke:#5b6b7a}.limit{stroke:#b3261e;stroke-width:1.5;stroke-dasharray:4 3}\
.spread{stroke:#1c2733;stroke-width:1.2}\
table{border-collapse:collapse;font-size:13px;margin:.6em 0}th,td{padding:3px 9px;border-bottom:1px solid #e4e8ec;\
text-align:left;white-space:nowrap}td.words{white-space:normal}.met{color:#1a7f37}.missed{color:#b3261e;font-weight:600}\
.wide{overflow-x:auto}details{margin:.4em 0}summary{cursor:pointer}code{font-size:13px}";

pub(crate) fn page(run: &Run, policies: Option<&str>) -> String {
    let mut body = head(run);
    body += "<h2>What is wanted</h2>\n";
    body += &wanted(run);
    for (heading, what, charts) in charts::all(run, policies) {
        if !charts.is_empty() {
            body += &format!(
                "<h2>{heading}</h2>\n<p>{what}</p>\n<div class=\"charts\">\n{}</div>\n",
                charts.concat()
            );
        }
    }
    body += "<h2>What an acknowledgement means</h2>\n";
    body += &acknowledgements(run);
    body += "<h2>All figures</h2>\n<p>Medians; the least and the most of the repeats are in the JSON.</p>\n";
    for workload in run.workloads() {
        body += &figures(run, workload);
    }
    body += &missing(run);
    let mode = if run.quick { " (quick)" } else { "" };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>perennial and its peers{mode}</title>\
         <style>{STYLE}</style></head>\n<body><h1>perennial and its peers{mode}</h1>\n{body}</body></html>\n"
    )
}

fn head(run: &Run) -> String {
    let mut lines: Vec<String> = run
        .machine
        .iter()
        .map(|(name, value)| format!("{}: {}", escape(name), escape(value)))
        .collect();
    lines.push(format!(
        "began {}, took {:.0} minutes",
        escape(&run.began),
        run.seconds / 60.0
    ));
    format!(
        "<p>{}</p>\n<p><code>{}</code></p>\n",
        lines.join("<br>\n"),
        escape(&run.command)
    )
}

/// Cells are escaped here.
fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |tag: &str, cells: &[String]| -> String {
        cells
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)))
            .collect()
    };
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    let rows: String = rows
        .iter()
        .map(|row| format!("<tr>{}</tr>\n", cells("td", row)))
        .collect();
    format!(
        "<div class=\"wide\"><table><tr>{}</tr>\n{rows}</table></div>\n",
        cells("th", &heads)
    )
}

fn wanted(run: &Run) -> String {
    let row = |cells: [&str; 5]| {
        let class = cells[3].replace(' ', "-");
        let cells: String = cells
            .iter()
            .enumerate()
            .map(|(at, cell)| {
                let class = if at == 3 { class.as_str() } else { "" };
                format!("<td class=\"{class}\">{}</td>", escape(cell))
            })
            .collect();
        format!("<tr>{cells}</tr>\n")
    };
    let heads: String = HEADS
        .iter()
        .map(|head| format!("<th>{head}</th>"))
        .collect();
    let rows: String = judge(run)
        .iter()
        .map(|verdict| row(verdict.cells()))
        .collect();
    format!("<div class=\"wide\"><table><tr>{heads}</tr>\n{rows}</table></div>\n")
}

fn acknowledgements(run: &Run) -> String {
    let mut kinds: Vec<Kind> = run
        .samples
        .iter()
        .filter_map(|sample| Kind::named(&sample.backend))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let row = |kind: &Kind| {
        [kind.name(), kind.ack(), kind.flushed()]
            .map(str::to_owned)
            .to_vec()
    };
    let rows: Vec<_> = kinds.iter().map(row).collect();
    table(
        &["store", "a plain put is", "after a flush or a durable put"],
        &rows,
    )
}

fn figures(run: &Run, workload: &str) -> String {
    let metrics = names(&run.metrics(workload));
    let mut heads = vec!["store"];
    heads.extend(&metrics);
    let row = |backend: &&str| {
        let figure = |metric: &&str| {
            run.median(workload, backend, metric)
                .map_or_else(String::new, |it| show(metric, it))
        };
        let mut row = vec![(*backend).to_owned()];
        row.extend(metrics.iter().map(figure));
        row
    };
    let rows: Vec<_> = run.backends(workload).iter().map(row).collect();
    let name = escape(workload);
    format!(
        "<details><summary>{name}</summary>{}</details>\n",
        table(&heads, &rows)
    )
}

fn missing(run: &Run) -> String {
    if run.missing.is_empty() {
        return String::new();
    }
    let row = |missing: &crate::record::Missing| {
        vec![
            missing.workload.clone(),
            missing.backend.clone(),
            missing.repeat.to_string(),
            missing.why.clone(),
        ]
    };
    let rows: Vec<_> = run.missing.iter().map(row).collect();
    format!(
        "<h2>Not measured</h2>\n{}",
        table(&["workload", "store", "repeat", "why"], &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::run;

    #[test]
    fn a_page_needs_nothing_from_elsewhere() {
        let run = run(&[
            ("fill/4KiB", "perennial", "kept_bytes_per_s", 1e9),
            ("fill/4KiB", "device", "bytes_per_s", 2e9),
            ("hit/disk/uniform/1t", "perennial", "p50_ns", 9e4),
            ("restart/1M/clean", "foyer", "first_hit_s", 1.2),
        ]);
        let page = page(&run, None);
        for word in [
            "http:", "https:", "src=", "href=", "url(", "<script", "@import",
        ] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.matches("<svg").count() >= 2);
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    }

    #[test]
    fn names_are_text() {
        let mut run = run(&[("fill/4KiB", "<b>", "x", 1.0)]);
        run.command = "a && <i>".to_owned();
        let page = page(&run, None);
        assert!(!page.contains("<b>") && !page.contains("<i>"));
    }
}
