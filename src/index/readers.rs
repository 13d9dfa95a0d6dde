//! Who is looking at a table now, and how lookups ended: a line for each thread, that no other writes.
//!
//! ```text
//!   reader                                      publisher
//!   inside += 1, now odd                        another table is what readers find
//!   [compiler only]                             a fence in every thread
//!   which table? look at it                     whose `inside` is odd may still look at the old one, until it has
//!   inside += 1, now even (release)             another value
//! ```
//! I17 in `docs/concurrency.md`. A lookup has no locked instruction and no fence: consecutive ones overlap in the processor,
//! which waits for the lines of several filters at once. Asymmetric fences are Dice's and Linux's; see `membarrier(2)`, and
//! Desnoyers et al., "User-Level Implementations of Read-Copy Update", 2012.
//!
//! Until it is known that the system has such a fence, and where it has none, readers make their own.

use std::sync::atomic::compiler_fence;
use std::sync::{Once, OnceLock};

use crossbeam_utils::CachePadded;
use perennial_failpoints::fs::{can_fence_all_threads, fence_all_threads};

use super::tally::{OUTCOMES, Outcome};
use super::threads;
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering, RwLock, RwLockReadGuard, fence};

const CHUNK: usize = 16;
/// Records for more than a thousand threads; the others share what stands beside.
const CHUNKS: usize = 64;

/// One line.
#[derive(Default)]
pub(super) struct Record {
    /// Odd while its thread looks at a table.
    inside: AtomicU64,
    outcomes: [AtomicU64; OUTCOMES],
}

const _: () = assert!(size_of::<Record>() == 64);

impl Record {
    #[inline]
    fn count(&self, outcome: Outcome) {
        // Its thread alone writes here.
        let count = &self.outcomes[outcome as usize];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

#[cold]
fn count_in_crowd(outcomes: &[AtomicU64; OUTCOMES], outcome: Outcome) {
    outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
}

type Chunk = [CachePadded<Record>; CHUNK];

pub(super) struct Readers {
    /// True: who publishes makes the readers' fences.
    spared: AtomicBool,
    records: [OnceLock<Box<Chunk>>; CHUNKS],
    /// For threads without a record: more than a thousand at a time, or one that is ending.
    crowd: RwLock<()>,
    of_crowd: CachePadded<[AtomicU64; OUTCOMES]>,
    /// Held from the change of a pointer until it is known who is inside, and while `spared` is set.
    publishing: Mutex<()>,
}

/// While it lives, what its thread finds is not freed.
pub(super) enum Inside<'a> {
    Own {
        record: &'a Record,
        after: u64,
    },
    /// The thread is inside already.
    Nested(&'a Record),
    Crowd {
        outcomes: &'a [AtomicU64; OUTCOMES],
        _held: RwLockReadGuard<'a, ()>,
    },
}

impl Inside<'_> {
    /// Counts how a lookup ended.
    #[inline]
    pub(super) fn count(&self, outcome: Outcome) {
        match self {
            Self::Own { record, .. } | Self::Nested(record) => record.count(outcome),
            Self::Crowd { outcomes, .. } => count_in_crowd(outcomes, outcome),
        }
    }
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Self::Own { record, after } = self {
            // Release, with the acquires of who publishes: what it looked at was read before.
            record.inside.store(*after, Ordering::Release);
        }
    }
}

/// Records, and the values at which their threads are still inside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    By(Vec<(usize, u64)>),
    /// The fence was not made, so nobody knows.
    Forever,
}

impl Readers {
    pub(super) fn new() -> Self {
        Self {
            spared: AtomicBool::new(false),
            records: [const { OnceLock::new() }; CHUNKS],
            crowd: RwLock::new(()),
            of_crowd: CachePadded::default(),
            publishing: Mutex::new(()),
        }
    }

    /// From now on readers make no fences, if the system can make them for them. The first time in a process it may take
    /// twenty milliseconds.
    pub(super) fn spare_fences(&self) {
        if cfg!(shuttle) || self.spared.load(Ordering::Relaxed) || !can_fence_all_threads() {
            return;
        }
        // Between two publications: a reader who finds it true finds the pointer as the last one left it that relied
        // on its fence.
        let _between = self.publishing.lock();
        self.spared.store(true, Ordering::Release);
    }

