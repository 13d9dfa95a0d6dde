//! A machine and what comes over it: lives of the cache, their ends, and the damage in between.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};

use perennial::Cache;
use perennial_failpoints::lab::{Keeps, Step};
use perennial_failpoints::{FaultFs, Shows, SimFs, Syncs};

use super::judge::Judge;
use super::life::{Life, expected};
use super::options::{self, Frame, pick};
use super::script::{Deed, deed};
use super::weather::{Climate, SharedSky, Sky, plan};
use crate::random::Rng;

const DIR: &str = "/cache";
/// So often an open is tried again, after a crash in it or a fault, before the weather clears up.
const OPENS: u64 = 4;

pub(super) struct World {
    rng: Rng,
    climate: Climate,
    frame: Frame,
    machine: SimFs,
    /// The machine as it was some lives ago.
    older: SimFs,
    judge: Judge,
    sky: SharedSky,
    /// Something was damaged in silence since the last look at all that there is.
    silence: bool,
    op: u64,
    met: u64,
    said: Vec<String>,
    pub(super) lives: u64,
    pub(super) strict: u64,
}

/// How a life goes on.
enum Then {
    OpenAgain,
    End,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x00c0_ffee);
        let climate = Climate::drawn(&mut rng);
        let roomy = rng.below(2) == 0;
        let keeps = if roomy && climate <= Climate::Breezy {
            Keeps::Everything
        } else {
            Keeps::WhatItLikes
        };
        let machine = SimFs::new(seed);
        Self {
            rng,
            climate,
            frame: Frame { roomy },
            older: machine.clone(),
            machine,
            judge: Judge::new(keeps),
            sky: SharedSky::default(),
            silence: false,
            op: 0,
            met: 0,
            said: vec![format!("{climate:?}, all fits: {roomy}")],
            lives: 0,
            strict: 0,
        }
    }

    /// What happened, line by line.
    pub(super) fn told(&self) -> String {
        self.said.join("\n")
    }

    pub(super) fn faults(&self) -> u64 {
        self.met + self.sky().met
    }

    pub(super) fn play(&mut self) -> Result<(), String> {
        for _ in 0..3 + self.rng.below(4) {
            let older = self.machine.process_crash();
            let Some((cache, mapped)) = self.open()? else {
                // Damaged beyond opening, which was said.
                return Ok(());
            };
            self.lives += 1;
            self.live(cache, mapped)?;
            self.strict = self.judge.strict;
            if self.climate == Climate::Dark && self.rng.below(2) == 0 {
                self.rot();
            }
            self.older = older;
        }
        Ok(())
    }

    fn say(&mut self, what: impl Into<String>) {
        self.said.push(what.into());
    }

    fn sky(&self) -> MutexGuard<'_, Sky> {
        self.sky.lock().expect("nothing panics under it")
    }

    /// A new process on the machine, with the weather as it is.
    fn boot(&mut self) -> FaultFs {
        let plan = plan(&self.sky, &self.machine, &self.judge.journal);
        FaultFs::new(Arc::new(self.machine.clone()), plan)
    }

    /// The process is gone, and the machine is what it left: also where it was taken in the middle, with a full disk.
    /// What was silent in its time has to be asked for at the next look.
    fn gone(&mut self) {
        let sky = std::mem::take(&mut *self.sky());
        self.met += sky.met;
        self.silence |= sky.silent;
        self.machine.set_syncs(Syncs::Work);
        self.machine.set_capacity(None);
    }

    /// Opens what is there, until it opens: some opens are cut short, or fail.
    fn open(&mut self) -> Result<Option<(Cache, bool)>, String> {
        for nth in 0.. {
            let last = nth >= OPENS;
            let silence = self.silence;
            if !last && self.rng.below(4) == 0 {
                self.worsen();
            }
            if !last && self.rng.below(4) == 0 {
                let calls = self.rng.below(60);
                self.sky().take_in(calls);
            }
            let (options, mapped) = options::drawn(&mut self.rng, self.frame);
            self.say(format!("open {options:?}"));
            let fs = self.boot();
            let opened = Cache::open_with(Arc::new(fs), DIR, options);
            let why = opened.as_ref().err().map(ToString::to_string);
            let opened = expected(opened)?;
            let taken = self.sky().taken.take();
            if let Some((machine, _)) = taken {
                drop(opened);
                self.machine = machine;
                self.gone();
                self.crash(true);
                continue;
            }
            let Some(cache) = opened else {
                let why = format!("it does not open: {}", why.unwrap_or_default());
                self.say(why.clone());
                let fair = self.sky().is_fair();
                self.gone();
                if last && fair {
                    return if self.silence { Ok(None) } else { Err(why) };
                }
                continue;
            };
            let stats = cache.stats();
            self.say(format!(
                "{} entries, {} replayed, {} holes, {} damaged, {} times all forgotten, {} evicted",
                stats.entries,
                stats.replayed,
                stats.holes,
                stats.damaged,
                stats.forgotten_all,
                stats.evicted
            ));
            self.note_evictions(&cache);
            let sky = &self.sky;
            let met = || sky.lock().expect("nothing panics under it").met > 0;
            self.judge.look_at_recovered(&cache, silence, met)?;
            // What was silent while it opened shows at the next look.
            self.silence = false;
            return Ok(Some((cache, mapped)));
        }
        Ok(None)
    }

    /// Deeds, until the life ends by itself or is ended.
    fn live(&mut self, mut cache: Cache, mut mapped: bool) -> Result<(), String> {
        if self.rng.below(3) == 0 {
            let calls = self.rng.below(120);
            self.sky().take_in(calls);
        }
        for _ in 0..4 + self.rng.below(40) {
            let known = self.judge.known();
            let deed = deed(&mut self.rng);
            self.say(format!("{}: {deed:?}", self.op + 1));
            let then = self.do_it(&cache, deed, mapped)?;
            let taken = self.sky().taken.take();
            if let Some((machine, oracle)) = taken {
                self.say("taken in its middle");
                let evicted = cache.stats().evicted > 0;
                drop(cache);
                self.machine = machine;
                self.gone();
                *self.judge.oracle() = oracle;
                if evicted {
                    self.judge.oracle().set_keeps(Keeps::WhatItLikes);
                }
                self.judge.take_back(known);
                self.crash(mapped);
                return Ok(());
            }
            self.note_evictions(&cache);
            if let Then::OpenAgain = then {
                drop(cache);
                self.gone();
                let Some(opened) = self.open()? else {
                    return Ok(());
                };
                (cache, mapped) = opened;
            }
        }
        self.judge.look(&cache)?;
        self.machine_of_a_killed(cache);
        self.crash(mapped);
        Ok(())
    }

    /// From now on absence is no loss.
    fn note_evictions(&mut self, cache: &Cache) {
        if cache.stats().evicted > 0 && self.judge.oracle().keeps() == Keeps::Everything {
            self.say("evicted");
            self.judge.oracle().set_keeps(Keeps::WhatItLikes);
        }
    }

    fn machine_of_a_killed(&mut self, cache: Cache) {
        let killed = self.machine.process_crash();
        // Its close goes to a machine that nobody looks at again.
        drop(cache);
        self.machine = killed;
        self.gone();
    }

    fn do_it(&mut self, cache: &Cache, deed: Deed, mapped: bool) -> Result<Then, String> {
        match deed {
            Deed::Worse => self.worsen(),
            Deed::Fair => {
                self.sky().clear_up();
                self.machine.set_syncs(Syncs::Work);
                self.machine.set_capacity(None);
            }
            Deed::Do(Step::Reopen) => {
                if expected(cache.clone().close())?.is_some() {
                    self.judge.all_durable();
                } else if !mapped {
                    // A close that fails leaves what a kill does.
                    self.judge.oracle().power_was_lost();
                }
                return Ok(Then::OpenAgain);
            }
            _ => {
                self.op += 1;
                let capacity_bytes = self.capacity();
                let mut life = Life {
                    cache,
                    judge: &mut self.judge,
                    op: self.op,
                    capacity_bytes,
                };
                life.do_it(deed)?;
                self.note_evictions(cache);
                if self.rng.below(4) == 0 {
                    self.judge.look(cache)?;
                }
            }
        }
        Ok(Then::End)
    }

    fn capacity(&mut self) -> u64 {
        let kib = if self.frame.roomy {
            [768, 1024][pick(&mut self.rng, 2)]
        } else {
            [96, 112, 128][pick(&mut self.rng, 3)]
        };
        kib << 10
    }

    fn worsen(&mut self) {
        let (climate, which) = (self.climate, self.rng.below(8));
        match which {
            0 if climate >= Climate::Stormy => {
                let shows = [Shows::New, Shows::Old][pick(&mut self.rng, 2)];
                let good = self.rng.below(6);
                self.machine.set_syncs(Syncs::FailOnceAfter(good, shows));
                self.say(format!("sync {good} from now fails, {shows:?}"));
            }
            1 if climate >= Climate::Stormy => {
                let more = self.rng.below(20_000);
                let there = self.machine.total_bytes(Path::new(DIR));
                self.machine.set_capacity(Some(there + more));
                self.say(format!("{more} bytes are left on the disk"));
            }
            _ => {
                let mut sky = self.sky.lock().expect("nothing panics under it");
                let front = sky.worsen(climate, &mut self.rng);
                drop(sky);
                self.say(front);
            }
        }
    }

    /// Killed, or without power.
    fn crash(&mut self, mapped: bool) {
        if self.rng.below(2) == 0 {
            let seed = self.rng.below(1 << 20);
            self.say(format!("power lost, seed {seed}"));
            self.machine = self.machine.power_loss(seed);
            self.judge.oracle().power_was_lost();
        } else {
            self.say("killed");
            self.machine = self.machine.process_crash();
            if !mapped {
                self.judge.oracle().power_was_lost();
            }
        }
    }

    /// Damage at rest, which nobody is told of.
    fn rot(&mut self) {
        for _ in 0..1 + self.rng.below(2) {
            let names = self.machine.file_names(Path::new(DIR));
            let name = &names[pick(&mut self.rng, names.len() as u64)];
            let path = PathBuf::from(DIR).join(name);
            let len = self.machine.read_file(&path).map_or(0, |bytes| bytes.len());
            let sectors = (len / 512) as u64;
            if sectors == 0 {
                continue;
            }
            let at = pick(&mut self.rng, sectors) * 512;
            let which = self.rng.below(4);
            let bit = u32::try_from(self.rng.below(8)).expect("below eight");
            let rotted = match which {
                0 => self.machine.zero(&path, at, 512),
                1 => self.machine.revert(&path, &self.older, at, 512),
                2 => {
                    let from = pick(&mut self.rng, sectors) * 512;
                    self.machine.copy_part((&path, from), (&path, at), 512)
                }
                _ => self
                    .machine
                    .flip_bit(&path, at as u64 + self.rng.below(512), bit),
            };
            if rotted {
                self.met += 1;
                self.silence = true;
                let what = ["zeroed", "as it was", "from elsewhere", "rotten"];
                let what = what[usize::try_from(which).expect("below four")];
                self.say(format!("{}, sector at {at}: {what}", path.display()));
            }
        }
    }
}
