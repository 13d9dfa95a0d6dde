//! Every order of a few threads' steps, tried by loom: `RUSTFLAGS="--cfg loom" cargo test -p perennial-wal --release
//! --lib loom`.
//!
//! The header word and commit leadership are the real code. The ready word and the reuse of the tail are models of it:
//! mapped memory and crossbeam-epoch are beyond loom. Each model counts the outcomes it must have reached, since one that
//! never gets there proves nothing; and the tests that expect a panic weaken one thing and show that the model sees it.
#![expect(
    unsafe_code,
    reason = "a place in the ring is shared between threads, and loom's cell is to say when it must not be"
)]

mod commit;
mod filter_rebuild;
mod header_word;
mod ready_word;
mod table_readers;
mod tail_reuse;

use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs `model` in every order with at most three preemptions, or as many as `LOOM_MAX_PREEMPTIONS` says.
fn check(model: impl Fn() + Send + Sync + 'static) {
    check_bounded(3, model);
}

fn check_bounded(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

/// A place in the ring: loom reports who reads or writes it without being ordered after the last who wrote.
struct Place(loom::cell::Cell<u64>);

// SAFETY: this is what the models are to find out; loom stops a model before two threads meet here.
unsafe impl Sync for Place {}
// SAFETY: as for Sync.
unsafe impl Send for Place {}

impl Place {
    fn new(value: u64) -> Self {
        Self(loom::cell::Cell::new(value))
    }

    fn write(&self, value: u64) {
        self.0.set(value);
    }

    fn read(&self) -> u64 {
        self.0.get()
    }
}

/// How often an outcome was reached, over all orders. Outside the model: loom does not see it.
#[derive(Default)]
struct Reached(AtomicUsize);

impl Reached {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn assert(&self, what: &str) {
        assert!(self.0.load(Ordering::Relaxed) > 0, "never reached: {what}");
    }
}
