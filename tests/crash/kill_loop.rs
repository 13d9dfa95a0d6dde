//! Many lives of one directory, each ended by SIGKILL at a random moment.
//!
//! Two kinds of directories: one where everything fits, so that nothing may be absent, and a tiny one that evicts all
//! the time, where entries may be absent but never stale, resurrected or wrong. After some kills nobody looks: the next
//! child opens what the dead one left, and may be killed while it does.

use std::path::Path;
use std::thread;
use std::time::Duration;

use perennial::{Cache, Options};

use crate::directory::{Scratch, bytes_in, copy, text};
use crate::pipe::{Message, Pipe};
use crate::process::{Child, give_up};
use crate::random::Random;
use crate::witness::Witness;
use crate::worker::{Style, Worker};
use crate::{Outcome, Settings};

const THREADS: u8 = 4;
/// Lives of one directory.
const GENERATION: u32 = 20;
/// A life ends after at most so long, in microseconds.
const LONGEST_US: u64 = 40_000;

/// One kind of directory.
#[derive(Debug, Clone, Copy)]
struct Kind {
    evicting: bool,
    capacity: u64,
    segment: u64,
    tails: [u64; 2],
    style: Style,
}

const ROOMY: Kind = Kind {
    evicting: false,
    capacity: 64 << 20,
    segment: 16 << 10,
    tails: [16 << 10, 256 << 10],
    style: Style {
        evicting: false,
        max_len: 10_000,
        plain: false,
        budget: 300 << 10,
    },
};

const TINY: Kind = Kind {
    evicting: true,
    capacity: 160 << 10,
    segment: 8 << 10,
    tails: [4 << 10, 16 << 10],
    style: Style {
        evicting: true,
        max_len: 4_000,
        plain: false,
        budget: u64::MAX,
    },
};

impl Kind {
    /// Options of one life: what may differ from life to life does.
    fn options(&self, seed: u64) -> Options {
        let mut random = Random::new(seed);
        Options::new()
            .capacity_bytes(self.capacity)
            .segment_bytes(self.segment)
            .tail_bytes(random.pick(&self.tails))
            .index_shards(random.pick(&[1, 4]))
            .memory_tier_bytes(random.pick(&[0, 64 << 10]))
            .checkpoint_every_bytes(random.pick(&[16 << 10, 256 << 10]))
    }
}

/// What all lives together did.
#[derive(Debug, Default)]
struct Totals {
    lives: u64,
    opens: u64,
    returned: u64,
    interrupted: u64,
    holes: u64,
}

pub(crate) fn scenario(settings: &Settings) -> Outcome {
    let mut totals = Totals::default();
    for generation in 0..settings.lives.div_ceil(GENERATION) {
        let lives = GENERATION.min(settings.lives - generation * GENERATION);
        let kind = if generation % 2 == 0 { ROOMY } else { TINY };
        let seed = settings.seed.wrapping_add(u64::from(generation) << 40);
        run_generation(kind, lives, seed, &mut totals)
            .map_err(|why| format!("seed {}, generation {generation}: {why}", settings.seed))?;
    }
    let Totals {
        lives,
        opens,
        returned,
        interrupted,
        holes,
    } = totals;
    Ok(format!(
        "{lives} lives, {opens} looked into, {returned} operations returned, {interrupted} interrupted, {holes} holes"
    ))
}

fn run_generation(kind: Kind, lives: u32, seed: u64, totals: &mut Totals) -> Result<(), String> {
    let scratch = Scratch::new();
    let mut generation = Generation {
        kind,
        witness: Witness::new(kind.evicting),
        random: Random::new(seed),
        seed,
    };
    for life in 1..=u64::from(lives) {
        let lived = generation.live_and_die(&scratch.cache(), life, lives, totals);
        if let Err(why) = lived {
            return Err(scratch.keep(&format!("life {life}: {why}")));
        }
    }
    totals.lives += u64::from(lives);
    totals.returned += generation.witness.returned;
    totals.interrupted += generation.witness.interrupted;
    Ok(())
}

struct Generation {
    kind: Kind,
    witness: Witness,
    random: Random,
    seed: u64,
}

impl Generation {
    fn live_and_die(
        &mut self,
        dir: &Path,
        life: u64,
        lives: u32,
        totals: &mut Totals,
    ) -> Result<(), String> {
        let kind = if self.kind.evicting { "tiny" } else { "roomy" };
        let arguments = [
            text(dir),
            kind.into(),
            self.seed.to_string(),
            life.to_string(),
        ];
        let child = Child::start("kill_loop", &arguments);
        // One in four may die while it opens the cache.
        if !self.random.one_in(4) {
            self.witness.hear_all(child.until_ready()?)?;
        }
        thread::sleep(Duration::from_micros(self.random.below(LONGEST_US)));
        self.witness.hear_all(child.kill()?)?;
        self.witness.died();
        self.check_bytes(dir)?;
        if life == u64::from(lives) || !self.random.one_in(3) {
            totals.opens += 1;
            totals.holes += self.look(dir, life)?;
        }
        Ok(())
    }

    /// Opens what was left and asks for every key. Returns how many holes there were.
    fn look(&mut self, dir: &Path, life: u64) -> Result<u64, String> {
        let options = self.kind.options(self.seed ^ life);
        // What a failure is to be understood from.
        let before = dir.with_file_name("before");
        let _ = std::fs::remove_dir_all(&before);
        copy(dir, &before);
        let cache = Cache::open(dir, options).map_err(|e| format!("open: {e}"))?;
        self.check_bytes(dir)?;
        self.witness.check(&cache)?;
        let holes = cache.stats().holes;
        cache.close().map_err(|e| format!("close: {e}"))?;
        self.check_bytes(dir)?;
        Ok(holes)
    }

    fn check_bytes(&self, dir: &Path) -> Result<(), String> {
        let bytes = bytes_in(dir);
        let most = self.kind.capacity + self.kind.segment;
        if bytes > most {
            return Err(format!("{bytes} bytes on disk, at most {most}"));
        }
        Ok(())
    }
}

pub(crate) fn child(pipe: &Pipe, arguments: &[String]) -> Result<(), String> {
    let [dir, kind, seed, life] = arguments else {
        return Err("directory, kind, seed, life".into());
    };
    let kind = if kind == "tiny" { TINY } else { ROOMY };
    let (seed, life): (u64, u64) = (seed.parse().unwrap(), life.parse().unwrap());
    let cache = Cache::open(dir, kind.options(seed ^ life)).map_err(|e| format!("open: {e}"))?;
    let style = Style {
        plain: Random::new(seed ^ life).one_in(2),
        ..kind.style
    };
    pipe.say(Message::ready());
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let mut worker = Worker::new(&cache, pipe, thread, style, life, seed);
            let cache = &cache;
            scope.spawn(move || {
                if let Err(why) = worker.look_around() {
                    give_up(&why);
                }
                loop {
                    if let Err(why) = worker.step() {
                        give_up(&why);
                    }
                    if cache.stats().evicted > 0 && !kind.evicting {
                        give_up("evicted though there is room");
                    }
                }
            });
        }
    });
    Ok(())
}
