//! The whole cache against the oracle, on a file system that crashes. Background work runs inline, so a run follows from
//! its seed alone. `PERENNIAL_SEEDS=n` runs n of them instead of 2,000.
//!
//! `PERENNIAL_SEED=n cargo test --test it model -- --nocapture` repeats one run and prints its operations.

use std::path::Path;
use std::sync::Arc;

use perennial::{Cache, Inserted, Options};
use perennial_failpoints::SimFs;
use perennial_failpoints::lab::{Crash, Keeps, Oracle, value};
use quickcheck::{Arbitrary, Gen};

const SEEDS: u64 = 2_000;

#[derive(Debug, Clone)]
enum Step {
    Insert { key: u8, len: u16 },
    InsertDurable { key: u8, len: u16 },
    InsertWithLen { key: u8, len: u16, fail: bool },
    Remove { key: u8 },
    RemoveDurable { key: u8 },
    Get { key: u8 },
    GetRange { key: u8, from: u16, to: u16 },
    Fetch { key: u8, len: u16 },
    Flush,
    Checkpoint,
    Close,
    Kill,
    PowerLoss { seed: u64 },
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let key = u8::arbitrary(g) % 12;
        // Mostly small, sometimes beyond the io buffers, so that extents are common too.
        let len = match u8::arbitrary(g) % 10 {
            0 => u16::arbitrary(g) % 5_000,
            1 => 0,
            _ => u16::arbitrary(g) % 400,
        };
        match u8::arbitrary(g) % 40 {
            0..=14 => Self::Insert { key, len },
            15..=17 => Self::InsertDurable { key, len },
            18..=19 => Self::InsertWithLen {
                key,
                len,
                fail: bool::arbitrary(g),
            },
            20..=23 => Self::Remove { key },
            24 => Self::RemoveDurable { key },
            25..=29 => Self::Get { key },
            30 => Self::GetRange {
                key,
                from: u16::arbitrary(g) % 300,
                to: u16::arbitrary(g) % 600,
            },
            31..=32 => Self::Fetch { key, len },
            33 => Self::Flush,
            34 => Self::Checkpoint,
            35 => Self::Close,
            36..=37 => Self::Kill,
            _ => Self::PowerLoss {
                seed: u64::arbitrary(g),
            },
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        match *self {
            Self::Insert { key, len } if len > 0 => {
                Box::new(std::iter::once(Self::Insert { key, len: len / 2 }))
            }
            Self::InsertDurable { key, len } => {
                Box::new(std::iter::once(Self::Insert { key, len }))
            }
            _ => Box::new(std::iter::empty()),
        }
    }
}

fn options(evicting: bool) -> Options {
    let capacity = if evicting { 64 << 10 } else { 4 << 20 };
    Options::new()
        .capacity_bytes(capacity)
        .segment_bytes(8 << 10)
        .tail_bytes(4 << 10)
        .memory_tier_bytes(8 << 10)
        .checkpoint_every_bytes(16 << 10)
        .background(false)
}

fn keeps(evicting: bool) -> Keeps {
    if evicting {
        Keeps::WhatItLikes
    } else {
        Keeps::Everything
    }
}

struct World {
    fs: SimFs,
    cache: Option<Cache>,
    oracle: Oracle,
    evicting: bool,
    next_op: u64,
}

impl World {
    fn new(seed: u64, evicting: bool) -> Self {
        let oracle = Oracle::new(keeps(evicting));
        let mut world = Self {
            fs: SimFs::new(seed),
            cache: None,
            oracle,
            evicting,
            next_op: 1,
        };
        world.open();
        world
    }

    fn open(&mut self) {
        let options =
            options(self.evicting).tail_bytes(if self.evicting { 4 << 10 } else { 16 << 10 });
        self.cache = Some(
            Cache::open_with(Arc::new(self.fs.clone()), "/cache", options)
                .expect("the cache opens"),
        );
        let bytes = self.fs.total_bytes(Path::new("/cache"));
        assert!(
            bytes <= (64 << 10) + (8 << 10) || !self.evicting,
            "{bytes} bytes on disk"
        );
    }

