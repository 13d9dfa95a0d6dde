//! A small crash lab: a script of operations, stopped before any of its system calls, by a kill or by lost power, and
//! the same again while the cache recovers.

use std::path::Path;
use std::sync::{Arc, Mutex};

use perennial::{Cache, Eviction, Options};
use perennial_failpoints::lab::{Crash, Keeps, Op, Oracle, key, value};
use perennial_failpoints::{Action, Call, FaultFs, Plan, SimFs};

/// Where the cache of every test lies.
pub(crate) const DIR: &str = "/cache";

/// Tiny segments and a tiny tail, with room enough that nothing is evicted. Whole segments go, as these tests count them.
pub(crate) fn roomy() -> Options {
    Options::new()
        .capacity_bytes(1 << 20)
        .segment_bytes(8 << 10)
        .tail_bytes(16 << 10)
        .memory_tier_bytes(0)
        .eviction(Eviction::Fifo)
        .background(false)
}

/// As [`roomy`], with six segments: evicts all the time.
pub(crate) fn tiny() -> Options {
    roomy().capacity_bytes(64 << 10).tail_bytes(4 << 10)
}

/// Opens the cache of a simulated machine.
pub(crate) fn open(fs: &SimFs, options: Options) -> Cache {
    Cache::open_with(Arc::new(fs.clone()), DIR, options).expect("the cache opens")
}

/// Ends the life of a cache as SIGKILL does: what the destructor writes comes after the image.
pub(crate) fn kill(fs: &SimFs, cache: Cache) -> SimFs {
    let image = fs.process_crash();
    drop(cache);
    image
}

/// The value of a key that must be there or not.
pub(crate) fn get(cache: &Cache, key: &str) -> Option<Vec<u8>> {
    cache.get(key).expect("get").map(|value| value.to_vec())
}

/// The only file whose name begins so.
pub(crate) fn file_with(fs: &SimFs, prefix: &str) -> String {
    let names = fs.file_names(Path::new(DIR));
    let name = names.into_iter().find(|name| name.starts_with(prefix));
    format!("{DIR}/{}", name.expect("there is such a file"))
}

/// Where in a file these bytes begin.
pub(crate) fn find_in(fs: &SimFs, path: &str, bytes: &[u8]) -> Option<u64> {
    let content = fs.read_file(Path::new(path))?;
    let at = content
        .windows(bytes.len())
        .position(|window| window == bytes);
    at.map(|at| at as u64)
}

/// The segment files that hold these bytes, and where.
pub(crate) fn segments_with(fs: &SimFs, bytes: &[u8]) -> Vec<(String, u64)> {
    let names = fs.file_names(Path::new(DIR));
    let paths = names
        .into_iter()
        .filter(|name| name.starts_with("seg-"))
        .map(|name| format!("{DIR}/{name}"));
    paths
        .filter_map(|path| find_in(fs, &path, bytes).map(|at| (path, at)))
        .collect()
}

/// One operation of a script; keys are small numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Put(u8, usize),
    PutDurable(u8, usize),
    Remove(u8),
    RemoveDurable(u8),
    Flush,
    Checkpoint,
}

/// What was asked of each key, and what must have survived of it.
#[derive(Debug, Clone)]
pub(crate) struct History {
    oracle: Oracle,
    op: Op,
}

impl Default for History {
    fn default() -> Self {
        Self {
            oracle: Oracle::new(Keeps::Everything),
            op: 0,
        }
    }
}

impl History {
    /// Plays `steps` until one fails.
    pub(crate) fn play(&mut self, cache: &Cache, steps: &[Step]) -> Result<(), perennial::Error> {
        steps.iter().try_for_each(|step| self.step(cache, *step))
    }

    fn step(&mut self, cache: &Cache, step: Step) -> Result<(), perennial::Error> {
        match step {
            Step::Put(key, len) => self.put(cache, key, len, false),
            Step::PutDurable(key, len) => self.put(cache, key, len, true),
            Step::Remove(number) => {
                let key = key(number);
                self.oracle.issued(&key, None);
                cache.remove(&key)?;
                self.oracle.acknowledged(&key, false);
                Ok(())
            }
            Step::RemoveDurable(number) => {
                let key = key(number);
                self.oracle.issued(&key, None);
                cache.remove_durable(&key)?;
                self.oracle.acknowledged(&key, true);
                Ok(())
            }
            Step::Flush => cache.flush().map(|()| self.oracle.all_durable()),
            Step::Checkpoint => cache.checkpoint().map(|()| self.oracle.all_durable()),
        }
    }

