//! How far a core comes: `cargo test --release --test lab a_second -- --ignored --nocapture`.

use perennial_failpoints::lab::{CrashLab, Keeps};
use perennial_failpoints::{Fs, StdFs};

use crate::driver::{Perennial, Undamaged, small};
use crate::random;

const SCRIPTS: u64 = 20;

/// On one thread, of directories of 64 KiB. A judged state is recovered, compared with the oracle, killed, recovered again with
/// the same result, lived on, crashed once more and judged again; none of them was seen before in its script.
#[test]
#[ignore = "it measures, and fails only with what it judges"]
fn judged_states_a_second() {
    let driver = Undamaged(Perennial(small(64 << 10)));
    let options = random::options(Keeps::WhatItLikes);
    let mut lab = CrashLab::new(&driver, options);
    let begin = StdFs.monotonic_ns();
    for case in random::scripts(SCRIPTS, 100) {
        let judged = lab.run_from(&case.script, case.from);
        judged.unwrap_or_else(|failure| panic!("{failure}"));
    }
    let elapsed_ms = (StdFs.monotonic_ns() - begin) / 1_000_000;
    let report = lab.report();
    let a_second = |count: u64| count * 1000 / elapsed_ms.max(1);
    println!("{report}");
    println!(
        "a second: {} states judged, {} opens",
        a_second(report.distinct),
        a_second(report.opens)
    );
}
