//! How lookups end. They are counted in `readers.rs`, each thread on a line of its own.

/// How reads ended. The counts are read one after the other, not at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadStats {
    pub(crate) hits_tail: u64,
    pub(crate) hits_memory: u64,
    pub(crate) hits_disk: u64,
    pub(crate) misses: u64,
    /// Misses that the filter answered.
    pub(crate) negatives: u64,
    /// Misses that it let through: the key had no entry.
    pub(crate) false_positives: u64,
}

impl ReadStats {
    pub(super) fn of(counts: &[u64; OUTCOMES]) -> Self {
        use Outcome::{Disk, FalsePositive, Memory, Negative, Tail, Vain};
        let counted = |outcome: Outcome| counts[outcome as usize];
        let (negatives, false_positives) = (counted(Negative), counted(FalsePositive));
        Self {
            hits_tail: counted(Tail),
            hits_memory: counted(Memory),
            hits_disk: counted(Disk),
            negatives,
            false_positives,
            misses: negatives + false_positives + counted(Vain),
        }
    }

    /// All of them.
    pub(crate) fn reads(&self) -> u64 {
        self.hits_tail + self.hits_memory + self.hits_disk + self.misses
    }

    /// Of keys that were not there.
    pub(super) fn absent(&self) -> u64 {
        self.negatives + self.false_positives
    }
}

/// How a read ended. Each is counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Found in the tail.
    Tail,
    /// In the memory tier.
    Memory,
    /// In a file.
    Disk,
    /// The filter says that it is not there.
    Negative,
    /// The filter let it through in vain.
    FalsePositive,
    /// It has an entry, which is another key's, or over, or led nowhere.
    Vain,
    /// No read: visited bits were raised.
    Visit,
}

pub(super) const OUTCOMES: usize = Outcome::Visit as usize + 1;
