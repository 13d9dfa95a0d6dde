//! One file: its content as seen, and the changes that no sync has made durable.
//!
//! ```text
//!   durable content  --- pending[0] --- pending[1] --- ... --->  content        (undo walks back, redo forth)
//!   content          --- stores through a map, in 4096-byte pieces ---> memory  (only where the file is mapped)
//! ```
//!
//! The durable content is not kept: each change carries what it replaced. A sync forgets the changes and so costs
//! what was written since the last one, whatever the file's size; images share a file's content until one of them changes it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::fs::invalid;
use crate::fs::mapping::{MAP_ALIGN, Memory};

use super::Shows;
use super::dropped::Dropped;
use super::sectors::{SECTOR_BYTES, SectorSet, pieces};
use super::versions::Versions;

/// A change of data or size that no sync has made durable.
#[derive(Debug, Clone)]
pub(super) enum Effect {
    /// Bytes from `start` on, whole sectors except at the file's end; both lengths are the file's.
    Write {
        start: usize,
        old: Vec<u8>,
        new: Vec<u8>,
        old_len: usize,
        new_len: usize,
    },
    /// A cut (which took `cut` away) or an extension.
    Resize {
        new_len: usize,
        cut: Vec<u8>,
        old_len: usize,
    },
}

/// Of maps up to this size earlier versions are kept.
const VERSIONED_MAP_MAX: usize = 1 << 20;

/// A mapped piece, and the versions of it that the media may show, the newest last.
pub(super) type Unsettled = (Range<usize>, Vec<Arc<[u8]>>);

#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What every reader sees, except where `memory` covers it. Its length is the file's.
    /// Images share it until one of them changes it.
    content: Arc<Vec<u8>>,
    /// Issue number and change, oldest first.
    pub(super) pending: Vec<(u64, Arc<Effect>)>,
    /// Sectors that were on the media once: rewriting them shows old or new bytes, nothing else.
    pub(super) synced: SectorSet,
    /// Sectors that a failed sync gave up.
    pub(super) dropped: Dropped,
    /// The file's first bytes, shared with its maps, once it was mapped.
    pub(super) memory: Option<Arc<Memory>>,
    /// What the memory held at earlier syncs.
    pub(super) versions: Versions,
    /// Open handles and held locks.
    pub(super) handles: usize,
    /// Has a name now.
    pub(super) linked: bool,
}

impl Inode {
    /// A file that the media holds as it is seen.
    pub(super) fn durable(content: Vec<u8>, synced: SectorSet) -> Self {
        Self {
            content: Arc::new(content),
            synced,
            linked: true,
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.content.len()
    }

    /// What every reader sees, except where the file is mapped.
    pub(super) fn content(&self) -> Arc<Vec<u8>> {
        Arc::clone(&self.content)
    }

    fn content_mut(&mut self) -> &mut Vec<u8> {
        Arc::make_mut(&mut self.content)
    }

    /// How many of the first bytes live in the shared memory.
    fn mapped_len(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.len())
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: usize) -> usize {
        let n = buf.len().min(self.len().saturating_sub(offset));
        if n == 0 {
            return 0;
        }
        let from_memory = n.min(self.mapped_len().saturating_sub(offset));
        if let Some(memory) = self.memory.as_ref().filter(|_| from_memory > 0) {
            memory.read(offset, &mut buf[..from_memory]);
        }
        buf[from_memory..n].copy_from_slice(&self.content[offset + from_memory..offset + n]);
        n
    }

    /// The whole content.
    pub(super) fn read_all(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        self.read_into(|bytes| out.extend_from_slice(bytes));
        out
    }

    /// The same, in two pieces at most.
    pub(super) fn read_into(&self, mut take: impl FnMut(&[u8])) {
        let mapped = self.mapped_len();
        if let Some(memory) = &self.memory {
            take(&memory.bytes(0..mapped));
        }
        take(&self.content[mapped..]);
    }

    pub(super) fn write(&mut self, number: u64, offset: usize, data: &[u8]) {
        let in_memory = data.len().min(self.mapped_len().saturating_sub(offset));
        if let Some(memory) = self.memory.as_ref().filter(|_| in_memory > 0) {
            memory.write(offset, &data[..in_memory]);
        }
        if in_memory < data.len() {
            self.write_content(number, offset + in_memory, &data[in_memory..]);
        }
    }

