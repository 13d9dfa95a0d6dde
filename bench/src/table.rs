//! `perennial-bench table`: all traces, all sizes, all policies, against the bounds that s3-merge is built to.

use std::io::{self, Write};

use crate::args::{Mode, Table};
use crate::cells::{self, CONTENDERS, FIFO, LRU};
use crate::failure::Failure;
use crate::replay;
use crate::report::{Counts, float, ratio};
use crate::trace;

/// One trace at one size.
struct Cell {
    trace: String,
    percent: u64,
    capacity: u64,
    counts: Vec<Counts>,
}

pub(crate) fn run(args: &Table) -> Result<(), Failure> {
    let mut cells = Vec::new();
    cells::each(&trace::in_directory(&args.traces)?, |size| {
        let of = |contender| {
            let replay = size.replay(contender, Mode::Model, args.tuning);
            replay::counts(&replay, size.trace)
        };
        cells.push(Cell {
            trace: size.name(),
            percent: size.percent,
            capacity: size.capacity,
            counts: CONTENDERS.iter().map(of).collect::<Result<_, _>>()?,
        });
        Ok(())
    })?;
    let mut out = io::stdout().lock();
    if args.cells {
        print_cells(&mut out, &cells).map_err(Failure::Output)?;
    }
    print_means(&mut out, &cells).map_err(Failure::Output)
}

fn print_cells(out: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
    write!(out, "| trace | % | MiB | segments |")?;
    for contender in &CONTENDERS {
        write!(out, " {} |", contender.name)?;
    }
    writeln!(
        out,
        "\n|---|---|---|---|{}",
        "---|".repeat(CONTENDERS.len())
    )?;
    for cell in cells {
        let mib = ratio(cell.capacity, 1 << 20);
        let segments = cell.counts[FIFO].segments;
        write!(
            out,
            "| {} | {} | {mib:.1} | {segments} |",
            cell.trace, cell.percent
        )?;
        for counts in &cell.counts {
            let hits = counts.hit_ratio();
            write!(out, " {hits:.3}, {:.2} |", counts.write_amplification())?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

/// What is said of a policy over all cells.
struct Means {
    over_fifo: f64,
    over_lru: f64,
    amplification: f64,
    most_amplification: f64,
    flash: f64,
    worst: f64,
}

impl Means {
    fn of(cells: &[Cell], contender: usize) -> Self {
        let each = |what: &dyn Fn(&Cell, &Counts) -> f64| -> Vec<f64> {
            let of_cell = |cell: &Cell| what(cell, &cell.counts[contender]);
            cells.iter().map(of_cell).collect()
        };
        let cut = |than: usize| {
            mean(&each(&|cell, counts| {
                let before = cell.counts[than].miss_ratio();
                (before - counts.miss_ratio()) / before.max(f64::MIN_POSITIVE)
            }))
        };
        let amplification = each(&|_, counts| counts.write_amplification());
        let flash = each(&|cell, counts| ratio(counts.flash_bytes, cell.counts[FIFO].flash_bytes));
        let points =
            each(&|cell, counts| 100.0 * (counts.hit_ratio() - cell.counts[FIFO].hit_ratio()));
        Self {
            over_fifo: cut(FIFO),
            over_lru: cut(LRU),
            amplification: mean(&amplification),
            most_amplification: amplification.iter().copied().fold(0.0, f64::max),
            flash: mean(&flash),
            worst: points.iter().copied().fold(f64::INFINITY, f64::min),
        }
    }
}

fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / float(of.len().max(1) as u64)
}

fn print_means(out: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
    writeln!(out, "{} cells", cells.len())?;
    writeln!(
        out,
        "\n| policy | MRR vs fifo | MRR vs exact lru | WA mean | WA most | flash bytes vs fifo | worst cell vs fifo, points |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|")?;
    for (at, contender) in CONTENDERS.iter().enumerate() {
        let m = Means::of(cells, at);
        let written = if at == LRU {
            "| | |".to_owned()
        } else {
            format!(
                "{:.2} | {:.2} | {:.2}",
                m.amplification, m.most_amplification, m.flash
            )
        };
        writeln!(
            out,
            "| {} | {:+.3} | {:+.3} | {written} | {:+.1} |",
            contender.name, m.over_fifo, m.over_lru, m.worst
        )?;
    }
    Ok(())
}
