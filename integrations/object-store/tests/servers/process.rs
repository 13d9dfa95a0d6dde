//! A child that is killed when it is dropped.

use std::io;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

/// Between two looks whether a server answers yet.
const PAUSE: Duration = Duration::from_millis(50);
/// A minute: Python reads some thousand files before it serves.
const LOOKS: u32 = 1200;

#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        command.spawn().map(Self)
    }

    /// Waits until the child answers at all, whatever it says. What it wrote into `log` is in the error if it does not.
    pub(super) fn wait_for<T>(
        &mut self,
        log: &Path,
        answers: impl Fn() -> io::Result<T>,
    ) -> io::Result<()> {
        let mut last = None;
        for _ in 0..LOOKS {
            let answer = answers();
            // Looked at behind the answer, which may be that of another server on its port.
            if let Some(status) = self.0.try_wait()? {
                return Err(failed(&format!("it ended with {status}"), log));
            }
            match answer {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error),
            }
            std::thread::sleep(PAUSE);
        }
        Err(failed(&format!("it does not answer: {last:?}"), log))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, and then neither is of interest.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What went wrong, and the last the child had to say.
fn failed(what: &str, log: &Path) -> io::Error {
    let said = std::fs::read_to_string(log).unwrap_or_default();
    let from = said.lines().count().saturating_sub(20);
    let tail: Vec<&str> = said.lines().skip(from).collect();
    io::Error::other(format!("server: {what}\n{}", tail.join("\n")))
}
