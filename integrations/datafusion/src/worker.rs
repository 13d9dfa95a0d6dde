//! The same program as a child that queries: started, asked, killed.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::Failure;
use crate::place::Place;

/// The child's first argument; the directory of the cache is the second, or there is none.
pub(crate) const QUERY: &str = "query";

/// What came back.
pub(crate) struct Answer {
    pub(crate) took: Duration,
    pub(crate) rows: String,
}

/// As a line, which the child writes.
pub(crate) fn answer(took: Duration, rows: &str) -> String {
    format!("{} {}", took.as_micros(), rows.replace('\n', "\\n"))
}

fn read(line: &str) -> Result<Answer, Failure> {
    let (micros, rows) = line.split_once(' ').ok_or("half an answer")?;
    Ok(Answer {
        took: Duration::from_micros(micros.parse()?),
        rows: rows.replace("\\n", "\n"),
    })
}

/// A child. It is killed when this is dropped.
pub(crate) struct Worker {
    process: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    pub(crate) fn start(place: &Place, cache: Option<&Path>) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(QUERY)
            .args(cache)
            .envs(place.environment())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let to = process.stdin.take().ok_or("no way to the child")?;
        let from = process.stdout.take().ok_or("no way from the child")?;
        Ok(Self {
            process,
            to,
            from: BufReader::new(from).lines(),
        })
    }

    pub(crate) fn query(&mut self) -> Result<Answer, Failure> {
        self.begin()?;
        let line = self.from.next().ok_or("the child ended early")?;
        read(&line?)
    }

    /// The query, without waiting for its answer.
    pub(crate) fn begin(&mut self) -> Result<(), Failure> {
        writeln!(self.to, "go")?;
        Ok(self.to.flush()?)
    }

    /// `kill -9`, while a query is under way. False when it was over before.
    pub(crate) fn kill_in_the_middle(mut self) -> Result<bool, Failure> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(self.from.next().is_none())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // With SIGKILL: nothing is closed. It may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_as_it_went() {
        let came = read(&answer(Duration::from_micros(1500), "+--+\n|  |\n+--+")).unwrap();
        assert_eq!(came.took, Duration::from_micros(1500));
        assert_eq!(came.rows, "+--+\n|  |\n+--+");
    }
}
