//! Paths beside what they are compared with, in turn, in one process.
#![expect(clippy::disallowed_methods, reason = "time is what is measured here")]

use std::path::Path as Dir;
use std::time::Instant;

use crate::operations::{DURABLE_EACH, Operation, Path, operations_counted};

/// A path, what it is compared with, how many operations make a round, and the ratio that is wanted.
struct Pair(Path, Option<Path>, u64, Option<f64>);

const PAIRS: [Pair; 16] = [
    Pair(Path::Insert128, Some(Path::Bare128), 150_000, Some(2.0)),
    Pair(Path::Insert256, Some(Path::Bare256), 100_000, Some(2.0)),
    Pair(Path::Insert4096, Some(Path::Bare4096), 7_000, None),
    Pair(Path::Overwrite128, Some(Path::Bare128), 150_000, Some(2.0)),
    Pair(Path::GetMemory128, Some(Path::Tier128), 200_000, Some(2.0)),
    Pair(
        Path::GetMemory4096,
        Some(Path::Tier4096),
        200_000,
        Some(2.0),
    ),
    Pair(Path::GetPage128, Some(Path::Pread128), 100_000, Some(1.25)),
    Pair(
        Path::GetPage4096,
        Some(Path::Pread4096),
        100_000,
        Some(1.25),
    ),
    Pair(Path::GetTail128, None, 200_000, None),
    Pair(Path::GetTail4096, None, 200_000, None),
    Pair(Path::Miss1m, None, 200_000, None),
    Pair(Path::Insert65536, None, 500, None),
    Pair(Path::Insert1048576, None, 32, None),
    Pair(Path::Durable1, None, 300, None),
    Pair(Path::Durable8, None, 3, None),
    Pair(Path::Durable64, None, 2, None),
];

/// Prints a line for each pair: medians of so many rounds of each in nanoseconds an operation, and their ratio.
pub(crate) fn print(dir: &Dir, rounds: u64, only: &str) {
    println!(
        "{:<16} {:>10} {:<10} {:>10} {:>6} {:>7}",
        "path", "ns", "beside", "ns", "ratio", "wanted"
    );
    for Pair(path, beside, operations, wanted) in &PAIRS {
        if path.name().contains(only) {
            let (ns, beside_ns) = medians(dir, (*path, *beside), rounds, *operations);
            let name = beside.map_or_else(String::new, Path::name);
            let wanted = wanted.map_or_else(String::new, |wanted| format!("{wanted:.2}"));
            let (beside_ns, ratio) = match beside_ns {
                Some(beside_ns) => (format!("{beside_ns:.0}"), format!("{:.2}", ns / beside_ns)),
                None => (String::new(), String::new()),
            };
            println!(
                "{:<16} {ns:>10.0} {name:<10} {beside_ns:>10} {ratio:>6} {wanted:>7}",
                path.name()
            );
        }
    }
}

/// Of the path, and of what it is compared with.
fn medians(
    dir: &Dir,
    (path, beside): (Path, Option<Path>),
    rounds: u64,
    operations: u64,
) -> (f64, Option<f64>) {
    let mut operation = path.prepare(dir);
    let mut beside = beside.map(|beside| beside.prepare(dir));
    let (mut of_path, mut of_beside) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        of_path.push(round(&mut operation, operations) / threads_share(path));
        if let Some(beside) = &mut beside {
            of_beside.push(round(beside, operations));
        }
    }
    (median(of_path), beside.map(|_| median(of_beside)))
}

/// Inserts that one operation stands for.
fn threads_share(path: Path) -> f64 {
    let each = u32::try_from(DURABLE_EACH).map_or(1.0, f64::from);
    match path {
        Path::Durable8 => 8.0 * each,
        Path::Durable64 => 64.0 * each,
        _ => 1.0,
    }
}

/// Nanoseconds an operation.
#[expect(clippy::cast_precision_loss, reason = "a time, to some digits")]
fn round(operation: &mut Operation, operations: u64) -> f64 {
    let started = Instant::now();
    operations_counted(&mut **operation, operations);
    started.elapsed().as_nanos() as f64 / operations as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
