//! The process that is killed: does what its scripts say and tells its parent, until it is gone.

use std::fs::File;
use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use perennial::{Cache, Inserted};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::input::{Input, Reader};
use super::script::{Action, Script, Step};
use super::stamp::{self, Stamp};
use super::wire::{self, Message, Op};
use crate::exit::Exit;
use crate::failure::Failure;

/// How many operations of a worker go by between two looks at the cache's counters.
const OPS_PER_LOOK: usize = 256;

/// One line of JSON on stdin; the [`Input`] is the next.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) cache: PathBuf,
    pub(super) capacity_bytes: u64,
    pub(super) seed: u64,
    pub(super) next_number: u64,
    /// Where each worker goes on; there are as many workers.
    pub(super) positions: Vec<u64>,
    /// After how many acknowledged bytes to stop.
    pub(super) limit_bytes: u64,
    pub(super) ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// At the limit, close the cache and end.
    Close,
    /// At the limit, wait for death.
    Killed,
}

pub(crate) fn run() -> Result<Exit, Failure> {
    let mut stdin = io::stdin().lock();
    let orders: Orders = next_line(&mut stdin)?;
    let input: Input = next_line(&mut stdin)?;
    // A handle of its own: what goes through `io::stdout` is split at line ends.
    let pipe: File = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map_err(Failure::Pipe)?
        .into();

    let cache = Cache::open(&orders.cache, super::options(orders.capacity_bytes))?;
    tell(&pipe, Message::Opened)?;
    Crew::new(&orders, &input, &cache, &pipe).work()?;
    if orders.ending == Ending::Killed {
        // The parent never writes again: this ends with one of the two.
        io::copy(&mut stdin, &mut io::sink()).map_err(Failure::Pipe)?;
        return Ok(Exit::Failed);
    }
    tell(&pipe, Message::Evicted(cache.stats().evicted))?;
    cache.close()?;
    tell(&pipe, Message::Closed)?;
    Ok(Exit::Fine)
}

fn next_line<T: DeserializeOwned>(stdin: &mut impl BufRead) -> Result<T, Failure> {
    let mut line = String::new();
    stdin.read_line(&mut line).map_err(Failure::Pipe)?;
    Ok(serde_json::from_str(&line)?)
}

fn tell(mut pipe: &File, message: Message) -> Result<(), Failure> {
    wire::send(&mut pipe, message).map_err(Failure::Pipe)
}

/// What the workers share.
struct Crew<'a> {
    orders: &'a Orders,
    input: &'a Input,
    cache: &'a Cache,
    pipe: &'a File,
    next_number: AtomicU64,
    acked_bytes: AtomicU64,
    failed: AtomicBool,
}

impl<'a> Crew<'a> {
    fn new(orders: &'a Orders, input: &'a Input, cache: &'a Cache, pipe: &'a File) -> Self {
        let next_number = AtomicU64::new(orders.next_number);
        let (acked_bytes, failed) = (AtomicU64::new(0), AtomicBool::new(false));
        Self {
            orders,
            input,
            cache,
            pipe,
            next_number,
            acked_bytes,
            failed,
        }
    }

    fn work(&self) -> Result<(), Failure> {
        let workers = self.orders.positions.len() as u64;
        let scripts = (0..)
            .zip(&self.orders.positions)
            .map(|(worker, &position)| {
                Script::new(
                    self.orders.seed,
                    worker,
                    workers,
                    self.input.keys(),
                    position,
                )
            });
        thread::scope(|scope| {
            let hands: Vec<_> = scripts
                .map(|script| scope.spawn(|| self.follow(script)))
                .collect();
            hands
                .into_iter()
                .try_for_each(|hand| hand.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    fn follow(&self, script: Script) -> Result<(), Failure> {
        let done = self.follow_to_the_end(script);
        if done.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        done
    }

    fn is_over(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
            || self.acked_bytes.load(Ordering::Relaxed) >= self.orders.limit_bytes
    }

    fn follow_to_the_end(&self, mut script: Script) -> Result<(), Failure> {
        let mut hand = Hand {
            files: self.input.reader(),
            value: Vec::new(),
            skipped: 0,
        };
        for count in 1.. {
            let Some(step) = script.next().filter(|_| !self.is_over()) else {
                break;
            };
            let bytes = self.perform(&mut hand, step, script.pass())?;
            self.acked_bytes.fetch_add(bytes, Ordering::Relaxed);
            if count % OPS_PER_LOOK == 0 {
                tell(self.pipe, Message::Evicted(self.cache.stats().evicted))?;
            }
        }
        Ok(())
    }

    /// The bytes that were put.
    fn perform(&self, hand: &mut Hand<'_>, step: Step, pass: u64) -> Result<u64, Failure> {
        let key = self.input.key(step.key);
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let op = Op { number, step };
        if step.action == Action::Remove {
            tell(self.pipe, Message::Begin(op))?;
            if step.durable {
                self.cache.remove_durable(&key)?
            } else {
                self.cache.remove(&key)?
            }
            tell(self.pipe, Message::Done(op))?;
            return Ok(0);
        }
        let Some(block) = hand.files.read(step.key) else {
            return hand.skip(self.input);
        };
        hand.skipped = 0;
        stamp::write(&mut hand.value, &key, Stamp { pass, op: number }, block);
        tell(self.pipe, Message::Begin(op))?;
        let value = &hand.value;
        let inserted = if step.durable {
            self.cache.insert_durable(&key, value)?
        } else {
            self.cache.insert(&key, value)?
        };
        match inserted {
            Inserted::Stored => tell(self.pipe, Message::Done(op))?,
            // A rejection; if there ever is something else that keeps the entry, the judge will say so.
            other => {
                tracing::debug!(?other, number, "rejected");
                tell(self.pipe, Message::Rejected(op))?;
            }
        }
        Ok(value.len() as u64)
    }
}

/// What a worker has for itself.
struct Hand<'a> {
    files: Reader<'a>,
    value: Vec<u8>,
    /// Inserts in a row whose file has changed.
    skipped: u32,
}

impl Hand<'_> {
    fn skip(&mut self, input: &Input) -> Result<u64, Failure> {
        self.skipped += 1;
        if self.skipped > 2 * input.keys() {
            Err(Failure::NothingToCache(input.root().to_owned()))
        } else {
            Ok(0)
        }
    }
}
