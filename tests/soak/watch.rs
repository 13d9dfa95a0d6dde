//! What is watched between the rounds: memory, handles and threads of the process, the counters, the ledger.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use perennial::{Cache, Stats};
use serde_json::Value;

/// Numbers of [`Stats`] that may fall. Any other is a counter.
const GAUGES: &[&str] = &[
    "entries",
    "entries_to_load",
    "pinned_entries",
    "pinned_bytes",
    "segments",
    "max_segments",
    "file_bytes",
    "capacity_bytes",
    "index_bytes",
];

/// What the process may take more in the last third of a soak than in the first: allocators keep what they once had, and
/// each life has other options.
const MORE_KIB: u64 = 16 << 10;
/// And handles: a cache has one for each segment, and a capacity of its own in each life.
const MORE_HANDLES: u64 = 64;
const MORE_THREADS: u64 = 4;

/// The process at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    memory_kib: u64,
    handles: u64,
    threads: u64,
}

impl Sample {
    fn take() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let number_of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number
                .and_then(|n| n.parse().ok())
                .expect("as the kernel writes it")
        };
        Self {
            memory_kib: number_of("VmRSS:"),
            handles: std::fs::read_dir("/proc/self/fd").unwrap().count() as u64,
            threads: number_of("Threads:"),
        }
    }
}

type Number = fn(&Sample) -> u64;

/// The process from round to round.
#[derive(Debug, Default)]
pub(crate) struct Process(Vec<Sample>);

impl Process {
    pub(crate) fn look(&mut self) {
        self.0.push(Sample::take());
    }

    /// Medians of the first and of the last third, after a tenth to get warm in.
    pub(crate) fn judge(&self) -> Result<String, String> {
        let warm = &self.0[self.0.len() / 10..];
        let third = warm.len() / 3;
        let (first, last) = (&warm[..third], &warm[warm.len() - third..]);
        let both = |of: Number| (median(first, of), median(last, of));
        let mut told = Vec::new();
        let numbers: [(&str, Number, u64); 3] = [
            ("KiB of memory", |sample| sample.memory_kib, MORE_KIB),
            ("handles", |sample| sample.handles, MORE_HANDLES),
            ("threads", |sample| sample.threads, MORE_THREADS),
        ];
        for (name, of, more) in numbers {
            let (before, after) = both(of);
            if after > before + more {
                return Err(format!("{before} {name} became {after}"));
            }
            told.push(format!("{before} to {after} {name}"));
        }
        Ok(told.join(", "))
    }
}

fn median(of: &[Sample], number: Number) -> u64 {
    let mut numbers: Vec<_> = of.iter().map(number).collect();
    numbers.sort_unstable();
    numbers[numbers.len() / 2]
}

/// The counters of one life.
#[derive(Debug, Default)]
pub(crate) struct Counters(BTreeMap<String, u64>);

impl Counters {
    /// None may fall.
    pub(crate) fn look(&mut self, stats: &Stats) -> Result<(), String> {
        let mut now = BTreeMap::new();
        counters_of(&serde_json::to_value(stats).unwrap(), "", &mut now);
        for (name, before) in &self.0 {
            if now[name] < *before {
                return Err(format!("{name} fell from {before} to {}", now[name]));
            }
        }
        self.0 = now;
        Ok(())
    }
}

/// Of a latency that is how many there were.
fn counters_of(value: &Value, name: &str, into: &mut BTreeMap<String, u64>) {
    if let Value::Object(fields) = value {
        for (field, value) in fields {
            if !GAUGES.contains(&field.as_str()) {
                counters_of(value, &format!("{name}.{field}"), into);
            }
        }
    } else if let Some(number) = value.as_u64()
        && (!name.starts_with(".times.") || name.ends_with(".count"))
    {
        into.insert(name.to_owned(), number);
    }
}

/// How often the ledger is asked while the cache's own threads make and remove files.
const LOOKS: u32 = 200;

/// The ledger's sum, what the counters say, and what the files have are one number.
pub(crate) fn ledger_is_du(cache: &Cache, dir: &Path) -> Result<(), String> {
    let mut found = String::new();
    for _ in 0..LOOKS {
        let ledger = cache.ledger().map_err(|error| format!("ledger: {error}"))?;
        let (lengths, blocks) = du(dir);
        let (told, counted) = (ledger.total_bytes(), cache.stats().file_bytes);
        // What is smaller than a block takes one.
        if told == lengths && counted == lengths && blocks.abs_diff(lengths) <= 16 << 10 {
            return Ok(());
        }
        found = format!(
            "{told} bytes in the ledger, {counted} counted, {lengths} in the files, {blocks} in their blocks; {:?}",
            names(dir)
        );
        thread::sleep(Duration::from_millis(5));
    }
    Err(found)
}

/// What the files have, and what their blocks take.
fn du(dir: &Path) -> (u64, u64) {
    let files = std::fs::read_dir(dir).unwrap();
    // One that was removed meanwhile has nothing.
    let found = files.filter_map(|file| file.unwrap().metadata().ok());
    found.fold((0, 0), |(lengths, blocks), file| {
        (lengths + file.size(), blocks + 512 * file.blocks())
    })
}

fn names(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap();
    let found = files.filter_map(|file| {
        let file = file.unwrap();
        let len = file.metadata().ok()?.len();
        Some(format!("{} {len}", file.file_name().to_string_lossy()))
    });
    let mut found: Vec<_> = found.collect();
    found.sort();
    found
}

#[test]
fn a_process_that_grows_is_noticed() {
    let grows = |each: u64| {
        let sample = |n: u64| Sample {
            memory_kib: 50_000 + n * each,
            handles: 20,
            threads: 5,
        };
        Process((0..100).map(sample).collect()).judge()
    };
    assert!(grows(100).is_ok());
    assert!(grows(1_000).is_err());
}

#[test]
fn a_counter_that_falls_is_noticed() {
    let mut counters = Counters::default();
    let mut stats = Stats::default();
    (stats.inserts, stats.entries) = (5, 9);
    counters.look(&stats).unwrap();
    stats.entries = 3;
    counters.look(&stats).unwrap();
    stats.inserts = 4;
    assert!(counters.look(&stats).is_err());
}
