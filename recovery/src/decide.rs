//! What recovery does with what it finds: a table, pure.
//!
//! Three questions, each with its facts. What does a place mean where no frame proves itself
//! ([`judge_gap`](perennial_wal::judge_gap), in the log)? Can this checkpoint be used ([`judge_checkpoint`])? What does
//! the index begin with ([`judge_log`])? The rule in all of them: the log may be cut short where nothing durable can
//! lie behind, entries may be forgotten, but nothing older may show where something newer may have been.

/// What is known of a checkpoint whose head is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckpointFacts {
    /// Its head can be decoded and is of this cache's index.
    pub head_good: bool,
    /// Every part that the head names proves itself.
    pub parts_good: bool,
    /// The log is unbroken from the checkpoint's C to its end.
    pub reached: bool,
}

/// Whether a checkpoint is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckpointVerdict {
    /// Load it and replay the log from its C on.
    Use,
    /// Look for an older one.
    Skip,
}

/// The table for checkpoints.
#[must_use]
pub const fn judge_checkpoint(facts: CheckpointFacts) -> CheckpointVerdict {
    match facts {
        // Everything it points at was stable before its head was: the head comes after it in the log.
        CheckpointFacts {
            head_good: true,
            parts_good: true,
            reached: true,
        } => CheckpointVerdict::Use,
        // Rot in its head, or a head of a later format.
        CheckpointFacts {
            head_good: false, ..
        } => CheckpointVerdict::Skip,
        // Rot in a part: entries would be missing that no replay brings back in the right order.
        CheckpointFacts {
            parts_good: false, ..
        } => CheckpointVerdict::Skip,
        // A stale checkpoint, or a lost segment behind it: removes and overwrites are missing in between.
        CheckpointFacts { reached: false, .. } => CheckpointVerdict::Skip,
    }
}

/// What is known of the log as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogFacts {
    /// The life that wrote it went on without it, in memory alone, and was killed in this boot.
    pub void: bool,
    /// Something attests a newer segment than any that was found.
    pub end_missing: bool,
    /// A checkpoint can be used.
    pub checkpoint: bool,
    /// A segment is missing before the oldest one that was found.
    pub broken: bool,
}

/// What the index begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogVerdict {
    /// The checkpoint, and the log from its C on.
    FromCheckpoint,
    /// The unbroken part of the log, from its first frame on. Entries that only a checkpoint or a missing segment knew
    /// are forgotten: a subset, never an older value, for whatever could have replaced an entry is newer than it and
    /// lies in the part that is there.
    FromLog,
    /// Nothing: any entry may have been replaced in what is missing.
    Nothing,
}

/// The table for the log.
#[must_use]
pub const fn judge_log(facts: LogFacts) -> LogVerdict {
    match facts {
        // What that life removed or stored since is in no file.
        LogFacts { void: true, .. } => LogVerdict::Nothing,
        // The header of the newest segment rotted, or its file was removed.
        LogFacts {
            end_missing: true, ..
        } => LogVerdict::Nothing,
        // The normal case. A break before the checkpoint's C does not matter: the image was made after it.
        LogFacts {
            checkpoint: true, ..
        } => LogVerdict::FromCheckpoint,
        // A young cache, or one whose checkpoints rotted.
        LogFacts {
            checkpoint: false,
            broken: false,
            ..
        } => LogVerdict::FromLog,
        // A lost segment in the middle and no checkpoint after it.
        LogFacts {
            checkpoint: false,
            broken: true,
            ..
        } => LogVerdict::FromLog,
    }
}

#[cfg(test)]
mod tests {
    use perennial_wal::{GapFacts, GapVerdict, judge_gap};

    use super::*;

    /// Every combination of three facts.
    fn facts() -> impl Iterator<Item = [bool; 3]> {
        (0..8).map(|n| [1, 2, 4].map(|bit| n & bit != 0))
    }

    #[test]
    fn a_gap_is_damage_exactly_where_an_operation_may_have_returned() {
        for ([below_stable, same_boot, buffer_complete], key_known) in
            facts().flat_map(|facts| [(facts, false), (facts, true)])
        {
            for unreadable in [false, true] {
                let verdict = judge_gap(GapFacts {
                    below_stable,
                    same_boot,
                    buffer_complete,
                    key_known,
                    unreadable,
                });
                let may_have_returned = if same_boot {
                    buffer_complete
                } else {
                    unreadable
                };
                assert_eq!(
                    matches!(verdict, GapVerdict::DamagedKey | GapVerdict::DamagedUnknown),
                    below_stable || may_have_returned
                );
            }
        }
    }

    #[test]
    fn a_checkpoint_counts_only_whole_and_connected() {
        for [head_good, parts_good, reached] in facts() {
            let verdict = judge_checkpoint(CheckpointFacts {
                head_good,
                parts_good,
                reached,
            });
            assert_eq!(
                verdict == CheckpointVerdict::Use,
                head_good && parts_good && reached
            );
        }
    }

    #[test]
    fn without_its_end_nothing_of_the_log_counts() {
        for ([end_missing, checkpoint, broken], void) in
            facts().flat_map(|facts| [(facts, false), (facts, true)])
        {
            let verdict = judge_log(LogFacts {
                void,
                end_missing,
                checkpoint,
                broken,
            });
            assert_eq!(verdict == LogVerdict::Nothing, end_missing || void);
            assert_eq!(
                verdict == LogVerdict::FromCheckpoint,
                checkpoint && !end_missing && !void
            );
        }
    }
}