    fn write_content(&mut self, number: u64, offset: usize, data: &[u8]) {
        let old_len = self.len();
        let end = offset + data.len();
        let start = (offset / SECTOR_BYTES * SECTOR_BYTES).max(self.mapped_len());
        let aligned_end = end.next_multiple_of(SECTOR_BYTES);
        let old = self.copy_of(start..aligned_end);
        if end > old_len {
            self.content_mut().resize(end, 0);
        }
        self.content_mut()[offset..end].copy_from_slice(data);
        let effect = Effect::Write {
            start,
            old,
            new: self.copy_of(start..aligned_end),
            old_len,
            new_len: self.len(),
        };
        self.pending.push((number, Arc::new(effect)));
    }

    /// The part of `range` that lies in the file.
    fn copy_of(&self, range: Range<usize>) -> Vec<u8> {
        let end = range.end.min(self.len());
        self.content[range.start.min(end)..end].to_vec()
    }

    pub(super) fn set_len(&mut self, number: u64, new_len: usize) -> io::Result<()> {
        if new_len < self.mapped_len() {
            self.unmap(number)?;
        }
        let old_len = self.len();
        if new_len == old_len {
            return Ok(());
        }
        let cut = self.copy_of(new_len..old_len);
        self.content_mut().resize(new_len, 0);
        let effect = Effect::Resize {
            new_len,
            cut,
            old_len,
        };
        self.pending.push((number, Arc::new(effect)));
        Ok(())
    }

