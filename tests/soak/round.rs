//! A round: a fault is armed, threads work, the cache is resized, closed, left or killed; then the fault is over, and
//! everything is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use perennial::{Cache, ErrorKind};
use perennial_failpoints::lab::identify;

use crate::book::{Book, KEYS, name_of, now_s};
use crate::child::Place;
use crate::faults::{FAULTS, FORGOTTEN, Fault, Injector};
use crate::lives::{self, CAPACITIES};
use crate::random::Random;
use crate::warnings::Warnings;
use crate::watch::{Counters, Process, ledger_is_du};
use crate::work::{Answers, Worker};

/// Operations of a thread in a round.
const LEAST_OPERATIONS: u64 = 50;
const MORE_OPERATIONS: u64 = 400;

/// What the soak did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) rounds: u64,
    pub(crate) operations: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) refused: u64,
    pub(crate) resizes: u64,
    pub(crate) warnings: u64,
    /// How often the cache was left in each way.
    pub(crate) left: BTreeMap<&'static str, u64>,
    /// How often each fault hit.
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

/// A fault that hit something.
#[derive(Debug)]
pub(crate) struct Hit {
    fault: &'static Fault,
    call: String,
    /// The cache was open, and neither being closed nor opened.
    at_work: bool,
}

impl Hit {
    pub(crate) fn is_visible(hit: Option<&Self>) -> bool {
        hit.is_some_and(|hit| !hit.fault.is_invisible())
    }
}

pub(crate) struct Soak {
    pub(crate) place: Place,
    pub(crate) injector: Injector,
    pub(crate) tally: Tally,
    pub(crate) process: Process,
    warnings: Warnings,
    pub(crate) random: Random,
    pub(crate) book: Book,
    pub(crate) counters: Counters,
    /// None only between two lives.
    pub(crate) cache: Option<Cache>,
    /// A life went on in memory: the open behind it begins empty, and says so.
    pub(crate) in_memory: Arc<AtomicBool>,
}

impl Soak {
    pub(crate) fn begin(place: Place, injector: Injector, warnings: Warnings, seed: u64) -> Self {
        let (mut random, in_memory) = (Random::new(seed), Arc::default());
        let cache = lives::open(&injector, &place, &mut random, &in_memory).unwrap();
        Self {
            place,
            injector,
            tally: Tally::default(),
            process: Process::default(),
            warnings,
            random,
            book: Book::new(),
            counters: Counters::default(),
            cache: Some(cache),
            in_memory,
        }
    }

    pub(crate) fn cache(&self) -> &Cache {
        self.cache.as_ref().unwrap()
    }

    /// Each fault comes in its turn, and none in one round more.
    pub(crate) fn round(&mut self) -> Result<(), String> {
        let turn = self.tally.rounds % (FAULTS.len() as u64 + 1);
        let fault = FAULTS.get(usize::try_from(turn).unwrap());
        let mut hit = None;
        let went = self.play(fault, &mut hit);
        went.map_err(|why| match (&hit, fault) {
            (Some(Hit { fault, call, .. }), _) => format!("{} ({call}): {why}", fault.name),
            (None, Some(fault)) => format!("{} hit nothing yet: {why}", fault.name),
            (None, None) => format!("no fault: {why}"),
        })?;
        self.tally.rounds += 1;
        Ok(())
    }

    /// The fault may hit the cache at work, or while it is closed and opened.
    fn play(&mut self, fault: Option<&'static Fault>, hit: &mut Option<Hit>) -> Result<(), String> {
        let restarts = self.random.one_in(3);
        self.arm(fault.filter(|_| !restarts));
        let worked = self.work();
        *hit = self.disarm(true);
        self.judge(worked?, hit.as_ref())?;
        if restarts {
            self.restart(fault, hit)?;
        }
        self.serve_again()?;
        if restarts || self.random.one_in(4) {
            self.read_all()?;
        }
        self.look(hit.as_ref())
    }

    pub(crate) fn arm(&mut self, fault: Option<&'static Fault>) {
        if let Some(fault) = fault {
            self.injector.arm(fault, &mut self.random);
        }
    }

    pub(crate) fn disarm(&mut self, at_work: bool) -> Option<Hit> {
        let (fault, call) = self.injector.disarm()?;
        *self.tally.faults.entry(fault.name).or_default() += 1;
        Some(Hit {
            fault,
            call,
            at_work,
        })
    }

