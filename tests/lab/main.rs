//! The cache in the crash lab: every crash state of small scripts.
//!
//! `PERENNIAL_LAB=n cargo test --release --test lab` takes all scripts of n steps instead of 2, and samples more.

mod driver;
mod small_scope;

use perennial_failpoints::lab::{CrashLab, Keeps, Options, Step};

use driver::{CHECKPOINT, Perennial, small};

#[test]
fn zz_speed() {
    let driver = Perennial(small(1 << 20));
    let mut lab = CrashLab::new(&driver, Options::new(Keeps::Everything));
    let t = std::time::Instant::now();
    let script = [
        Step::put(0, 300),
        Step::put(1, 40).durable(),
        Step::put(0, 500),
        Step::Other(CHECKPOINT),
        Step::remove(1),
        Step::put(1, 1000),
        Step::Reopen,
        Step::put(0, 2000),
        Step::Flush,
        Step::put(2, 3000),
    ];
    if let Err(failure) = lab.run(&script) {
        panic!("{failure}");
    }
    println!("{} in {:?}", lab.report(), t.elapsed());
}