    /// The memory behind a map of the first `len` bytes.
    pub(super) fn map(&mut self, number: u64, len: usize) -> io::Result<Arc<Memory>> {
        if len == 0 || len > self.len() {
            return Err(invalid("a map of nothing, or longer than the file"));
        }
        if len > self.mapped_len() {
            self.unmap(number)?;
        }
        if self.memory.is_none() {
            let memory = Memory::new(self.len());
            memory.write(0, &self.content);
            self.memory = Some(Arc::new(memory));
        }
        let memory = self.memory.as_ref().map(Arc::clone);
        memory.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Takes the content back from the shared memory, which no map may use any more.
    fn unmap(&mut self, number: u64) -> io::Result<()> {
        let Some(memory) = self.memory.take() else {
            return Ok(());
        };
        if Arc::strong_count(&memory) > 1 {
            self.memory = Some(memory);
            return Err(invalid("a live map covers other bytes of the file"));
        }
        for (piece, bytes) in dirty_pieces(&self.content, &memory) {
            self.write_content(number, piece.start, &bytes);
        }
        self.versions.clear();
        Ok(())
    }

    /// Notes what the mapped memory holds: the media may show it, whatever is stored there next. Of large maps only the
    /// newest version is known: looking through 64 MiB at every sync would make a simulation of a machine too slow to use.
    pub(super) fn note_versions(&mut self) {
        if self.mapped_len() > VERSIONED_MAP_MAX {
            return;
        }
        let Some(memory) = &self.memory else { return };
        for piece in differing(&self.content, memory) {
            self.versions.note(piece, memory);
        }
    }

    /// Pieces of the mapped memory of which the media may hold another version, each with all that were stored since
    /// the last sync, the newest last.
    pub(super) fn unsettled(&self) -> Vec<Unsettled> {
        let mut unsettled = BTreeMap::new();
        let end = |start: usize| (start + MAP_ALIGN).min(self.mapped_len());
        for start in self.versions.starts() {
            let versions = self.versions.of(start).to_vec();
            unsettled.insert(start, (start..end(start), versions));
        }
        for (piece, bytes) in self.dirty() {
            let entry = unsettled.entry(piece.start);
            let (_, versions) = entry.or_insert_with(|| (piece, Vec::new()));
            versions.push(Arc::from(bytes));
        }
        unsettled.into_values().collect()
    }

    /// Pieces of the mapped memory that no sync has made durable, with their bytes.
    pub(super) fn dirty(&self) -> Vec<(Range<usize>, Vec<u8>)> {
        let memory = self.memory.as_ref();
        memory.map_or_else(Vec::new, |memory| dirty_pieces(&self.content, memory))
    }

    /// Everything issued so far is on the media.
    pub(super) fn sync(&mut self) {
        for (_, effect) in self.pending.drain(..) {
            match &*effect {
                Effect::Write { start, new, .. } => {
                    let written = *start..start + new.len();
                    self.dropped.written(&written);
                    self.synced.insert_bytes(written);
                }
                Effect::Resize { new_len, .. } => {
                    self.synced.cut(*new_len);
                    self.dropped.cut(*new_len);
                }
            }
        }
        for (piece, bytes) in self.dirty() {
            self.dropped.written(&piece);
            self.synced.insert_bytes(piece.clone());
            self.content_mut()[piece].copy_from_slice(&bytes);
        }
        self.versions.clear();
    }

    /// A sync that fails: sizes are on the media, bytes are not, and no later sync will write them. Stores through a map
    /// stay visible in any case: a live map is not taken back.
    pub(super) fn fail_sync(&mut self, shows: Shows) {
        let media = self.durable_content();
        for (_, effect) in std::mem::take(&mut self.pending) {
            match &*effect {
                Effect::Write { start, new, .. } => {
                    self.give_up(*start..start + new.len(), &media, shows);
                }
                Effect::Resize { new_len, .. } => {
                    self.synced.cut(*new_len);
                    self.dropped.cut(*new_len);
                }
            }
        }
        for (piece, bytes) in self.dirty() {
            self.content_mut()[piece.clone()].copy_from_slice(&bytes);
            self.give_up(piece, &media, Shows::New);
        }
        self.versions.clear();
    }

    fn give_up(&mut self, bytes: Range<usize>, media: &[u8], shows: Shows) {
        for sector in pieces(bytes.start..bytes.end.min(self.len()), SECTOR_BYTES) {
            let mut held = vec![0; sector.len()];
            let there = media.get(sector.start..sector.end.min(media.len()));
            let there = there.unwrap_or(&[]);
            held[..there.len()].copy_from_slice(there);
            match shows {
                Shows::New => self.dropped.add(sector.start, held),
                Shows::Old => self.content_mut()[sector].copy_from_slice(&held),
            }
        }
    }

    /// How many choices a power loss has here.
    pub(super) fn pending(&self) -> usize {
        let grows = |e: &&(u64, Arc<Effect>)| matches!(&*e.1, Effect::Write { old_len, new_len, .. } if old_len != new_len);
        let growing = self.pending.iter().filter(grows).count();
        self.pending.len() + growing + self.dropped.len() + self.unsettled().len()
    }

    /// The content that the media is known to hold.
    pub(super) fn durable_content(&self) -> Vec<u8> {
        let mut content = self.undone();
        self.dropped.lay_over(&mut content);
        content
    }

    /// The pending changes undone, newest first: what the last sync, even a failed one, saw.
    pub(super) fn undone(&self) -> Vec<u8> {
        let mut content = self.content.to_vec();
        for (_, effect) in self.pending.iter().rev() {
            match &**effect {
                Effect::Write {
                    start,
                    old,
                    old_len,
                    ..
                } => {
                    content.truncate(*old_len);
                    if !old.is_empty() {
                        content[*start..start + old.len()].copy_from_slice(old);
                    }
                }
                Effect::Resize {
                    cut,
                    old_len,
                    new_len,
                } => {
                    content.truncate(*old_len.min(new_len));
                    content.extend_from_slice(cut);
                }
            }
        }
        content
    }

    /// Flips a bit in everything that holds this byte, as rot on the media would show it.
    pub(super) fn flip_bit(&mut self, byte: usize, bit: u32) {
        let mask = 1 << (bit % 8);
        if let Some(memory) = self.memory.as_ref().filter(|m| byte < m.len()) {
            let mut rotten = [0];
            memory.read(byte, &mut rotten);
            memory.write(byte, &[rotten[0] ^ mask]);
        }
        let flip = |bytes: &mut [u8], start: usize| {
            let at = byte.checked_sub(start).and_then(|at| bytes.get_mut(at));
            at.into_iter().for_each(|b| *b ^= mask);
        };
        flip(self.content_mut(), 0);
        self.dropped.flip(byte, mask);
        for (_, effect) in &mut self.pending {
            match Arc::make_mut(effect) {
                Effect::Write {
                    start, old, new, ..
                } => {
                    flip(old, *start);
                    flip(new, *start);
                }
                Effect::Resize { cut, new_len, .. } => flip(cut, *new_len),
            }
        }
    }

    /// The same file in another image: no handles, no maps, the same unsynced changes.
    pub(super) fn copy(&self) -> Self {
        let memory = self.memory.as_ref().map(|memory| Arc::new(memory.copy()));
        Self {
            content: self.content(),
            pending: self.pending.clone(),
            synced: self.synced.clone(),
            dropped: self.dropped.clone(),
            memory,
            versions: self.versions.clone(),
            handles: 0,
            linked: self.linked,
        }
    }
}

/// Where `memory` differs from the content beneath it.
fn differing(content: &[u8], memory: &Memory) -> impl Iterator<Item = Range<usize>> {
    let differs = |piece: &Range<usize>| !memory.holds(piece.start, &content[piece.clone()]);
    pieces(0..memory.len(), MAP_ALIGN).filter(differs)
}

fn dirty_pieces(content: &[u8], memory: &Memory) -> Vec<(Range<usize>, Vec<u8>)> {
    let with_bytes = |piece: Range<usize>| (piece.clone(), memory.bytes(piece));
    differing(content, memory).map(with_bytes).collect()
}
