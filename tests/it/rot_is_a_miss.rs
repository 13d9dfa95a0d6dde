//! Whatever a disk does to the bytes of a cache: no wrong value, no older one, no removed one, and no panic.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use perennial::{Cache, Options, Tail};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{Crash, Oracle};

use crate::small::{self, DIR, Life, Rng, file};

/// A cache that nobody has open, and what it may answer.
struct Past {
    fs: SimFs,
    options: Options,
    oracle: Oracle,
}

/// A cache of `ops` operations in two lives, the second of which ends as `end` says.
fn past(seed: u64, ops: u64, options: Options, end: impl FnOnce(Cache)) -> Past {
    let fs = SimFs::new(seed);
    let mut life = Life::new(seed);
    let cache = small::open(&fs, options.clone()).expect("open");
    life.live(&cache, ops);
    cache.close().expect("close");
    let cache = small::open(&fs, options.clone()).expect("open again");
    life.live(&cache, ops);
    end(cache);
    Past {
        fs: fs.process_crash(),
        options,
        oracle: life.oracle,
    }
}

fn closed(seed: u64, ops: u64, options: Options) -> Past {
    past(seed, ops, options, |cache| cache.close().expect("close"))
}

fn killed(seed: u64, ops: u64) -> Past {
    past(seed, ops, small::options(), std::mem::forget)
}

impl Past {
    /// After a restart of the machine, with nothing lost: only for a cache that was closed.
    fn rebooted(self) -> Self {
        self.fs.mark_all_durable();
        Self {
            fs: self.fs.power_loss(7),
            ..self
        }
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.fs.file_names(std::path::Path::new(DIR));
        names
            .into_iter()
            .filter(|name| name != "LOCK")
            .map(|name| {
                let content = self.fs.read_file(&file(&name)).unwrap();
                (name, content)
            })
            .collect()
    }

