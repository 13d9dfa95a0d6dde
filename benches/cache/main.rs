//! What the cache costs, on real files: `cargo bench --bench cache`. `docs/benchmarks.md` says what each number means.

mod durable;
mod get;
mod insert;
mod reopen;
mod setup;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    if reopen::is_child() {
        return reopen::child();
    }
    // Few samples: the disk's moods last longer than any sample.
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    insert::all(&mut criterion);
    get::all(&mut criterion);
    durable::all(&mut criterion);
    reopen::all(&mut criterion);
    criterion.final_summary();
}
