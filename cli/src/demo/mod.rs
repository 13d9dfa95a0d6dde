//! `perennial demo`: is the cache still warm after a crash?
//!
//! ```text
//!   parent                               child, the process that is killed
//!   orders, list of files  --stdin-->    opens the cache, caches the files over and over
//!   ledger                <--stdout--    "begin 17", call, "done 17", ...        (wire)
//!   SIGKILL                ------->      +
//!   opens the cache, asks for every key, compares with the ledger and the files  (judge)
//!   closes, next life
//! ```
//! A message is written after the call returned, so what the parent has heard of is acknowledged; one is written
//! before it, so an operation under way is known, and either outcome is right.

pub(crate) mod child;
mod input;
mod judge;
mod ledger;
mod life;
mod place;
mod report;
mod script;
mod stamp;
mod wire;

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use perennial::{Cache, Options};

use self::child::{Ending, Orders};
use self::input::Input;
use self::ledger::Ledger;
use self::life::{Fate, Life};
use self::place::Place;
use self::report::{Report, Row};
use crate::args::{self, Verbosity};
use crate::clock::Stopwatch;
use crate::dice::{self, Dice};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::size::ByteSize;

const WORKERS: usize = 4;

/// How far a child may run ahead of the parent that is about to kill it.
const AHEAD_BYTES: u64 = 16 << 20;

/// Room for what a life leaves half filled.
const SLACK_BYTES: u64 = 128 << 20;

const KILL_DELAY_US_MAX: u64 = 3_000;

pub(crate) fn run(args: &args::Demo, verbosity: Verbosity) -> Result<Exit, Failure> {
    let place = Place::prepare(args.cache.as_deref())?;
    let input = gather(args)?;
    let report = Demo::new(args, verbosity, &place, &input).run()?;
    place.clear()?;
    if args.json {
        if !verbosity.quiet {
            output::note(&report);
        }
        output::json(&report.summary())?;
    } else {
        output::line(&report)?;
    }
    Ok(if report.is_clean() {
        Exit::Fine
    } else {
        Exit::Failed
    })
}

/// Half of what is written, so that the walk through the files comes round.
fn gather(args: &args::Demo) -> Result<Input, Failure> {
    let limit_bytes = args.bytes.0.div_ceil(2);
    if let Some(root) = &args.from {
        return Input::gather(root, limit_bytes);
    }
    let mut gathered = Err(Failure::NothingToCache(".".into()));
    for root in input::default_roots() {
        gathered = Input::gather(&root, limit_bytes);
        if gathered.is_ok() {
            break;
        }
    }
    gathered
}

/// Parent and child open the cache the same way.
fn options(capacity_bytes: u64) -> Options {
    Options::new().capacity_bytes(capacity_bytes)
}

/// So much that nothing has to be evicted, even if every life wrote all it may and nothing were ever reclaimed.
fn capacity_bytes(args: &args::Demo, input: &Input) -> u64 {
    let written = input.bytes().saturating_add(args.bytes.0).saturating_mul(2);
    let per_life = SLACK_BYTES + 2 * AHEAD_BYTES;
    written
        .saturating_add((u64::from(args.lives) + 1) * per_life)
        .max(256 << 20)
}

struct Demo<'a> {
    args: &'a args::Demo,
    verbosity: Verbosity,
    place: &'a Place,
    input: &'a Input,
    ledger: Ledger,
    capacity_bytes: u64,
    seed: u64,
    left_bytes: u64,
    progress: ProgressBar,
}

impl<'a> Demo<'a> {
    fn new(args: &'a args::Demo, verbosity: Verbosity, place: &'a Place, input: &'a Input) -> Self {
        let demo = Self {
            args,
            verbosity,
            place,
            input,
            ledger: Ledger::new(input.keys(), WORKERS),
            capacity_bytes: capacity_bytes(args, input),
            seed: args.seed.unwrap_or_else(dice::any_seed),
            left_bytes: args.bytes.0,
            progress: progress(args.bytes, verbosity),
        };
        if !verbosity.quiet {
            demo.introduce();
        }
        demo
    }

    fn introduce(&self) {
        output::note(format_args!(
            "Caching {} files ({}, {} keys) from {}, {} over {} lives, seed {}.",
            self.input.files(),
            ByteSize(self.input.bytes()),
            self.input.keys(),
            self.input.root().display(),
            self.args.bytes,
            self.args.lives,
            self.seed,
        ));
    }

    fn run(mut self) -> Result<Report, Failure> {
        let mut report = Report::default();
        for life in 0..self.args.lives {
            report.0.push(self.live(life, Ending::Killed)?);
        }
        report.0.push(self.live(self.args.lives, Ending::Close)?);
        self.progress.finish_and_clear();
        Ok(report)
    }

    /// One child from its start to its end, and what the cache then knows.
    fn live(&mut self, life: u32, ending: Ending) -> Result<Row, Failure> {
        let mut dice = Dice::new(self.seed, u64::from(life) << 32);
        let share_bytes = self.share(life, ending, &mut dice);
        let fate = (ending == Ending::Killed).then(|| Fate {
            acked_bytes: share_bytes,
            delay: Duration::from_micros(dice.below(KILL_DELAY_US_MAX)),
        });
        let orders = Orders {
            cache: self.place.path().to_owned(),
            capacity_bytes: self.capacity_bytes,
            seed: dice.below(u64::MAX),
            next_number: self.ledger.next_number(),
            positions: self.ledger.positions().to_vec(),
            limit_bytes: if fate.is_some() {
                share_bytes + AHEAD_BYTES
            } else {
                share_bytes
            },
            ending,
        };

        self.progress.set_message(format!("life {}", life + 1));
        let (ledger, progress, input) = (&mut self.ledger, &self.progress, self.input);
        let deeds = Life::start(&orders, input, self.verbosity)?.run(input, fate, |message| {
            ledger.hear(message);
            if let wire::Message::Done(op) = message {
                progress.inc(input.block_bytes(op.step.key));
            }
        })?;
        self.left_bytes = self.left_bytes.saturating_sub(deeds.acked_bytes);

        self.progress
            .set_message(format!("comparing life {}", life + 1));
        let watch = Stopwatch::start();
        let cache = Cache::open(self.place.path(), options(self.capacity_bytes))?;
        let open = watch.elapsed();
        let tally = judge::compare(input, &mut self.ledger, |key| cache.get(key))?;
        let evicted = deeds.evicted + cache.stats().evicted;
        cache.close()?;
        Ok(Row {
            ending,
            deeds,
            open,
            evicted,
            tally,
        })
    }

    /// What is left, shared among the lives to come: half to one and a half times the mean, all of it for the last.
    fn share(&self, life: u32, ending: Ending, dice: &mut Dice) -> u64 {
        let mean = self.left_bytes / u64::from(self.args.lives - life + 1);
        let share_bytes = match ending {
            Ending::Killed => mean / 2 + dice.below(mean),
            Ending::Close => self.left_bytes,
        };
        share_bytes.max(1)
    }
}

fn progress(bytes: ByteSize, verbosity: Verbosity) -> ProgressBar {
    if verbosity.quiet {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {bytes:>11} of {total_bytes}  {msg}");
    // Drawn on stderr, and only on a terminal.
    ProgressBar::new(bytes.0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