    /// Opens a damaged copy and reads every key. `power`: of a killed cache only what was durable has to be the newest.
    fn survives(
        &self,
        power: bool,
        what: &dyn Display,
        damage: impl FnOnce(&SimFs),
    ) -> Option<u64> {
        let fs = self.fs.process_crash();
        damage(&fs);
        let crash = if power { Crash::Power } else { Crash::Kill };
        let judged = catch_unwind(AssertUnwindSafe(|| {
            match small::open(&fs, self.options.clone()) {
                Ok(cache) => small::check(&cache, &self.oracle, crash).map(Some),
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    Ok(None)
                }
            }
        }));
        match judged {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => panic!("{what}: {why}"),
            Err(_) => panic!("{what}: panicked"),
        }
    }

    /// A bit of every `every`-th byte of every file; of space that was never written, of every sixteenth.
    /// `PERENNIAL_ALL_BITS=1`: every bit of every byte.
    fn bits(&self, name: &str, every: usize) {
        let all = std::env::var_os("PERENNIAL_ALL_BITS").is_some();
        let mut tally = Tally::new(self);
        for (file_name, content) in self.files() {
            for byte in 0..content.len() {
                let sector = byte / SECTOR * SECTOR;
                let blank = content[sector..][..SECTOR].iter().all(|b| *b == 0);
                let step = if blank { 16 } else { every };
                if !all && !byte.is_multiple_of(step) {
                    continue;
                }
                let one = u32::try_from(byte * 5 % 8).unwrap();
                for bit in (0..8).filter(|bit| all || *bit == one) {
                    let what = format!("{name}: {file_name} byte {byte} bit {bit}");
                    tally.add(self.survives(false, &what, |fs| {
                        assert!(fs.flip_bit(&file(&file_name), byte as u64, bit));
                    }));
                }
            }
        }
        tally.report(name);
    }

    /// Every sector of every file: zeros, junk, and another sector of the same cache in its place.
    fn sectors(&self, name: &str, bytes: usize) {
        let mut rng = Rng(5);
        let mut tally = Tally::new(self);
        let files = self.files();
        for (file_name, content) in &files {
            for at in (0..content.len()).step_by(bytes) {
                let bytes = bytes.min(content.len() - at);
                let (_, other) = &files[below(&mut rng, files.len())];
                let from = below(&mut rng, (other.len() / bytes).max(1)) * bytes;
                let junk: Vec<u8> = (0..bytes)
                    .map(|_| rng.below(256).to_le_bytes()[0])
                    .collect();
                let with = [
                    ("zeros", vec![0; bytes]),
                    ("junk", junk),
                    (
                        "another sector",
                        other
                            .iter()
                            .skip(from)
                            .chain(&[0; 8 * SECTOR])
                            .take(bytes)
                            .copied()
                            .collect(),
                    ),
                ];
                for (kind, sector) in with {
                    let what = format!("{name}: {file_name} sector at {at}: {kind} ({from})");
                    tally.add(self.survives(is_tail(file_name) && at == 0, &what, |fs| {
                        let mut damaged = content.clone();
                        damaged[at..at + bytes].copy_from_slice(&sector);
                        fs.write_file(&file(file_name), &damaged);
                    }));
                }
            }
        }
        tally.report(name);
    }

    /// Every file: missing, cut, grown, doubled under a free name, and in place of every other.
    fn whole_files(&self, name: &str) {
        let mut tally = Tally::new(self);
        for (file_name, content) in self.files() {
            let mut one = |lost: bool, kind: String, damage: &dyn Fn(&SimFs)| {
                let what = format!("{name}: {file_name} {kind}");
                tally.add(self.survives(lost, &what, damage));
            };
            let path = file(&file_name);
            one(is_tail(&file_name), "missing".into(), &|fs| {
                assert!(fs.remove_file(&path))
            });
            for cut in [0, 1, 511, 512, 1024, 4095, 4096, 5000, content.len() - 1] {
                let cut = cut.min(content.len());
                let lost = is_tail(&file_name) && cut < TAIL_HEAD;
                one(lost, format!("cut to {cut}"), &|fs| {
                    fs.write_file(&path, &content[..cut])
                });
            }
            let grown = [content.as_slice(), &[7; 3000]].concat();
            one(false, "grown".into(), &|fs| fs.write_file(&path, &grown));
            for (other, _) in self.files().iter().filter(|(other, _)| *other != file_name) {
                one(is_tail(other), format!("copied over {other}"), &|fs| {
                    fs.write_file(&file(other), &content);
                });
            }
            for slot in [7, 500] {
                one(false, format!("copied to slot {slot}"), &|fs| {
                    fs.write_file(&file(&format!("seg-{slot:06}")), &content);
                });
            }
        }
        tally.report(name);
    }

    /// Two places at once, `n` times.
    fn pairs(&self, name: &str, n: u64) {
        let mut rng = Rng(9);
        let mut tally = Tally::new(self);
        let files: Vec<_> = self.files();
        for round in 0..n {
            let mut hits = Vec::new();
            for _ in 0..2 {
                let (file_name, content) = &files[below(&mut rng, files.len())];
                hits.push((file_name, below(&mut rng, content.len()), rng.below(3)));
            }
            let what = format!("{name}: round {round}: {hits:?}");
            tally.add(self.survives(false, &what, |fs| {
                for (file_name, at, how) in &hits {
                    let mut bytes = fs.read_file(&file(file_name)).unwrap();
                    match how {
                        0 => bytes[*at] ^= 4,
                        1 => bytes[at / SECTOR * SECTOR..][..SECTOR].fill(0),
                        _ => bytes[at / 16 * 16..][..16].fill(0xa5),
                    }
                    fs.write_file(&file(file_name), &bytes);
                }
            }));
        }
        tally.report(name);
    }
}

const SECTOR: usize = 512;
/// What says in the tail whose it is and what was complete.
const TAIL_HEAD: usize = 4096;

/// Without its tail a killed cache is one whose machine lost power.
fn is_tail(name: &str) -> bool {
    name.starts_with("tail-")
}

fn below(rng: &mut Rng, n: usize) -> usize {
    usize::try_from(rng.below(n as u64)).unwrap()
}

/// What became of the damaged copies; printed, so that a suite that destroys nothing is noticed.
struct Tally {
    whole: u64,
    states: u64,
    refused: u64,
    misses: u64,
}

impl Tally {
    fn new(past: &Past) -> Self {
        let whole = past
            .survives(false, &"no damage", |_| {})
            .expect("an undamaged cache opens");
        Self {
            whole,
            states: 0,
            refused: 0,
            misses: 0,
        }
    }

    fn add(&mut self, found: Option<u64>) {
        self.states += 1;
        match found {
            None => self.refused += 1,
            Some(found) => self.misses += u64::from(found < self.whole),
        }
    }

