//! What a mapped piece held earlier: the kernel writes a dirty page back when it likes, so the media may hold any version
//! of it. Versions are noted at every sync on the machine, which is where one order of writes can be told from another.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::fs::mapping::Memory;

/// So many earlier versions of a piece are kept, the newest ones.
const VERSIONS_MAX: usize = 4;

/// Where a piece begins, and its versions since the file's last sync, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions(BTreeMap<usize, Vec<Arc<[u8]>>>);

impl Versions {
    pub(super) fn note(&mut self, piece: Range<usize>, memory: &Memory) {
        let versions = self.0.entry(piece.start).or_default();
        let is_known = |last: &Arc<[u8]>| memory.holds(piece.start, last);
        if versions.last().is_some_and(is_known) {
            return;
        }
        if versions.len() == VERSIONS_MAX {
            versions.remove(0);
        }
        versions.push(Arc::from(memory.bytes(piece)));
    }

    pub(super) fn of(&self, start: usize) -> &[Arc<[u8]>] {
        self.0.get(&start).map_or(&[], |versions| versions)
    }

    pub(super) fn starts(&self) -> impl Iterator<Item = usize> {
        self.0.keys().copied()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
