//! Tables for a terminal.

use comfy_table::{Table, presets::ASCII_MARKDOWN};

use super::unit::{names, show};
use crate::backend::Kind;
use crate::plan::Item;
use crate::record::Run;

/// Every workload with what it is run on.
pub(crate) fn list(items: &[Item]) -> String {
    let mut table = new(&["workload", "on"]);
    for item in items {
        let kinds: Vec<_> = item.kinds.iter().map(|kind| kind.name()).collect();
        table.add_row([item.workload.to_string(), kinds.join(" ")]);
    }
    table.to_string()
}

fn new(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(heads);
    table
}

/// Medians and spread of all samples, a table for each workload; then what each store's acknowledgement means.
pub(crate) fn table(run: &Run) -> String {
    let mut text = format!("{}\n", run.command);
    for (name, value) in &run.machine {
        text += &format!("{name}: {value}\n");
    }
    text += &format!("began {}, took {:.0} s\n", run.began, run.seconds);
    for workload in run.workloads() {
        text += &format!("\n{workload}\n{}\n", of_workload(run, workload));
    }
    text += &format!("\n{}\n", acknowledgements(run));
    for missing in &run.missing {
        text += &format!(
            "missing: {} on {}, #{}: {}\n",
            missing.workload, missing.backend, missing.repeat, missing.why
        );
    }
    text
}

fn of_workload(run: &Run, workload: &str) -> Table {
    let metrics = names(&run.metrics(workload));
    let mut heads = vec!["store"];
    heads.extend(&metrics);
    heads.push("spread");
    let mut table = new(&heads);
    for backend in run.backends(workload) {
        let mut row = vec![backend.to_owned()];
        for metric in &metrics {
            let median = run.median(workload, backend, metric);
            row.push(median.map_or_else(String::new, |median| show(metric, median)));
        }
        row.push(spread(run, workload, backend, metrics.first()));
        table.add_row(row);
    }
    table
}

/// Of the first figure, with the number of repeats.
fn spread(run: &Run, workload: &str, backend: &str, metric: Option<&&str>) -> String {
    metric
        .and_then(|metric| run.spread(workload, backend, metric))
        .map_or_else(String::new, |spread| {
            format!("{:.0} % of {}", spread.percent(), spread.repeats)
        })
}

fn acknowledgements(run: &Run) -> Table {
    let mut table = new(&["store", "a plain put is", "after a flush or a durable put"]);
    let mut seen = Vec::new();
    for sample in &run.samples {
        if let Some(kind) = Kind::named(&sample.backend).filter(|kind| !seen.contains(kind)) {
            seen.push(kind);
            table.add_row([kind.name(), kind.ack(), kind.flushed()]);
        }
    }
    table
}
