//! How much is written for what is admitted, lately.

use super::Source;

/// Counts entries, for it is about a ratio; halved as the cache's content changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Writes {
    /// Entries that came to the end of the log: what was admitted, a lap ago.
    pub(super) admitted: u64,
    /// Entries that were moved, from the log or from kept segments.
    pub(super) moved: u64,
}

impl Writes {
    pub(super) fn settle(&mut self, from: Source, kept: bool) {
        self.admitted += u64::from(from == Source::Log);
        self.moved += u64::from(kept);
    }

    /// Writes for 100 admitted entries.
    pub(super) fn per_cent(self) -> u64 {
        100 + self.moved.saturating_mul(100) / self.admitted.max(1)
    }

    /// What happened more than a few times `entries` ago counts little.
    pub(super) fn forget_beyond(&mut self, entries: u64) {
        if self.admitted > entries {
            self.admitted /= 2;
            self.moved /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_count_from_both_populations() {
        let mut writes = Writes::default();
        assert_eq!(writes.per_cent(), 100);
        for (from, kept) in [
            (Source::Log, true),
            (Source::Log, false),
            (Source::Kept, true),
        ] {
            writes.settle(from, kept);
        }
        assert_eq!(writes.per_cent(), 200);
        writes.settle(Source::Kept, false);
        assert_eq!(writes.per_cent(), 200, "what is dropped costs nothing");
    }

    #[test]
    fn the_past_fades() {
        let mut writes = Writes {
            admitted: 100,
            moved: 100,
        };
        writes.forget_beyond(100);
        assert_eq!(writes.admitted, 100);
        writes.forget_beyond(99);
        assert_eq!((writes.admitted, writes.per_cent()), (50, 200));
        for _ in 0..50 {
            writes.settle(Source::Log, false);
        }
        assert_eq!(writes.per_cent(), 150);
    }
}
