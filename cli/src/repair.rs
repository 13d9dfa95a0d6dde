//! `perennial repair`: says how damage would be mended, or mends it.

use std::path::PathBuf;

use perennial::{RepairMode, RepairReport};

use crate::call::Call;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::place::Place;

#[derive(Debug, clap::Args)]
pub(crate) struct Repair {
    /// The cache's directory.
    #[arg(value_name = "DIR")]
    cache: PathBuf,
    /// Do it. Default: only say what would be done.
    #[arg(long)]
    apply: bool,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Repair, call: &Call<'_>) -> Result<Exit, Failure> {
    Place::look(&args.cache)?;
    let (mode, doing) = if args.apply {
        (RepairMode::Apply, "mending")
    } else {
        (RepairMode::Dry, "reading every byte")
    };
    let spinner = call.spinner(doing);
    let report = perennial::repair(&args.cache, mode)?;
    drop(spinner);
    if args.json {
        output::json(&report)?;
    } else {
        show(&report)?;
    }
    Ok(if report.is_clean() {
        Exit::Fine
    } else {
        Exit::Damage
    })
}

fn show(report: &RepairReport) -> Result<(), Failure> {
    for repair in &report.repairs {
        output::line(format_args!("damage: {repair}"))?;
    }
    for copy in &report.quarantined {
        output::line(format_args!("copied before: {copy}"))?;
    }
    output::line(summary(report))
}

fn summary(report: &RepairReport) -> String {
    let curable = |repair: &&perennial::Repair| repair.remedy.is_some();
    let mended = report.repairs.iter().filter(curable).count();
    let (all, left) = (report.repairs.len(), report.verified.problems.len());
    match (report.applied, all) {
        (_, 0) => "no damage".to_owned(),
        (true, _) if left == 0 => format!("{mended} mended, no damage is left"),
        (true, _) => format!("{} mended, {left} left", all - left),
        (false, _) => format!("{all} found, of which {mended} can be mended: --apply does it"),
    }
}