    fn work(&mut self) -> Result<Answers, String> {
        let mut all = Answers::default();
        let cache = self.cache.as_ref().unwrap();
        let (random, counters) = (&mut self.random, &mut self.counters);
        let mut resizes = Vec::new();
        let worked = thread::scope(|scope| {
            let work = |page| {
                let steps = LEAST_OPERATIONS + random.below(MORE_OPERATIONS);
                let mut worker = Worker::new(cache, page, random.next());
                scope.spawn(move || {
                    (0..steps)
                        .try_for_each(|_| worker.step())
                        .map(|()| worker.answers)
                })
            };
            let threads: Vec<_> = self.book.0.iter_mut().map(work).collect();
            let mut looked = Ok(());
            for _ in 0..random.below(3) {
                thread::sleep(Duration::from_millis(random.below(20)));
                resizes.push(cache.resize(random.pick(CAPACITIES)));
                looked = looked.and_then(|()| counters.look(&cache.stats()));
            }
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            let worked: Vec<_> = joined.collect();
            looked.map(|()| worked)
        })?;
        self.tally.resizes += resizes.len() as u64;
        all.errors
            .extend(resizes.into_iter().filter_map(Result::err));
        for answers in worked {
            all.add(answers?);
        }
        Ok(all)
    }

    /// An answer is an error only where a fault was, and *poisoned* only where that stays.
    fn judge(&mut self, answers: Answers, hit: Option<&Hit>) -> Result<(), String> {
        for error in &answers.errors {
            let allowed = match error.kind() {
                ErrorKind::Poisoned => self.is_stopped(),
                ErrorKind::Io | ErrorKind::Full => true,
                _ => false,
            };
            if !(allowed && Hit::is_visible(hit)) {
                return Err(format!("answered: {error}; {}", self.cache().health()));
            }
        }
        self.tally.operations += answers.operations;
        self.tally.hits += answers.hits;
        self.tally.misses += answers.misses;
        self.tally.refused += answers.errors.len() as u64;
        Ok(())
    }

    /// Every key shows what it may.
    fn read_all(&mut self) -> Result<(), String> {
        let cache = self.cache.as_ref().unwrap();
        for page in &mut self.book.0 {
            for number in 0..KEYS {
                let (key, began_s) = (name_of(page.thread, number), now_s());
                let found = cache.get(&key).map_err(|error| error.to_string())?;
                if let Some(found) = found {
                    let op = identify(key.as_bytes(), &found)?;
                    let judged = page.known(number).judge(op, began_s);
                    judged.map_err(|why| format!("{key}: {why}"))?;
                    page.seen(number, op);
                }
            }
        }
        Ok(())
    }

    /// The counters, the ledger, the process, and what the log said meanwhile.
    fn look(&mut self, hit: Option<&Hit>) -> Result<(), String> {
        let cache = self.cache.as_ref().unwrap();
        self.counters.look(&cache.stats())?;
        ledger_is_du(cache, &self.place.cache())?;
        self.process.look();
        let warnings = self.warnings.take();
        self.tally.warnings += warnings.len() as u64;
        let causes = hit.map_or(&[][..], |hit| hit.fault.causes);
        let forgets = self.in_memory.swap(false, Ordering::SeqCst);
        let may = |what: &str| causes.contains(&what) || (forgets && what == FORGOTTEN);
        if let Some(warning) = warnings.iter().find(|w| !may(&w.message)) {
            return Err(format!("this must not be the cause of {warning:?}"));
        }
        let must = hit
            .filter(|hit| hit.at_work)
            .map_or(&[][..], |hit| hit.fault.must_cause);
        if must.is_empty() || warnings.iter().any(|w| must.contains(&&*w.message)) {
            return Ok(());
        }
        Err(format!("nobody was told: {must:?}"))
    }

    /// It was a soak, and the process is as it was.
    pub(crate) fn end(&mut self) -> Result<String, String> {
        let Tally {
            hits,
            misses,
            resizes,
            faults,
            left,
            ..
        } = &self.tally;
        let enough =
            *hits > *misses / 4 && *resizes > 0 && faults.len() == FAULTS.len() && left.len() == 3;
        if !enough {
            return Err("that was no soak".into());
        }
        self.process.judge()
    }
}
