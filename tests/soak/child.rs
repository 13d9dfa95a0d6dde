//! A life in a process of its own, which is killed: it tells in a journal what it begins and what returned.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use perennial::Cache;

use crate::book::Book;
use crate::lives::options;
use crate::random::Random;
use crate::warnings::Warnings;
use crate::work::Worker;

/// What makes a process that child: where to work, and the seed.
const DIR: &str = "PERENNIAL_SOAK_CHILD";
const SEED: &str = "PERENNIAL_SOAK_CHILD_SEED";

/// It is killed within so many milliseconds, while it opens the cache, or later.
const LONGEST_MS: u64 = 150;

const SIGKILL: i32 = 9;

/// Where a soak has its things.
#[derive(Debug, Clone)]
pub(crate) struct Place(pub(crate) PathBuf);

impl Place {
    pub(crate) fn cache(&self) -> PathBuf {
        self.0.join("cache")
    }

    fn book(&self) -> PathBuf {
        self.0.join("book")
    }

    fn journal(&self) -> PathBuf {
        self.0.join("journal")
    }
}

/// Lets a child live and kills it. Returns how many of its operations had returned.
pub(crate) fn live_and_die(
    place: &Place,
    book: &mut Book,
    random: &mut Random,
) -> Result<u64, String> {
    book.save(&place.book());
    let _ = std::fs::remove_file(place.journal());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "soak", "--nocapture"])
        .env(DIR, &place.0)
        .env(SEED, random.next().to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(random.below(LONGEST_MS)));
    child.kill().unwrap();
    let end = child.wait().unwrap();
    if end.signal() != Some(SIGKILL) {
        return Err(format!("the child failed: {end}"));
    }
    Ok(book.hear(&place.journal()))
}

/// The place of the process that is to be killed, if this is it.
pub(crate) fn asked_for() -> Option<Place> {
    std::env::var_os(DIR).map(|dir| Place(dir.into()))
}

/// Works until it is killed. There is no fault: no error, and no warning, may be.
pub(crate) fn live(place: &Place) {
    let warnings = Warnings::of_the_process();
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let mut random = Random::new(seed);
    let mut book = Book::load(&place.book(), &place.journal());
    let cache = Cache::open(place.cache(), options(&mut random)).unwrap();
    let fail = |why: &str| -> ! {
        eprintln!("child, seed {seed}: {why}");
        std::process::exit(101)
    };
    thread::scope(|scope| {
        for page in &mut book.0 {
            let mut worker = Worker::new(&cache, page, random.next());
            let warnings = &warnings;
            scope.spawn(move || {
                loop {
                    if let Err(why) = worker.step() {
                        fail(&why);
                    }
                    if let Some(error) = worker.answers.errors.first() {
                        fail(&error.to_string());
                    }
                    if let Some(warning) = warnings.take().first() {
                        fail(&format!("{warning:?}"));
                    }
                }
            });
        }
    });
}
