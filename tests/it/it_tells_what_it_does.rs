//! What is timed, and what the log says: never a key or a value above debug.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use perennial::{Cache, Options};
use perennial_failpoints::{Action, CallKind, FaultFs, Plan, SimFs};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::small::{self, DIR};

/// Keeps each event and span as a line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Lines {
    fn add(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line)) {
        let mut line = Line(metadata.name().to_owned());
        record(&mut line);
        self.0.lock().unwrap().push((*metadata.level(), line.0));
    }

    fn has(&self, level: Level, what: &str) -> bool {
        let lines = self.0.lock().unwrap();
        lines
            .iter()
            .any(|(of, line)| *of == level && line.contains(what))
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("perennial")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.add(span.metadata(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.add(event.metadata(), |line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

const KEY: &str = "secret-key";
const VALUE: &[u8] = b"secret-value-secret-value-secret-value";

fn open(fs: &FaultFs) -> Cache {
    let options: Options = small::options();
    Cache::open_with(Arc::new(fs.clone()), DIR, options).unwrap()
}

/// A life with checkpoints, reclaims and bytes that are damaged; it ends with a failed device.
fn live(fs: &FaultFs) {
    let cache = open(fs);
    for n in 0..400_u32 {
        cache
            .insert(format!("{KEY}-{n}"), VALUE.repeat(10))
            .unwrap();
        cache.get(format!("{KEY}-{}", n / 2)).unwrap();
    }
    cache.insert(KEY, VALUE).unwrap();
    cache.close().unwrap();
    let cache = open(fs);
    fs.set_plan(Plan::new(|call| match call.kind {
        CallKind::Read => Action::FlipBit(300),
        _ => Action::Pass,
    }));
    for n in 0..400_u32 {
        cache.get(format!("{KEY}-{n}")).unwrap();
    }
    fs.set_plan(Plan::new(|call| match call.kind {
        CallKind::SyncData | CallKind::Read => Action::FailRaw(5),
        _ => Action::Pass,
    }));
    assert!(cache.insert_durable(KEY, VALUE).is_err());
    assert!(cache.close().is_err());
    fs.set_plan(Plan::none());
    open(fs).close().unwrap();
}

#[test]
fn the_log_tells_the_story_without_keys_and_values() {
    let lines = Lines::default();
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), Plan::none());
    // With a single dispatcher, `tracing` asks whichever thread comes first to an event whether anybody listens: another test's.
    let _second = tracing::Dispatch::new(Lines::default());
    tracing::subscriber::with_default(lines.clone(), || live(&fs));
    assert!(lines.has(Level::INFO, "the cache is open"));
    assert!(lines.has(Level::INFO, "a checkpoint was written"));
    assert!(lines.has(Level::DEBUG, "reclaimed a segment"));
    assert!(lines.has(Level::WARN, "does not prove itself"));
    assert!(lines.has(Level::ERROR, "the log is poisoned"));
    assert!(lines.has(Level::WARN, "health changed"));
    let loud = |level: &Level| *level < Level::DEBUG;
    for (level, line) in lines.0.lock().unwrap().iter().filter(|(l, _)| loud(l)) {
        assert!(!line.contains("secret"), "{level}: {line}");
    }
}

/// Each of these was done often enough that one of it, at least, was timed.
#[test]
fn what_takes_its_time_is_timed() {
    let fs = FaultFs::new(Arc::new(SimFs::new(1)), Plan::none());
    let cache = open(&fs);
    for n in 0..20_000_u32 {
        cache.insert(n.to_le_bytes(), [1; 40]).unwrap();
        cache.get(n.to_le_bytes()).unwrap();
        cache.get(n.saturating_sub(200).to_le_bytes()).unwrap();
    }
    cache.insert_durable(KEY, VALUE).unwrap();
    cache.flush().unwrap();
    let stats = cache.stats();
    let times = stats.times;
    for (name, latency) in [
        ("get_tail", times.get_tail),
        ("get_disk", times.get_disk),
        ("insert", times.insert),
        ("insert_durable", times.insert_durable),
        ("wait_tail", times.wait_tail),
        ("wait_commit", times.wait_commit),
        ("sync", times.sync),
        ("flush", times.flush),
        ("checkpoint", times.checkpoint),
        ("reclaim", times.reclaim),
    ] {
        assert!(latency.count > 0, "{name}");
    }
    assert!(times.get_tail.count < stats.hits_tail / 100, "a sample");
    let every_sixteenth = stats.hits_disk / 32..stats.hits_disk / 8;
    assert!(every_sixteenth.contains(&times.get_disk.count));
}
