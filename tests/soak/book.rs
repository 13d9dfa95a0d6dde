//! What each key may show: the oracle of the soak.
//!
//! ```text
//!   operations on a key   ... 4 returned   5 failed   6 returned   7 failed   8 under way
//!   may be read                                       6            7          8, or nothing; a remove is never read
//! ```
//! A key is written by one thread, in order, so the newest that returned is the floor. Something is evicted all the time:
//! a miss is always right.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use perennial_failpoints::StdFs;
use perennial_failpoints::fs::Fs;
use perennial_failpoints::lab::Op;
use serde::{Deserialize, Serialize};

pub(crate) const THREADS: usize = 4;
/// Keys of a thread.
pub(crate) const KEYS: usize = 256;

pub(crate) fn name_of(thread: usize, number: usize) -> String {
    format!("{thread}/{number:03}")
}

/// Now, in seconds since 1970.
pub(crate) fn now_s() -> u64 {
    StdFs.unix_time_ms() / 1000
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// The newest operation that was begun.
    issued: Op,
    /// The newest that returned, or was seen.
    floor: Op,
    /// That one left no value.
    removed: bool,
    /// An operation whose value ends, and the second it does.
    ends: Option<(Op, u64)>,
}

impl Known {
    fn begin(&mut self, ends_at_s: Option<u64>) -> Op {
        self.issued += 1;
        if let Some(second) = ends_at_s {
            self.ends = Some((self.issued, second));
        }
        self.issued
    }

    fn returned(&mut self, op: Op, removed: bool) {
        (self.floor, self.removed) = (op, removed);
    }

    /// What was seen is never followed by something older.
    fn seen(&mut self, op: Op) {
        if op > self.floor {
            self.returned(op, false);
        }
    }

    /// A read that began at `began_s` showed the value of `found`.
    pub(crate) fn judge(&self, found: Op, began_s: u64) -> Result<(), String> {
        let removed = found == self.floor && self.removed;
        if !(self.floor..=self.issued).contains(&found) || removed {
            return Err(format!("{found} shows, of {self:?}"));
        }
        match self.ends {
            Some((op, end)) if op == found && began_s >= end => {
                Err(format!("{found} shows at {began_s}, of {self:?}"))
            }
            _ => Ok(()),
        }
    }

    /// No value may be there.
    pub(crate) fn is_gone(&self) -> bool {
        self.removed && self.floor == self.issued
    }
}

/// What a process that is going to be killed says of an operation.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Event {
    Began(usize, usize, Option<u64>),
    Returned(usize, usize, Op, bool),
}

/// What one thread knows of its keys, and whom it tells.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) thread: usize,
    known: Vec<Known>,
    #[serde(skip)]
    journal: Option<std::sync::Arc<File>>,
}

impl Page {
    pub(crate) fn known(&self, number: usize) -> &Known {
        &self.known[number]
    }

    pub(crate) fn begin(&mut self, number: usize, ends_at_s: Option<u64>) -> Op {
        self.tell(Event::Began(self.thread, number, ends_at_s));
        self.known[number].begin(ends_at_s)
    }

    pub(crate) fn returned(&mut self, number: usize, op: Op, removed: bool) {
        self.known[number].returned(op, removed);
        self.tell(Event::Returned(self.thread, number, op, removed));
    }

    pub(crate) fn seen(&mut self, number: usize, op: Op) {
        self.known[number].seen(op);
    }

    /// One write, in the hands of the kernel when it returns.
    fn tell(&self, event: Event) {
        if let Some(mut journal) = self.journal.as_deref() {
            let line = serde_json::to_string(&event).unwrap() + "\n";
            journal.write_all(line.as_bytes()).unwrap();
        }
    }
}

/// What all threads know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Book(pub(crate) Vec<Page>);

impl Book {
    pub(crate) fn new() -> Self {
        let page = |thread| Page {
            thread,
            known: vec![Known::default(); KEYS],
            journal: None,
        };
        Self((0..THREADS).map(page).collect())
    }

    pub(crate) fn save(&self, to: &Path) {
        std::fs::write(to, serde_json::to_vec(self).unwrap()).unwrap();
    }

    /// What was saved; from now on each operation is told in the journal.
    pub(crate) fn load(from: &Path, journal: &Path) -> Self {
        let mut book: Self = serde_json::from_slice(&std::fs::read(from).unwrap()).unwrap();
        let appended = File::options().append(true).create(true).open(journal);
        let journal = std::sync::Arc::new(appended.unwrap());
        for page in &mut book.0 {
            page.journal = Some(journal.clone());
        }
        book
    }

    /// Takes over what was told in a journal. A line that the kill cut short was not told. Returns how many returned.
    pub(crate) fn hear(&mut self, journal: &Path) -> u64 {
        // Whoever was killed early has none.
        let told = std::fs::read_to_string(journal).unwrap_or_default();
        let mut returned = 0;
        for line in told.split_inclusive('\n').filter(|l| l.ends_with('\n')) {
            match serde_json::from_str(line).unwrap() {
                Event::Began(thread, number, ends_at_s) => {
                    self.0[thread].begin(number, ends_at_s);
                }
                Event::Returned(thread, number, op, removed) => {
                    self.0[thread].returned(number, op, removed);
                    returned += 1;
                }
            }
        }
        returned
    }
}

#[test]
fn the_oracle_tells_stale_and_removed_from_new() {
    let mut known = Known::default();
    for op in 1..=3 {
        assert_eq!(known.begin((op == 3).then_some(50)), op);
    }
    known.returned(2, false);
    let shows = |known: &Known, op, at| known.judge(op, at).is_ok();
    assert!(!shows(&known, 1, 0) && shows(&known, 2, 0) && shows(&known, 3, 49));
    assert!(!shows(&known, 4, 0), "nobody wrote that");
    assert!(!shows(&known, 3, 50), "it has ended");
    known.seen(3);
    assert!(!shows(&known, 2, 0), "older than what was seen");
    let removal = known.begin(None);
    assert!(shows(&known, 3, 49), "the remove is under way");
    known.returned(removal, true);
    assert!(!shows(&known, 3, 49) && !shows(&known, removal, 0) && known.is_gone());
}
