//! Children: started, listened to, killed.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::pipe::{Kind, Message, Pipe};

/// The first argument of a child.
pub(crate) const CHILD: &str = "--child";

/// A child that says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

const SIGKILL: i32 = 9;

/// What a child does.
pub(crate) type Task = fn(&Pipe, &[String]) -> Result<(), String>;

/// Runs the task that the first argument names. A child that does not do what it should says why on standard error.
pub(crate) fn run_child(tasks: &[(&str, Task)], mut arguments: Vec<String>) -> ExitCode {
    die_with_the_parent();
    let name = arguments.remove(0);
    let (_, task) = tasks.iter().find(|(task, _)| *task == name).unwrap();
    match task(&Pipe::to_parent(), &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => give_up(&why),
    }
}

/// Ends a child from any of its threads.
pub(crate) fn give_up(why: &str) -> ! {
    eprintln!("child: {why}");
    std::process::exit(101)
}

/// The parent holds the other end of our standard input; when it is gone the pipe ends.
fn die_with_the_parent() {
    thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(3);
    });
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By SIGKILL, ours or its own.
    Killed,
    /// By itself, having done its task.
    Done,
}

/// A running child.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    messages: Receiver<Message>,
}

impl Child {
    pub(crate) fn start(task: &str, arguments: &[String]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .arg(CHILD)
            .arg(task)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = process.stdout.take().unwrap();
        let (send, messages) = channel();
        thread::spawn(move || {
            while let Some(message) = Message::read(&mut said) {
                // Nobody may be interested any more.
                let _ = send.send(message);
            }
        });
        Self { process, messages }
    }

    /// Listens until the child says that it is ready.
    pub(crate) fn until_ready(&self) -> Result<Vec<Message>, String> {
        let mut heard = Vec::new();
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(message) if message.kind == Kind::Ready => return Ok(heard),
                Ok(message) => heard.push(message),
                Err(RecvTimeoutError::Timeout) => return Err("the child hangs".into()),
                Err(RecvTimeoutError::Disconnected) => return Err("the child ended early".into()),
            }
        }
    }

    /// Kills the child, and returns what it said that was not heard yet.
    pub(crate) fn kill(mut self) -> Result<Vec<Message>, String> {
        self.process.kill().unwrap();
        let (heard, end) = self.wait()?;
        if end == End::Killed {
            Ok(heard)
        } else {
            Err("the child ended by itself".into())
        }
    }

    /// Waits for the child to end.
    pub(crate) fn wait(mut self) -> Result<(Vec<Message>, End), String> {
        let mut heard = Vec::new();
        loop {
            match self.messages.recv_timeout(PATIENCE) {
                Ok(message) => heard.push(message),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.process.kill().unwrap();
                    self.process.wait().unwrap();
                    return Err("the child hangs".into());
                }
            }
        }
        Ok((heard, end_of(self.process.wait().unwrap())?))
    }
}

fn end_of(status: ExitStatus) -> Result<End, String> {
    match (status.signal(), status.code()) {
        (Some(SIGKILL), _) => Ok(End::Killed),
        (_, Some(0)) => Ok(End::Done),
        _ => Err(format!("the child failed: {status}")),
    }
}
