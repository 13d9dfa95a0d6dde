//! `perennial stat --watch`: the same again and again, and how fast the log grows.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;

use super::{Stat, Summary};
use crate::call::Call;
use crate::clock::Stopwatch;
use crate::duration::Span;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::size::ByteSize;

/// Without `--every`.
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Again and again, until Ctrl-C: in place on a terminal, else a line each time.
    #[arg(long)]
    watch: bool,
    /// How long from one time to the next, such as 500ms. Default: 1s.
    #[arg(
        long,
        value_name = "TIME",
        requires = "watch",
        allow_hyphen_values = true
    )]
    every: Option<Span>,
    /// End after so many times. Default: never.
    #[arg(long, value_name = "N", requires = "watch", allow_hyphen_values = true, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
}

impl Watch {
    pub(super) fn is_wanted(&self) -> bool {
        self.watch
    }
}

/// A look, and what came to the log since the one before.
#[derive(Debug, Serialize)]
struct Round {
    #[serde(flatten)]
    summary: Summary,
    /// In the time from the look before to this one; none at the first.
    logged_bytes_per_s: Option<u64>,
}

pub(super) fn run(args: &Stat, call: &Call<'_>) -> Result<Exit, Failure> {
    let every = args.watch.every.map_or(SECOND, |span| span.0);
    let mut screen = Screen::default();
    let mut before: Option<(u64, Stopwatch)> = None;
    let mut round = 0;
    loop {
        let summary = super::look(args, call)?;
        let now = (summary.stable, Stopwatch::start());
        let logged = before.map(|(stable, since)| {
            per_second(summary.stable.saturating_sub(stable), since.elapsed())
        });
        before = Some(now);
        screen.show(
            args.json,
            &Round {
                summary,
                logged_bytes_per_s: logged,
            },
        )?;
        round += 1;
        if args.watch.rounds == Some(round) {
            return Ok(Exit::Fine);
        }
        std::thread::sleep(every);
    }
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    let ms = time.as_millis().max(1);
    u64::try_from(u128::from(bytes) * 1000 / ms).unwrap_or(u64::MAX)
}

/// What of the look before is on the terminal.
#[derive(Default)]
struct Screen {
    lines: usize,
}

impl Screen {
    fn show(&mut self, json: bool, round: &Round) -> Result<(), Failure> {
        if json {
            return output::json(round);
        }
        if !io::stdout().is_terminal() {
            return output::line(round);
        }
        let text = format!("{}\n{}", round.summary, round.growth());
        if self.lines > 0 {
            // Up to where the last one began, and what is there goes.
            write!(io::stdout(), "\x1b[{}A\x1b[J", self.lines).map_err(Failure::output)?;
        }
        self.lines = text.lines().count();
        output::line(text)
    }
}

impl Round {
    fn growth(&self) -> String {
        let stable = self.summary.stable;
        match self.logged_bytes_per_s {
            None => format!("log stable to {stable:#x}"),
            Some(bytes) => format!("log stable to {stable:#x}, {}/s", ByteSize(bytes)),
        }
    }
}

/// One line.
impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = &self.summary;
        write!(
            f,
            "{}; {} frames, {}; files take {} of {}; newest checkpoint: {} entries",
            self.growth(),
            summary.frames,
            ByteSize(summary.frame_bytes),
            ByteSize(summary.file_bytes),
            ByteSize(summary.capacity_bytes),
            summary.checkpoint_entries.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_bytes_in_a_second() {
        assert_eq!(per_second(3 << 20, Duration::from_secs(3)), 1 << 20);
        assert_eq!(per_second(500, Duration::from_millis(500)), 1000);
        assert_eq!(per_second(7, Duration::ZERO), 7000);
        assert_eq!(per_second(u64::MAX, Duration::ZERO), u64::MAX);
    }
}
