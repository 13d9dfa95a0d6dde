//! One thread's work: random operations on keys of its own, each read judged.

use std::convert::Infallible;

use perennial::{Cache, Error, ErrorKind, HealthState, InsertOptions, Priority, Result};
use perennial_failpoints::lab::{Op, VALUE_BYTES_MIN, identify, value};

use crate::book::{KEYS, Page, THREADS, name_of, now_s};
use crate::random::Random;

/// The longest value: more than goes through the tail's buffers.
const LONGEST: u64 = 40_000;

/// What a thread was answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) operations: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) errors: Vec<Error>,
}

impl Answers {
    pub(crate) fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.hits += other.hits;
        self.misses += other.misses;
        self.errors.extend(other.errors);
    }
}

/// What is wrong with an answer, if anything is.
type Verdict = std::result::Result<(), String>;

pub(crate) struct Worker<'a> {
    cache: &'a Cache,
    page: &'a mut Page,
    random: Random,
    pub(crate) answers: Answers,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(cache: &'a Cache, page: &'a mut Page, seed: u64) -> Self {
        Self {
            cache,
            page,
            random: Random::new(seed),
            answers: Answers::default(),
        }
    }

    fn number(&mut self) -> usize {
        // Half of the operations are about an eighth of the keys.
        let end = if self.random.one_in(2) {
            KEYS / 8
        } else {
            KEYS
        };
        usize::try_from(self.random.below(end as u64)).unwrap()
    }

    fn len(&mut self) -> usize {
        let end = match self.random.below(16) {
            0 => LONGEST,
            1..=8 => 6_000,
            _ => 500,
        };
        VALUE_BYTES_MIN + usize::try_from(self.random.below(end)).unwrap()
    }

    fn note<T>(&mut self, done: Result<T>) -> Option<T> {
        done.map_err(|error| self.answers.errors.push(error)).ok()
    }

    /// One operation.
    pub(crate) fn step(&mut self) -> Verdict {
        let number = self.number();
        self.answers.operations += 1;
        match self.random.below(100) {
            0..=39 => return self.get(number),
            40..=46 => return self.get_anothers(),
            47..=67 => self.insert(number, InsertOptions::new(), None),
            68..=71 => self.insert_that_ends(number),
            72..=74 => self.insert(number, InsertOptions::new().durable(true), None),
            75 => self.insert(number, InsertOptions::new().priority(Priority::Low), None),
            76 => self.insert(
                number,
                InsertOptions::new().priority(Priority::Pinned),
                None,
            ),
            77..=82 => self.remove(number, Cache::remove),
            83..=84 => self.remove(number, Cache::remove_durable),
            85..=88 => self.fill(number),
            89..=92 => return self.fetch(number),
            93..=95 => return self.contains(number),
            96 => return self.scan(),
            97 => {
                self.note(self.cache.flush());
            }
            98 if self.random.one_in(10) => {
                self.note(self.cache.checkpoint());
            }
            _ => return self.get_range(number),
        }
        Ok(())
    }

    fn get(&mut self, number: usize) -> Verdict {
        let (key, began_s) = (name_of(self.page.thread, number), now_s());
        let Some(found) = self.note(self.cache.get(&key)) else {
            return self.reads_go_on();
        };
        let Some(found) = found else {
            self.answers.misses += 1;
            return Ok(());
        };
        self.answers.hits += 1;
        let op = identify(key.as_bytes(), &found).map_err(|why| format!("{key}: {why}"))?;
        self.judge(number, op, began_s)
    }

    fn judge(&mut self, number: usize, op: Op, began_s: u64) -> Verdict {
        let judged = self.page.known(number).judge(op, began_s);
        judged.map_err(|why| format!("{}: {why}", name_of(self.page.thread, number)))?;
        self.page.seen(number, op);
        Ok(())
    }

    /// A read fails in one state alone.
    fn reads_go_on(&self) -> Verdict {
        let health = self.cache.health();
        match health.state {
            HealthState::Failed => Ok(()),
            _ => Err(format!(
                "a read failed: {:?}; {health}",
                self.answers.errors.last()
            )),
        }
    }

    /// Other threads write it meanwhile: whole, and of that key.
    fn get_anothers(&mut self) -> Verdict {
        let thread = usize::try_from(self.random.below(THREADS as u64)).unwrap();
        let key = name_of(thread, self.number());
        match self.note(self.cache.get(&key)) {
            Some(Some(found)) => identify(key.as_bytes(), &found).map(drop),
            Some(None) => Ok(()),
            None => self.reads_go_on(),
        }
    }

    fn get_range(&mut self, number: usize) -> Verdict {
        let (key, began_s) = (name_of(self.page.thread, number), now_s());
        // The operation's number is in front.
        let Some(found) = self.note(self.cache.get_range(&key, 0..8)) else {
            return self.reads_go_on();
        };
        let op = found.and_then(|found| Some(Op::from_le_bytes(*found.first_chunk()?)));
        op.map_or(Ok(()), |op| self.judge(number, op, began_s))
    }

    fn contains(&mut self, number: usize) -> Verdict {
        let key = name_of(self.page.thread, number);
        let gone = self.page.known(number).is_gone();
        match self.note(self.cache.contains(&key)) {
            Some(true) if gone => Err(format!("{key} is there, and was removed")),
            Some(_) => Ok(()),
            None => self.reads_go_on(),
        }
    }

    /// The keys of this thread, in order, and none that was removed.
    fn scan(&mut self) -> Verdict {
        let prefix = format!("{}/", self.page.thread);
        let mut before = Vec::new();
        for key in self.cache.scan_prefix(&prefix) {
            let key = match key {
                Ok(key) => key.to_vec(),
                Err(error) => {
                    self.answers.errors.push(error);
                    continue;
                }
            };
            let shown = String::from_utf8_lossy(&key).into_owned();
            if before >= key {
                return Err(format!("{shown} comes late in a scan"));
            }
            let number = shown.strip_prefix(&prefix).and_then(|n| n.parse().ok());
            let number: usize = number.ok_or_else(|| format!("{shown} is nobody's key"))?;
            if self.page.known(number).is_gone() {
                return Err(format!("{shown} is listed, and was removed"));
            }
            before = key;
        }
        Ok(())
    }

    fn insert(&mut self, number: usize, options: InsertOptions, ends_at_s: Option<u64>) {
        let (key, len) = (name_of(self.page.thread, number), self.len());
        let op = self.page.begin(number, ends_at_s);
        let bytes = value(key.as_bytes(), op, len);
        let done = self.cache.insert_with(&key, bytes, options);
        if self.note(done).is_some() {
            self.page.returned(number, op, false);
        }
    }

    fn insert_that_ends(&mut self, number: usize) {
        let end = now_s() + 1 + self.random.below(3);
        let options = InsertOptions::new().ends_at_s(u32::try_from(end).unwrap());
        self.insert(number, options, Some(end));
    }

    fn remove(&mut self, number: usize, call: fn(&Cache, String) -> Result<()>) {
        let op = self.page.begin(number, None);
        let done = call(self.cache, name_of(self.page.thread, number));
        if self.note(done).is_some() {
            self.page.returned(number, op, true);
        }
    }

    /// One in four fails, and leaves nothing.
    fn fill(&mut self, number: usize) {
        let (key, len) = (name_of(self.page.thread, number), self.len());
        let fails = self.random.one_in(4);
        let op = self.page.begin(number, None);
        let bytes = value(key.as_bytes(), op, len);
        let done = self.cache.insert_with_len(&key, len, |buf| {
            buf.copy_from_slice(&bytes);
            if fails { Err("meant so") } else { Ok(()) }
        });
        match done {
            Ok(_) => self.page.returned(number, op, false),
            Err(error) if error.kind() == ErrorKind::Origin => self.page.returned(number, op, true),
            Err(error) => self.answers.errors.push(error),
        }
    }

    /// What is fetched need not be kept.
    fn fetch(&mut self, number: usize) -> Verdict {
        let (key, began_s, len) = (name_of(self.page.thread, number), now_s(), self.len());
        let op = self.page.begin(number, None);
        let mut fetched = false;
        let got = self.cache.get_or_fetch(&key, || {
            fetched = true;
            Ok::<_, Infallible>(value(key.as_bytes(), op, len))
        });
        let Some(got) = self.note(got) else {
            return self.reads_go_on();
        };
        match identify(key.as_bytes(), &got)? {
            found if found == op && fetched => Ok(()),
            found if found != op => self.judge(number, found, began_s),
            _ => Err(format!("{key}: {op} shows, and was never fetched")),
        }
    }
}
