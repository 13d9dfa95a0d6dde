//! The parent's side of one child: gives it its orders, hears what it did, kills it.

use std::io::{self, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use super::child::{Ending, Orders};
use super::input::Input;
use super::script::Action;
use super::stamp::STAMP_BYTES;
use super::wire::{self, Message};
use crate::args::Verbosity;
use crate::clock::Stopwatch;
use crate::failure::Failure;

/// When the child is killed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    /// As soon as it has put this much ...
    pub(super) acked_bytes: u64,
    /// ... and then a moment later, whatever it is doing by then.
    pub(super) delay: Duration,
}

/// What a child did while it lived.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Deeds {
    pub(super) ops: u64,
    /// Inserts that the cache returned from and chose not to keep.
    pub(super) rejected: u64,
    pub(super) acked_bytes: u64,
    pub(super) evicted: u64,
    /// From the open cache to the end.
    pub(super) time: Duration,
}

impl Deeds {
    /// Counts bytes as the child does, or the two would wait for each other.
    fn count(&mut self, message: Message, input: &Input) {
        match message {
            Message::Done(op) | Message::Rejected(op) => {
                self.ops += 1;
                self.rejected += u64::from(matches!(message, Message::Rejected(_)));
                if op.step.action == Action::Insert {
                    self.acked_bytes += input.block_bytes(op.step.key) + STAMP_BYTES as u64;
                }
            }
            Message::Evicted(entries) => self.evicted = self.evicted.max(entries),
            Message::Opened | Message::Begin(_) | Message::Closed => {}
        }
    }
}

pub(super) struct Life {
    child: Child,
    /// Kept open: the child ends when it closes, should this process die first.
    stdin: Option<ChildStdin>,
}

impl Life {
    pub(super) fn start(
        orders: &Orders,
        input: &Input,
        verbosity: Verbosity,
    ) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe().map_err(Failure::Start)?)
            .arg("demo-child")
            .args(verbosity.quiet.then_some("-q"))
            .args((0..verbosity.verbose).map(|_| "-v"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::Start)?;
        let stdin = child.stdin.take();
        let mut life = Self { child, stdin };
        let mut text = serde_json::to_vec(orders)?;
        text.push(b'\n');
        serde_json::to_writer(&mut text, input)?;
        text.push(b'\n');
        match life
            .stdin
            .as_mut()
            .map_or(Ok(()), |stdin| stdin.write_all(&text))
        {
            Ok(()) => Ok(life),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(Failure::ChildEnded(life.wait()?))
            }
            Err(error) => Err(Failure::Pipe(error)),
        }
    }

    /// Hears the child out. Without a `fate` it must close its cache and end by itself.
    pub(super) fn run(
        mut self,
        input: &Input,
        fate: Option<Fate>,
        mut hear: impl FnMut(Message),
    ) -> Result<Deeds, Failure> {
        let Some(stdout) = self.child.stdout.take() else {
            return Ok(Deeds::default());
        };
        let mut pipe = BufReader::new(stdout);
        let mut deeds = Deeds::default();
        let mut watch = Stopwatch::start();
        let mut ending = None;
        while let Some(message) = wire::receive(&mut pipe)? {
            hear(message);
            deeds.count(message, input);
            match message {
                Message::Opened => watch = Stopwatch::start(),
                Message::Closed => ending = Some(Ending::Close),
                _ => {}
            }
            // What it said before it died is still in the pipe: the loop goes on to the end of it.
            if ending.is_none()
                && let Some(fate) = fate.filter(|fate| deeds.acked_bytes >= fate.acked_bytes)
            {
                thread::sleep(fate.delay);
                self.child.kill().map_err(Failure::Start)?;
                deeds.time = watch.elapsed();
                ending = Some(Ending::Killed);
            }
        }
        if ending != Some(Ending::Killed) {
            deeds.time = watch.elapsed();
        }
        let status = self.wait()?;
        let expected = if fate.is_some() {
            Ending::Killed
        } else {
            Ending::Close
        };
        let ended_itself = status.code().is_some_and(|code| code != 0);
        if ending == Some(expected) && !ended_itself {
            Ok(deeds)
        } else {
            Err(Failure::ChildEnded(status))
        }
    }

    fn wait(&mut self) -> Result<ExitStatus, Failure> {
        self.child.wait().map_err(Failure::Start)
    }
}

impl Drop for Life {
    /// No child outlives its parent's interest; a child that has ended is not hurt.
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            tracing::warn!(%error, "the demo's child could not be ended");
        }
    }
}