    fn put(
        &mut self,
        cache: &Cache,
        number: u8,
        len: usize,
        durable: bool,
    ) -> Result<(), perennial::Error> {
        self.op += 1;
        let key = key(number);
        self.oracle.issued(&key, Some(self.op));
        let value = value(&key, self.op, len);
        if durable {
            cache.insert_durable(&key, value)?;
        } else {
            cache.insert(&key, value)?;
        }
        self.oracle.acknowledged(&key, durable);
        Ok(())
    }

    /// Every key shows a state that a kill (or, with `power`, lost power) may leave.
    pub(crate) fn check(&self, cache: &Cache, power: bool) -> Result<(), String> {
        let crash = if power { Crash::Power } else { Crash::Kill };
        let mut oracle = self.oracle.clone();
        for key in oracle.known_keys() {
            let found = cache.get(&key).map_err(|e| e.to_string())?;
            oracle.check_recovered(&key, found.as_deref(), crash)?;
        }
        Ok(())
    }
}

/// A machine that dies before the calls that `at` chooses, and its image at that moment.
pub(crate) struct Doomed {
    pub(crate) fs: FaultFs,
    image: Arc<Mutex<Option<SimFs>>>,
}

impl Doomed {
    pub(crate) fn at(
        machine: &SimFs,
        mut at: impl FnMut(&Call<'_>) -> bool + Send + 'static,
    ) -> Self {
        let plan = Plan::new(move |call| {
            if at(call) {
                Action::KillBefore
            } else {
                Action::Pass
            }
        });
        let image = Arc::new(Mutex::new(None));
        let (shared, machine) = (Arc::clone(&image), machine.clone());
        let on_kill = {
            let machine = machine.clone();
            move || *shared.lock().unwrap() = Some(machine.process_crash())
        };
        let fs = FaultFs::with_kill(Arc::new(machine), plan, Arc::new(on_kill));
        Self { fs, image }
    }

    /// The machine as the kill left it; `None` when none came.
    pub(crate) fn image(&self) -> Option<SimFs> {
        self.image.lock().unwrap().clone()
    }
}

/// Plays `steps`, killed before its n-th call, for every n; `check` sees each image.
pub(crate) fn kill_at_every_call(
    seed: u64,
    options: &Options,
    steps: &[Step],
    check: impl Fn(&SimFs, &History, u64),
) {
    for n in 1.. {
        let machine = SimFs::new(seed);
        let doomed = Doomed::at(&machine, move |call| call.n == n);
        let mut history = History::default();
        let cache = Cache::open_with(Arc::new(doomed.fs.clone()), DIR, options.clone());
        if let Ok(cache) = &cache {
            let _ = history.play(cache, steps);
        }
        let Some(image) = doomed.image() else {
            return;
        };
        drop(cache);
        check(&image, &history, n);
    }
}

/// Opens `image` and checks it against what may be there.
pub(crate) fn judge(
    image: &SimFs,
    options: &Options,
    history: &History,
    power: bool,
    what: impl Fn() -> String,
) {
    let opened = Cache::open_with(Arc::new(image.clone()), DIR, options.clone());
    let cache = opened.unwrap_or_else(|e| panic!("{}: {e}", what()));
    if let Err(why) = history.check(&cache, power) {
        panic!("{}: {why}", what());
    }
}

/// Recovers `image`, killed before every call of the recovery in turn; `check` sees each image.
pub(crate) fn kill_every_recovery(image: &SimFs, options: &Options, check: impl Fn(&SimFs, u64)) {
    for m in 1.. {
        let machine = image.process_crash();
        let doomed = Doomed::at(&machine, move |call| call.n == m);
        let opened = Cache::open_with(Arc::new(doomed.fs.clone()), DIR, options.clone());
        let opened_ok = opened.is_ok();
        let killed = doomed.image();
        drop(opened);
        match killed {
            Some(again) => check(&again, m),
            None => {
                assert!(opened_ok, "recovery fails without a fault");
                return;
            }
        }
    }
}

/// What a plan has noted so far. Copied out: a test that fails must not hold the lock that the plan takes.
pub(crate) fn noted<T: Clone>(by_plan: &Mutex<T>) -> T {
    by_plan.lock().unwrap().clone()
}
