//! A directory is open in one process at a time, and free the moment that process is dead.

use perennial::{Cache, ErrorKind, Options};

use crate::directory::{Scratch, text};
use crate::pipe::{Message, Pipe};
use crate::process::Child;
use crate::{Outcome, Settings};

const ROUNDS: usize = 10;

fn options() -> Options {
    Options::new().capacity_bytes(1 << 20)
}

pub(crate) fn two_processes(_: &Settings) -> Outcome {
    let scratch = Scratch::new();
    let dir = scratch.cache();
    for _ in 0..ROUNDS {
        let child = Child::start("hold", &[text(&dir)]);
        child.until_ready()?;
        let Err(error) = Cache::open(&dir, options()) else {
            return Err("two processes have the directory open".into());
        };
        if error.kind() != ErrorKind::Locked || !error.to_string().contains(&text(&dir)) {
            return Err(format!("not the error to expect: {error:?}"));
        }
        child.kill()?;
        let cache = Cache::open(&dir, options()).map_err(|e| e.to_string())?;
        if cache.get("key").map_err(|e| e.to_string())?.as_deref() != Some(b"value") {
            return Err("what the other process stored is lost".into());
        }
    }
    Ok(format!("{ROUNDS} rounds"))
}

pub(crate) fn child(pipe: &Pipe, arguments: &[String]) -> Result<(), String> {
    let cache = Cache::open(&arguments[0], options()).map_err(|e| e.to_string())?;
    cache.insert("key", "value").map_err(|e| e.to_string())?;
    pipe.say(Message::ready());
    loop {
        std::thread::park();
    }
}