    fn report(&self, name: &str) {
        let Self {
            whole,
            states,
            refused,
            misses,
        } = self;
        println!(
            "{name}: {states} states of {whole} entries, {refused} refused, {misses} with misses"
        );
        assert!(
            *whole > 0 && *misses > 0,
            "{name}: nothing was ever damaged"
        );
    }
}

/// Every past that rot is let loose on.
fn pasts() -> Vec<(String, Past)> {
    let seed = std::env::var("PERENNIAL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    let small = small::options;
    let heap = small().tail(Tail::Heap);
    // As on real disks: sectors of 4 KiB.
    let large = small()
        .capacity_bytes(512 << 10)
        .segment_bytes(64 << 10)
        .tail_bytes(32 << 10);
    vec![
        ("closed".into(), closed(seed, 30, small())),
        ("closed, full".into(), closed(seed + 1, 250, small())),
        (
            "closed, rebooted".into(),
            closed(seed + 2, 40, small()).rebooted(),
        ),
        (
            "closed, tail on the heap".into(),
            closed(seed + 5, 60, heap),
        ),
        (
            "closed, large sectors, tail on the heap".into(),
            closed(seed + 6, 900, large.tail(Tail::Heap)),
        ),
        ("killed".into(), killed(seed + 3, 30)),
        ("killed, full".into(), killed(seed + 4, 250)),
    ]
}

fn past_named(name: &str) -> Past {
    let found = pasts().into_iter().find(|(found, _)| found == name);
    found.expect("a past of this name").1
}

#[test]
fn a_flipped_bit_in_a_closed_cache() {
    past_named("closed").bits("closed", 1);
}

#[test]
fn a_flipped_bit_in_a_closed_cache_that_was_full() {
    past_named("closed, full").bits("closed, full", 3);
}

#[test]
fn a_flipped_bit_in_a_closed_cache_after_a_reboot() {
    past_named("closed, rebooted").bits("closed, rebooted", 3);
}

#[test]
fn a_flipped_bit_in_a_closed_cache_without_a_tail() {
    past_named("closed, tail on the heap").bits("closed, tail on the heap", 3);
}

#[test]
fn a_flipped_bit_in_a_killed_cache() {
    past_named("killed").bits("killed", 1);
}

#[test]
fn a_flipped_bit_in_a_killed_cache_that_was_full() {
    past_named("killed, full").bits("killed, full", 3);
}

#[test]
fn a_zeroed_junk_or_misplaced_sector() {
    for (name, past) in pasts() {
        past.sectors(&name, SECTOR);
        past.sectors(&name, 8 * SECTOR);
    }
}

#[test]
fn a_missing_cut_or_doubled_file() {
    for (name, past) in pasts() {
        past.whole_files(&name);
    }
}

#[test]
fn two_faults_at_once() {
    // A kill is a fault of its own: a killed cache bears one more.
    for (name, past) in pasts()
        .into_iter()
        .filter(|(name, _)| name.starts_with("closed"))
    {
        past.pairs(&name, 1_000);
    }
}

/// The descriptors of the tail's head are under no crc. Rot in one of them may cost entries, but must not send the log to
/// positions that no index and no checkpoint can hold.
#[test]
fn a_cache_goes_on_after_rot_in_the_tail_s_descriptors() {
    const DESCRIPTORS: std::ops::Range<u64> = 512..2560;
    let past = past_named("killed");
    let files = past.files();
    let (tail, content) = files.iter().find(|(name, _)| is_tail(name)).unwrap();
    for byte in DESCRIPTORS {
        let slot = usize::try_from(byte / 16 * 16).unwrap();
        let used = content[slot..slot + 8].iter().any(|b| *b != 0);
        for bit in (0..8).filter(|_| used) {
            let fs = past.fs.process_crash();
            assert!(fs.flip_bit(&file(tail), byte, bit));
            println!("byte {byte} bit {bit}");
            for round in 0..2 {
                let cache = small::open(&fs, past.options.clone()).expect("open");
                let mut life = Life::new(3);
                life.live(&cache, 150);
                let evicted = cache.stats().evicted;
                small::check(&cache, &life.oracle, Crash::Kill).expect("check");
                cache.close().unwrap_or_else(|e| panic!("{round}: {e}"));
                assert!(evicted < 1_000);
            }
        }
    }
}