    fn cache(&self) -> &Cache {
        self.cache.as_ref().expect("open")
    }

    fn key(key: u8) -> Vec<u8> {
        // Some keys are long, one is longer than an io buffer.
        let len = if key == 11 {
            3_000
        } else {
            usize::from(key) * 7
        };
        format!("key-{key}-{}", "x".repeat(len)).into_bytes()
    }

    /// Key and value must fit in a segment together.
    fn fitting(key: u8, len: u16) -> usize {
        usize::from(if key == 11 { len % 2_000 } else { len })
    }

    fn op(&mut self) -> u64 {
        self.next_op += 1;
        self.next_op
    }

    fn insert(&mut self, key: u8, len: u16, durable: bool) {
        let len = Self::fitting(key, len);
        let (key, op) = (Self::key(key), self.op());
        let value = value(&key, op, len);
        let inserted = if durable {
            self.cache().insert_durable(&key, &value)
        } else {
            self.cache().insert(&key, &value)
        };
        assert_eq!(inserted.expect("insert"), Inserted::Stored);
        self.oracle.returned(&key, Some(op), durable);
    }

    fn insert_with_len(&mut self, key: u8, len: u16, fail: bool) {
        let len = Self::fitting(key, len);
        let (key, op) = (Self::key(key), self.op());
        let value = value(&key, op, len);
        let fill = |buf: &mut [u8]| {
            buf.copy_from_slice(&value);
            if fail { Err("no") } else { Ok(()) }
        };
        let inserted = self.cache().insert_with_len(&key, value.len(), fill);
        assert_eq!(inserted.is_ok(), !fail);
        // A failed insert leaves nothing, not even the older version.
        self.oracle.returned(&key, (!fail).then_some(op), false);
    }

    fn remove(&mut self, key: u8, durable: bool) {
        let key = Self::key(key);
        let removed = if durable {
            self.cache().remove_durable(&key)
        } else {
            self.cache().remove(&key)
        };
        removed.expect("remove");
        self.oracle.returned(&key, None, durable);
    }

    fn fetch(&mut self, key: u8, len: u16) -> Result<(), String> {
        let len = Self::fitting(key, len);
        let (key, op) = (Self::key(key), self.op());
        let mut fetched = false;
        let made = value(&key, op, len);
        let got = self.cache().get_or_fetch(&key, || {
            fetched = true;
            Ok::<_, String>(made.clone())
        });
        let got = got.expect("fetch");
        if fetched {
            self.oracle.check_running(&key, None)?;
            self.oracle.returned(&key, Some(op), false);
        }
        self.oracle.check_running(&key, Some(&got))
    }

    fn check_all(&mut self, after: Option<Crash>) -> Result<(), String> {
        for key in self.oracle.known_keys() {
            let found = self.cache().get(&key).expect("get");
            let contained = self.cache().contains(&key).expect("contains");
            if contained != found.is_some() {
                return Err(format!(
                    "contains says {contained}, get {}",
                    found.is_some()
                ));
            }
            match after {
                Some(crash) => self.oracle.check_recovered(&key, found.as_deref(), crash)?,
                None => self.oracle.check_running(&key, found.as_deref())?,
            }
        }
        Ok(())
    }

