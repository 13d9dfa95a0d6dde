//! SIGKILL at every single call of a close: what had returned is there, with or without the last checkpoint.

use std::path::Path;
use std::sync::Arc;

use perennial::Cache;
use perennial_failpoints::{FaultFs, Plan, StdFs};

use crate::directory::{Scratch, text};
use crate::every_call::{at_every_call, open, options, plan, side_by_side, style};
use crate::pipe::Pipe;
use crate::process::{Child, End};
use crate::witness::Witness;
use crate::worker::Worker;
use crate::{Outcome, Settings};

pub(crate) fn scenario(settings: &Settings) -> Outcome {
    let seed = settings.seed;
    let jobs = [(false, "plain"), (true, "plain"), (false, "threads")];
    let kills = side_by_side(&jobs, |(evicting, variant), when| {
        let one = |n| {
            let scratch = Scratch::new();
            let closed = killed_once(&scratch.cache(), *evicting, variant, (when, n), seed);
            closed.map_err(|why| scratch.keep(&why))
        };
        at_every_call(when, one)
            .map_err(|why| format!("seed {seed}, {variant}, evicting {evicting}: {why}"))
    })?;
    Ok(format!("{kills} kills"))
}

fn killed_once(
    dir: &Path,
    evicting: bool,
    variant: &str,
    (when, n): (&str, u64),
    seed: u64,
) -> Result<End, String> {
    let arguments = [
        text(dir),
        evicting.to_string(),
        variant.into(),
        when.into(),
        n.to_string(),
        seed.to_string(),
    ];
    let (heard, end) = Child::start("close", &arguments).wait()?;
    let mut witness = Witness::new(evicting);
    witness.hear_all(heard)?;
    witness.died();
    witness.check(&open(dir, variant)?)?;
    Ok(end)
}

pub(crate) fn child(pipe: &Pipe, arguments: &[String]) -> Result<(), String> {
    let [dir, evicting, variant, when, n, seed] = arguments else {
        return Err("directory, evicting, variant, when, n, seed".into());
    };
    let (n, seed): (u64, u64) = (n.parse().unwrap(), seed.parse().unwrap());
    let evicting: bool = evicting.parse().unwrap();
    let fs = FaultFs::new(Arc::new(StdFs), Plan::none());
    let options = options(variant, Path::new(dir));
    let cache = Cache::open_with(Arc::new(fs.clone()), dir, options).map_err(|e| e.to_string())?;
    let mut worker = Worker::new(&cache, pipe, 0, style(evicting), 1, seed);
    (0..if evicting { 600 } else { 100 }).try_for_each(|_| worker.step())?;
    fs.set_plan(plan(when, fs.calls() + n));
    cache.close().map_err(|e| e.to_string())
}