    /// Comes before the load of what `publish` changes.
    #[inline]
    pub(super) fn enter(&self) -> Inside<'_> {
        let Some(record) = self.own() else {
            return self.enter_crowd();
        };
        let inside = &record.inside;
        let before = inside.load(Ordering::Relaxed);
        if !before.is_multiple_of(2) {
            return Inside::Nested(record);
        }
        // Acquire, with the release in `spare_fences`.
        let spared = self.spared.load(Ordering::Acquire);
        // Release: who finds this value knows that the thread has left all earlier ones.
        inside.store(before + 1, Ordering::Release);
        if spared {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
        Inside::Own {
            record,
            after: before + 2,
        }
    }

    #[cold]
    fn enter_crowd(&self) -> Inside<'_> {
        Inside::Crowd {
            outcomes: &self.of_crowd,
            _held: self.crowd.read(),
        }
    }

    /// Makes a change to what readers find, and says who may still look at what they found before.
    pub(super) fn publish<R>(&self, change: impl FnOnce() -> R) -> (R, Held) {
        let _one = self.publishing.lock();
        let changed = change();
        fence(Ordering::SeqCst);
        let fenced = !self.spared.load(Ordering::Relaxed) || fence_all_threads();
        // Whoever was in the crowd leaves; who comes later finds the change.
        drop(self.crowd.write());
        (changed, if fenced { self.held() } else { not_fenced() })
    }

    fn held(&self) -> Held {
        let values = self.records().map(|(number, record)| {
            // Acquire, with the releases of its thread: what it has left, it has read.
            (number, record.inside.load(Ordering::Acquire))
        });
        Held::By(values.filter(|(_, value)| value % 2 == 1).collect())
    }

    /// True once all of them have left.
    pub(super) fn have_left(&self, held: &mut Held) -> bool {
        let Held::By(values) = held else {
            return false;
        };
        values.retain(|(number, value)| {
            let record = self.record(*number);
            record.is_some_and(|record| record.inside.load(Ordering::Acquire) == *value)
        });
        values.is_empty()
    }

    #[inline]
    fn own(&self) -> Option<&Record> {
        let number = threads::number()?;
        let chunk = self.records.get(number / CHUNK)?;
        let chunk = match chunk.get() {
            Some(chunk) => chunk,
            None => first_of_chunk(chunk),
        };
        Some(&chunk[number % CHUNK])
    }

    fn record(&self, number: usize) -> Option<&Record> {
        let chunk = self.records.get(number / CHUNK)?.get()?;
        Some(&chunk[number % CHUNK])
    }

    fn records(&self) -> impl Iterator<Item = (usize, &Record)> {
        let chunks = (0..).step_by(CHUNK).zip(&self.records);
        let there = chunks.filter_map(|(first, chunk)| Some((first, chunk.get()?)));
        there.flat_map(|(first, chunk)| (first..).zip(chunk.iter().map(|record| &**record)))
    }
}

/// The system made the fence when it was asked first, and refuses it now.
#[cold]
fn not_fenced() -> Held {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!("membarrier is refused since the cache was opened; tables of its index are kept until it is closed");
    });
    Held::Forever
}

#[cold]
fn first_of_chunk(chunk: &OnceLock<Box<Chunk>>) -> &Chunk {
    chunk.get_or_init(Box::default)
}

/// Counts of how lookups ended.
impl Readers {
    #[inline]
    pub(super) fn count(&self, outcome: Outcome) {
        match self.own() {
            Some(record) => record.count(outcome),
            None => count_in_crowd(&self.of_crowd, outcome),
        }
    }

    /// The sums over all threads, by outcome.
    pub(super) fn counted(&self) -> [u64; OUTCOMES] {
        let own = self.records().map(|(_, record)| &record.outcomes);
        let mut sums = [0; OUTCOMES];
        for outcomes in own.chain([&*self.of_crowd]) {
            for (sum, count) in sums.iter_mut().zip(outcomes) {
                *sum += count.load(Ordering::Relaxed);
            }
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn who_has_no_record_is_waited_for() {
        let readers = Readers::new();
        let left = AtomicBool::new(false);
        let (is_inside, inside) = mpsc::channel();
        thread::scope(|scope| {
            let (readers, left) = (&readers, &left);
            scope.spawn(move || {
                let crowd = readers.enter_crowd();
                crowd.count(Outcome::Negative);
                is_inside.send(()).unwrap();
                crate::sync::sleep(std::time::Duration::from_millis(20));
                left.store(true, Ordering::Relaxed);
                drop(crowd);
            });
            inside.recv().unwrap();
            let ((), held) = readers.publish(|| ());
            assert!(left.load(Ordering::Relaxed));
            assert_eq!(held, Held::By(Vec::new()));
        });
        assert_eq!(readers.counted()[Outcome::Negative as usize], 1);
    }
}
