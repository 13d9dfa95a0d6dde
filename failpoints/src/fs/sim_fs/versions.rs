//! What a mapped piece held earlier: the kernel writes a dirty page back when it likes, so the media may hold any version
//! of it. Versions are noted at every sync on the machine, which is where one order of writes can be told from another.

use std::collections::BTreeMap;
use std::sync::Arc;

/// So many earlier versions of a piece are kept, the newest ones.
const VERSIONS_MAX: usize = 4;

/// Where a piece begins, and its versions since the file's last sync, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions(BTreeMap<usize, Vec<Arc<[u8]>>>);

impl Versions {
    pub(super) fn note(&mut self, start: usize, bytes: &[u8]) {
        let versions = self.0.entry(start).or_default();
        if versions.last().is_some_and(|last| **last == *bytes) {
            return;
        }
        if versions.len() == VERSIONS_MAX {
            versions.remove(0);
        }
        versions.push(Arc::from(bytes));
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
