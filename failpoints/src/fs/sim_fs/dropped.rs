//! Sectors that a failed sync gave up: clean, so that no later sync writes them, and not on the media.
//!
//! "Can applications recover from fsync failures?" (Rebello et al., 2020): the kernel marks the pages clean, ext4 and
//! XFS go on showing the new bytes, and the next sync reports success.

use std::collections::BTreeMap;
use std::ops::Range;

use super::sectors::{SECTOR_BYTES, pieces};

/// Where such a sector begins, and what the media holds there.
#[derive(Debug, Clone, Default)]
pub(super) struct Dropped(BTreeMap<usize, Vec<u8>>);

impl Dropped {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &[u8])> {
        self.0.iter().map(|(start, media)| (*start, &**media))
    }

    /// A sector is given up. One that was before is still what the media held then.
    pub(super) fn add(&mut self, start: usize, media: Vec<u8>) {
        self.0.entry(start).or_insert(media);
    }

    /// These bytes were written anew and synced.
    pub(super) fn written(&mut self, bytes: &Range<usize>) {
        for sector in pieces(bytes.clone(), SECTOR_BYTES) {
            self.0.remove(&(sector.start / SECTOR_BYTES * SECTOR_BYTES));
        }
    }

    /// The file was cut, durably.
    pub(super) fn cut(&mut self, len: usize) {
        self.0.retain(|start, _| *start < len);
        if let Some((start, media)) = self.0.iter_mut().next_back() {
            media.truncate(len - start);
        }
    }

    /// Puts what the media holds in place of what readers see.
    pub(super) fn lay_over(&self, content: &mut [u8]) {
        for (start, media) in self.iter() {
            if let Some(shown) = content.get_mut(start..) {
                let len = media.len().min(shown.len());
                shown[..len].copy_from_slice(&media[..len]);
            }
        }
    }

    /// Flips bits of the byte at `at` of the file.
    pub(super) fn flip(&mut self, at: usize, mask: u8) {
        let start = at / SECTOR_BYTES * SECTOR_BYTES;
        let media = self.0.get_mut(&start);
        let byte = media.and_then(|media| media.get_mut(at - start));
        byte.into_iter().for_each(|byte| *byte ^= mask);
    }
}
