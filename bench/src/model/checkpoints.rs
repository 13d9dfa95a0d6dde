//! When the cache would write a checkpoint, and what it takes of the log.

/// In the image of an entry.
const ENTRY_BYTES: u64 = 16;
/// Of a policy that has ghosts: three bytes for each, and half as many again as there are entries.
const GHOST_BYTES_OF_TWO: u64 = 9;
/// Checkpoints cost at most this fraction of what is written.
const MAX_COST: u64 = 20;
/// A frame around its body, and its row.
pub(super) const FRAME_BYTES: u64 = 32 + 24;
/// In a `Move` frame, for one entry.
pub(super) const MOVED_BYTES: u64 = 28;

/// Positions are bytes of log since the beginning.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    /// Where the newest one begins.
    at: u64,
    /// What it took.
    bytes: u64,
}

impl Checkpoints {
    /// True when the log has come so far that one is due, of a cache of `capacity` bytes with a log of `log` bytes.
    pub(super) fn is_due(&self, logged: u64, capacity: u64, log: u64) -> bool {
        let every = (capacity / 4).max(MAX_COST * self.bytes).min(log / 2);
        logged - self.at >= every
    }

    /// True when the log up to `through` is needed no more to know what kept segments hold.
    pub(super) fn cover(&self, through: u64) -> bool {
        self.at >= through
    }

    /// One is written at `logged`; returns the bytes it takes.
    pub(super) fn write(&mut self, logged: u64, entries: u64, has_ghosts: bool) -> u64 {
        let ghosts = if has_ghosts {
            entries * GHOST_BYTES_OF_TWO / 2
        } else {
            0
        };
        self.at = logged;
        self.bytes = entries * ENTRY_BYTES + ghosts + 3 * FRAME_BYTES;
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_capacity_or_half_of_the_log() {
        let mut checkpoints = Checkpoints::default();
        assert!(!checkpoints.is_due(249, 1000, 1000));
        assert!(checkpoints.is_due(250, 1000, 1000));
        assert!(checkpoints.is_due(100, 1000, 200));
        assert_eq!(checkpoints.write(250, 10, false), 160 + 168);
        assert!(!checkpoints.is_due(500, 1000, 100_000), "it cost too much");
        assert!(checkpoints.is_due(250 + 20 * 328, 1000, 100_000));
        assert!(checkpoints.cover(250) && !checkpoints.cover(251));
    }

    #[test]
    fn ghosts_are_in_it() {
        assert_eq!(Checkpoints::default().write(0, 10, true), 160 + 45 + 168);
    }
}
