//! The files around the segments: identity, tail, what is missing and what is not ours.

use perennial_wal::segment::{file_name, slot_of};
use perennial_wal::{Patch, Remedy, TailHead};

use super::Check;
use crate::cure::Cure;
use crate::identity::{self, IdentityFileError, TailKind};
use crate::tail_file::TailFile;

impl Check<'_, '_> {
    pub(super) fn identity(&mut self) -> Result<(), IdentityFileError> {
        for (at, why) in identity::bad_copies(self.dir)? {
            let what = format!("a copy of the identity is no good ({why}); the other one is");
            let path = self.path(identity::FILE_NAME);
            self.problem(path, at, what, Some(Cure::Identity));
        }
        Ok(())
    }

    /// After a power loss the tail may be anything, for it is never synced.
    pub(super) fn tail(&mut self, tail: &TailFile) {
        self.report.bytes += tail.bytes();
        let path = || tail.path.clone();
        let Some(bytes) = &tail.head_bytes else {
            let expected = self.identity.tail.kind == TailKind::Mapped;
            if expected && !self.contents.found.chain.is_empty() {
                let what = "the tail is missing, and with it what it alone held";
                self.problem(path(), 0, what, Some(Cure::Tail));
            }
            return;
        };
        let Some(head) = tail.head.as_ref().filter(|_| tail.same_boot) else {
            return;
        };
        for (at, good) in TailHead::copies(bytes) {
            if good {
                continue;
            }
            let what = "a copy in the tail's head is damaged; the other one is good";
            let patch = head.encode_copy(at).map(|bytes| Patch {
                offset: at,
                bytes,
                remedy: Remedy::FromCopy,
            });
            let cure = patch.map(|patch| Cure::Patch(path(), patch));
            self.problem(path(), at, what, cure);
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
            let what = "both copies of the segment header are damaged";
            self.problem(self.path(&file_name(slot)), 0, what, None);
        }
        if self.contents.found.end_missing {
            let what = "the tail knows a newer segment than any that is there";
            self.problem(tail.path.clone(), 0, what, None);
        }
        if self.contents.found.broken
            && let Some(first) = self.contents.found.chain.first()
        {
            let path = self.path(&file_name(first.slot));
            let before = first.header.predecessor;
            let what = format!("the segment before it, {before}, is missing");
            self.problem(path, 0, what, None);
        }
    }
}