    fn get_range(&mut self, key: u8, from: u16, to: u16) -> Result<(), String> {
        let key = Self::key(key);
        let whole = self.cache().get(&key).expect("get");
        let range = u64::from(from)..u64::from(to);
        let part = self.cache().get_range(&key, range).expect("get_range");
        let cut = |value: &[u8]| {
            let end = usize::from(to).min(value.len());
            value[usize::from(from).min(end)..end].to_vec()
        };
        if whole.as_deref().map(cut) == part.as_deref().map(<[u8]>::to_vec) {
            Ok(())
        } else {
            Err(format!(
                "get_range {from}..{to} is not that part of the value"
            ))
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let cache = self.cache.take().expect("open");
        cache.close().expect("close");
        self.oracle.all_durable();
        // Closed cleanly, a power cut loses nothing any more.
        self.fs = self.fs.power_loss(self.next_op);
        self.open();
        self.check_all(Some(Crash::Power))
    }

    fn crash(&mut self, power: Option<u64>) -> Result<(), String> {
        let image = match power {
            Some(seed) => self.fs.power_loss(seed),
            None => self.fs.process_crash(),
        };
        // After the image: what the destructor still writes goes to a machine that is no more. Forgetting the cache instead
        // kept the memory of every machine of every seed.
        drop(self.cache.take());
        self.fs = image;
        self.open();
        self.check_all(Some(power.map_or(Crash::Kill, |_| Crash::Power)))
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Insert { key, len } => self.insert(key, len, false),
            Step::InsertDurable { key, len } => self.insert(key, len, true),
            Step::InsertWithLen { key, len, fail } => self.insert_with_len(key, len, fail),
            Step::Remove { key } => self.remove(key, false),
            Step::RemoveDurable { key } => self.remove(key, true),
            Step::Get { key } => {
                let key = Self::key(key);
                let found = self.cache().get(&key).expect("get");
                self.oracle.check_running(&key, found.as_deref())?;
            }
            Step::GetRange { key, from, to } => self.get_range(key, from, to)?,
            Step::Fetch { key, len } => self.fetch(key, len)?,
            Step::Flush => {
                self.cache().flush().expect("flush");
                self.oracle.all_durable();
            }
            Step::Checkpoint => {
                self.cache().checkpoint().expect("checkpoint");
                self.oracle.all_durable();
            }
            Step::Close => self.close()?,
            Step::Kill => self.crash(None)?,
            Step::PowerLoss { seed } => self.crash(Some(seed))?,
        }
        if !self.evicting && self.cache().stats().evicted > 0 {
            return Err("evicted though there is room".into());
        }
        Ok(())
    }
}

fn run(seed: u64, steps: &[Step]) -> Result<(), String> {
    let steps = steps.to_vec();
    let ran = std::panic::catch_unwind(move || {
        let mut world = World::new(seed, seed.is_multiple_of(2));
        for (n, step) in steps.iter().enumerate() {
            world
                .step(step)
                .map_err(|why| format!("step {n}, {step:?}: {why}"))?;
        }
        world.check_all(None)?;
        world.crash(None)?;
        world.crash(Some(seed))
    });
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(text
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or("panicked".into()))
    })
}

fn steps_of(seed: u64) -> Vec<Step> {
    let mut g = Gen::from_size_and_seed(160, seed);
    Vec::arbitrary(&mut g)
}

/// The smallest list of steps that still fails.
fn minimise(seed: u64, mut steps: Vec<Step>, mut why: String) -> (Vec<Step>, String) {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    while let Some((smaller, reason)) = steps
        .shrink()
        .find_map(|smaller| run(seed, &smaller).err().map(|reason| (smaller, reason)))
    {
        (steps, why) = (smaller, reason);
    }
    std::panic::set_hook(quiet);
    (steps, why)
}

#[test]
fn the_cache_is_never_wrong_stale_or_forgetful_of_what_it_promised() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let only = number("PERENNIAL_SEED");
    let seeds = only.map_or(0..number("PERENNIAL_SEEDS").unwrap_or(SEEDS), |seed| {
        seed..seed + 1
    });
    for seed in seeds {
        let steps = steps_of(seed);
        if only.is_some() {
            println!("{steps:#?}");
        }
        if let Err(why) = run(seed, &steps) {
            let (steps, why) = minimise(seed, steps, why);
            panic!(
                "{why}\n{steps:#?}\nrepeat: PERENNIAL_SEED={seed} cargo test --test it model -- --nocapture"
            );
        }
    }
}
