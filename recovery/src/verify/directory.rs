//! The files around the segments: identity, tail, what is missing and what is not ours.

use perennial_wal::TailHead;
use perennial_wal::segment::{file_name, slot_of};

use super::Check;
use crate::identity::{self, IdentityFileError, TailKind};
use crate::report::Problem;
use crate::tail_file::TailFile;

impl Check<'_, '_> {
    pub(super) fn identity(&mut self) -> Result<(), IdentityFileError> {
        for (at, why) in identity::bad_copies(self.dir)? {
            let what = format!("a copy of the identity is no good ({why}); the other one is");
            self.problem(identity::FILE_NAME, at, what);
        }
        Ok(())
    }

    /// After a power loss the tail may be anything, for it is never synced.
    pub(super) fn tail(&mut self, tail: &TailFile) {
        self.report.bytes += tail.bytes();
        let path = tail.path.display().to_string();
        let mut problem = |offset, what: &str| {
            let (path, what) = (path.clone(), what.to_owned());
            self.report.problems.push(Problem { path, offset, what });
        };
        let Some(head) = &tail.head_bytes else {
            let expected = self.identity.tail.kind == TailKind::Mapped;
            if expected && !self.contents.found.chain.is_empty() {
                problem(0, "the tail is missing, and with it what it alone held");
            }
            return;
        };
        if !tail.same_boot {
            return;
        }
        for (at, good) in TailHead::copies(head) {
            if !good {
                problem(
                    at,
                    "a copy in the tail's head is damaged; the other one is good",
                );
            }
        }
    }

    pub(super) fn chain(&mut self, tail: &TailFile) {
        let found = &self.contents.found;
        let known = |name: &str| {
            slot_of(name).is_some()
                || name.starts_with(identity::TAIL_PREFIX)
                || [
                    identity::FILE_NAME,
                    identity::TEMPORARY_NAME,
                    identity::LOCK_NAME,
                ]
                .contains(&name)
        };
        let names = self.dir.list().unwrap_or_default();
        let others = names.iter().filter(|entry| !known(&entry.name)).count();
        self.report.foreign_files = (found.foreign.len() + others) as u64;
        if !found.broken && !found.end_missing {
            return;
        }
        // One of these it must be; where nothing is missing they are free space.
        for slot in found.damaged.clone() {
            self.problem(
                &file_name(slot),
                0,
                "both copies of the segment header are damaged",
            );
        }
        if self.contents.found.end_missing {
            let path = tail.path.display().to_string();
            let what = "the tail knows a newer segment than any that is there".to_owned();
            let offset = 0;
            self.report.problems.push(Problem { path, offset, what });
        }
        if self.contents.found.broken
            && let Some(first) = self.contents.found.chain.first()
        {
            let (slot, before) = (first.slot, first.header.predecessor);
            self.problem(
                &file_name(slot),
                0,
                format!("the segment before it, {before}, is missing"),
            );
        }
    }
}
