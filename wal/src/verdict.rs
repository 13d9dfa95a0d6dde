//! What bytes that are not the expected frame mean: the table.
//!
//! A torn end and damage in the middle both fail their checksum. Cutting the log at damage would lose what was
//! acknowledged; calling a torn end damage would forget what was not. The facts decide.

/// What is known of a place in the log where a frame should be and none proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GapFacts {
    /// The place lies below a stable LSN that something that proves itself attests.
    pub below_stable: bool,
    /// The tail is of this boot: it holds what the dead process had stored.
    pub same_boot: bool,
    /// Some of the place lies where no writer was left in the middle: in a buffer without writers, whose frames were all
    /// complete, or where no descriptor says that anything was reserved, though something lies behind.
    pub buffer_complete: bool,
    /// The frame's header proves itself, only its body does not: the key is known.
    pub key_known: bool,
    /// The media did not give the bytes that would say whether a frame was written here.
    pub unreadable: bool,
}

/// What a gap means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapVerdict {
    /// An operation that never returned. It is skipped; the log goes on behind it.
    Hole,
    /// Damage to an operation on a known key: the key is forgotten.
    DamagedKey,
    /// Damage to an operation on a key that cannot be told: everything older is forgotten.
    DamagedUnknown,
    /// The log ends here.
    End,
}

/// The table. Each row has its physical cause.
#[must_use]
pub fn judge_gap(facts: GapFacts) -> GapVerdict {
    match facts {
        GapFacts {
            below_stable: true, ..
        } if perennial_failpoints::planted!("damage-is-a-hole") => GapVerdict::Hole,
        GapFacts {
            below_stable: false,
            same_boot: false,
            ..
        } if perennial_failpoints::planted!("gap-skipped-after-lost-power") => GapVerdict::Hole,
        GapFacts {
            below_stable: false,
            same_boot: true,
            buffer_complete: false,
            ..
        } if perennial_failpoints::planted!("hole-ends-the-log") => GapVerdict::End,
        // Bit rot, a lost or misdirected write: the frame was on stable storage once.
        GapFacts {
            below_stable: true,
            key_known: true,
            ..
        } => GapVerdict::DamagedKey,
        GapFacts {
            below_stable: true,
            key_known: false,
            ..
        } => GapVerdict::DamagedUnknown,
        // The process died; all its writers had finished here. The memory or its file rotted since, the frames or the
        // descriptors.
        GapFacts {
            same_boot: true,
            buffer_complete: true,
            key_known: true,
            ..
        } => GapVerdict::DamagedKey,
        GapFacts {
            same_boot: true,
            buffer_complete: true,
            key_known: false,
            ..
        } => GapVerdict::DamagedUnknown,
        // The process died while a writer was copying; others behind it had returned.
        GapFacts {
            same_boot: true,
            buffer_complete: false,
            ..
        } => GapVerdict::Hole,
        // The power failed, and the media does not give what lay here: it may have been durable, and what attested that may
        // have lain beside it. To take it for never written showed what it had replaced.
        GapFacts {
            same_boot: false,
            unreadable: true,
            key_known: true,
            ..
        } => GapVerdict::DamagedKey,
        GapFacts {
            same_boot: false,
            unreadable: true,
            key_known: false,
            ..
        } => GapVerdict::DamagedUnknown,
        // The power failed: what was not synced is anything. No durable acknowledgement lies behind.
        GapFacts {
            same_boot: false,
            unreadable: false,
            ..
        } => GapVerdict::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = GapFacts> {
        (0..32_u8).map(|bits| GapFacts {
            below_stable: bits & 1 != 0,
            same_boot: bits & 2 != 0,
            buffer_complete: bits & 4 != 0,
            key_known: bits & 8 != 0,
            unreadable: bits & 16 != 0,
        })
    }

    #[test]
    fn nothing_stable_is_ever_skipped_or_cut_off() {
        for facts in all().filter(|f| f.below_stable) {
            assert!(
                matches!(
                    judge_gap(facts),
                    GapVerdict::DamagedKey | GapVerdict::DamagedUnknown
                ),
                "{facts:?}"
            );
        }
    }

    #[test]
    fn only_a_dead_process_leaves_holes_and_only_lost_power_ends_the_log() {
        for facts in all() {
            match judge_gap(facts) {
                GapVerdict::Hole => {
                    assert!(facts.same_boot && !facts.buffer_complete && !facts.below_stable)
                }
                GapVerdict::End => {
                    assert!(!facts.same_boot && !facts.below_stable && !facts.unreadable)
                }
                GapVerdict::DamagedKey => assert!(facts.key_known),
                GapVerdict::DamagedUnknown => assert!(!facts.key_known),
            }
        }
    }
}
