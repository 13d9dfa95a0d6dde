//! `perennial-bench churn`: many times its capacity goes through a cache, in many lives, half of which are killed.
//!
//! ```text
//!   churn ──▶ life 1 ─ done, "ok" ─▶ life 2 ─ done, goes on ─ SIGKILL ─▶ life 3 ─ ... each a process, on one directory
//! ```

mod life;

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::Serialize;

pub(crate) use life::run as run_life;

use crate::args::Churn;
use crate::failure::Failure;
use crate::report::ratio;
use life::Told;

/// RSS may grow by so much from the first tenth to the last.
const MOST_RSS: f64 = 1.05;
/// Points of hit ratio between the second tenth and the last.
const MOST_POINTS: f64 = 1.0;

/// What a tenth of the lives came to.
#[derive(Debug, Default, Serialize)]
struct Tenth {
    tenth: u64,
    lives: u64,
    requests: u64,
    hits: u64,
    hit_ratio: f64,
    inserted_bytes: u64,
    /// The mean of its lives, at their ends.
    rss_bytes: u64,
    /// The longest open.
    open_ms: u64,
}

pub(crate) fn run(args: &Churn) -> Result<(), Failure> {
    let temporary = tempfile::tempdir().map_err(Failure::Temporary)?;
    let dir = args.dir.as_deref().unwrap_or(temporary.path());
    let mut tenths: Vec<Tenth> = Vec::new();
    for number in 0..args.restarts {
        let told = play_life(args, dir, number)?;
        let tenth = number * 10 / args.restarts + 1;
        if tenths.last().is_none_or(|last| last.tenth != tenth) {
            tenths.last().map_or(Ok(()), |done| print(args, done))?;
            tenths.push(Tenth {
                tenth,
                ..Tenth::default()
            });
        }
        if let Some(last) = tenths.last_mut() {
            last.add(&told);
        }
    }
    tenths.last().map_or(Ok(()), |done| print(args, done))?;
    // Before the cache is full once there is nothing to compare with.
    if args.times >= 20 {
        judge(&tenths)
    } else {
        Ok(())
    }
}

impl Tenth {
    fn add(&mut self, told: &Told) {
        self.rss_bytes = (self.rss_bytes * self.lives + told.rss_bytes) / (self.lives + 1);
        self.lives += 1;
        self.requests += told.requests;
        self.hits += told.hits;
        self.hit_ratio = ratio(self.hits, self.requests);
        self.inserted_bytes += told.inserted_bytes;
        self.open_ms = self.open_ms.max(told.open_ms);
    }
}

fn print(args: &Churn, tenth: &Tenth) -> Result<(), Failure> {
    let line = if args.json {
        serde_json::to_string(tenth)?
    } else {
        format!(
            "tenth {}: {} lives, hit ratio {:.4}, {} MiB inserted, RSS {} MiB, longest open {} ms",
            tenth.tenth,
            tenth.lives,
            tenth.hit_ratio,
            tenth.inserted_bytes >> 20,
            tenth.rss_bytes >> 20,
            tenth.open_ms
        )
    };
    writeln!(io::stdout(), "{line}").map_err(Failure::Output)
}

/// The second one: in the first the cache fills.
fn judge(tenths: &[Tenth]) -> Result<(), Failure> {
    let [first, second, .., last] = tenths else {
        return Ok(());
    };
    let grown = ratio(last.rss_bytes, first.rss_bytes);
    if grown > MOST_RSS {
        return Err(Failure::Churn(format!(
            "RSS grew from {} to {} bytes",
            first.rss_bytes, last.rss_bytes
        )));
    }
    let points = 100.0 * (last.hit_ratio - second.hit_ratio).abs();
    if points > MOST_POINTS {
        return Err(Failure::Churn(format!(
            "the hit ratio of the last tenth is {points:.2} points from the second's"
        )));
    }
    Ok(())
}

/// A life in a process of its own; every second one is killed once it has done its share.
fn play_life(args: &Churn, dir: &Path, number: u64) -> Result<Told, Failure> {
    let killed = number % 2 == 1;
    let bytes = args.capacity * args.times / args.restarts;
    let own = std::env::current_exe().map_err(Failure::Process)?;
    let mut command = Command::new(own);
    command.arg("life").arg(dir);
    command.args([args.capacity, number, bytes].map(|n| n.to_string()));
    if killed {
        command.arg("--until-killed");
    }
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Failure::Process)?;
    let told = child.stdout.take().map(listen);
    end(&mut child, killed)?;
    let lives = || Failure::Churn(format!("life {number} ended without a word"));
    told.and_then(Result::ok).ok_or_else(lives)
}

/// What the life says once it has done its share.
fn listen(from: ChildStdout) -> Result<Told, Failure> {
    let mut line = String::new();
    BufReader::new(from)
        .read_line(&mut line)
        .map_err(Failure::Process)?;
    Ok(serde_json::from_str(&line)?)
}

fn end(child: &mut Child, killed: bool) -> Result<(), Failure> {
    if killed {
        child.kill().map_err(Failure::Process)?;
    }
    let status = child.wait().map_err(Failure::Process)?;
    if killed || status.success() {
        return Ok(());
    }
    Err(Failure::Churn(format!("a life failed: {status}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenth(hits: u64, rss_bytes: u64) -> Tenth {
        let mut tenth = Tenth::default();
        tenth.add(&Told {
            requests: 1000,
            hits,
            inserted_bytes: 1,
            rss_bytes,
            open_ms: 1,
        });
        tenth
    }

    #[test]
    fn growth_and_a_falling_hit_ratio_are_told() {
        let of = |hits, rss| judge(&[tenth(10, 100), tenth(500, 100), tenth(hits, rss)]);
        assert!(of(505, 104).is_ok());
        assert!(of(505, 106).unwrap_err().to_string().contains("RSS"));
        assert!(of(480, 100).unwrap_err().to_string().contains("points"));
    }
}
