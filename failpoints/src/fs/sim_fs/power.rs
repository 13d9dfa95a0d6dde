//! What a power loss leaves of the changes that no sync had made durable.
//!
//! Coin flips alone would hardly ever keep everything, or lose just one thing, which is what finds most bugs. So the
//! seed first picks a [`Mode`]; most of them are extremes.

use std::ops::Range;
use std::sync::Arc;

use super::inode::{Effect, Inode};
use super::rng::Rng;
use super::sectors::{SECTOR_BYTES, SectorSet, pieces};

/// What becomes of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    Drop,
    /// Some pieces of it: see [`Chooser::keep_piece`].
    Torn,
}

/// How one power loss treats the changes.
#[derive(Debug, Clone, Copy)]
enum Mode {
    All,
    Nothing,
    /// All but the change counted here, which is lost or torn.
    AllBut(u64),
    /// Only the change counted here, whole or torn.
    Only(u64),
    /// Everything issued before this number, nothing after; the change of this number is torn. A disk that keeps
    /// the order.
    Until(u64),
    /// Those whose bit is set, whole.
    Just(u64),
    /// Each for itself.
    Coins,
}

/// Bytes of which deleted files were made, shown again by space that was given to others.
pub(super) type Stale = [Arc<Vec<u8>>];

/// The seed's decisions, asked for one change after the other.
#[derive(Debug)]
pub(super) struct Chooser {
    rng: Rng,
    mode: Mode,
    /// Pieces are kept at odds of this many eighths.
    eighths: u64,
    /// Writes are torn at multiples of this.
    granule: usize,
    asked: u64,
}

impl Chooser {
    /// `changes` can be lost; their issue numbers lie in `issued`.
    pub(super) fn new(mut rng: Rng, changes: u64, issued: Range<u64>) -> Self {
        let mode = match rng.below(16) {
            0 => Mode::All,
            1 => Mode::Nothing,
            2 | 3 => Mode::AllBut(rng.below(changes)),
            4 | 5 => Mode::Only(rng.below(changes)),
            6..=8 => Mode::Until(issued.start + rng.below(issued.end - issued.start)),
            _ => Mode::Coins,
        };
        Self {
            eighths: 1 + rng.below(7),
            granule: if rng.odds(2) {
                8 * SECTOR_BYTES
            } else {
                SECTOR_BYTES
            },
            rng,
            mode,
            asked: 0,
        }
    }

    /// Keeps the changes whose bit is set, in the order in which they are asked for.
    pub(super) const fn keeping(rng: Rng, kept: u64) -> Self {
        Self {
            rng,
            mode: Mode::Just(kept),
            eighths: 4,
            granule: SECTOR_BYTES,
            asked: 0,
        }
    }

    /// Decides on the next change; `issued` is its number if it has one (stores through a map have none).
    pub(super) fn next_effect(&mut self, issued: Option<u64>) -> Fate {
        let this = self.asked;
        self.asked += 1;
        match (self.mode, issued) {
            (Mode::All, _) => Fate::Keep,
            (Mode::Just(kept), _) if this < 64 && kept >> this & 1 == 1 => Fate::Keep,
            (Mode::Just(_), _) => Fate::Drop,
            (Mode::Nothing, _) => Fate::Drop,
            (Mode::AllBut(one), _) if one != this => Fate::Keep,
            (Mode::AllBut(_), _) => self.one_of(Fate::Drop, Fate::Torn),
            (Mode::Only(one), _) if one != this => Fate::Drop,
            (Mode::Only(_), _) => self.one_of(Fate::Keep, Fate::Torn),
            (Mode::Until(end), Some(number)) if number < end => Fate::Keep,
            (Mode::Until(end), Some(number)) if number > end => Fate::Drop,
            (Mode::Until(_), Some(_)) => Fate::Torn,
            (Mode::Coins | Mode::Until(_), _) => self.coin(),
        }
    }

    fn one_of(&mut self, a: Fate, b: Fate) -> Fate {
        if self.rng.odds(4) { a } else { b }
    }

    fn coin(&mut self) -> Fate {
        if self.rng.odds(4) {
            Fate::Torn
        } else if self.keep_piece() {
            Fate::Keep
        } else {
            Fate::Drop
        }
    }

    /// Decides on one piece of a torn change.
    pub(super) fn keep_piece(&mut self) -> bool {
        self.rng.odds(self.eighths)
    }

    fn keeps_whole(&mut self, issued: Option<u64>) -> bool {
        match self.next_effect(issued) {
            Fate::Keep => true,
            Fate::Drop => false,
            Fate::Torn => self.keep_piece(),
        }
    }

    /// Of `count` versions that a mapped piece had, the newest is the last: which one was written back.
    fn version(&mut self, count: usize) -> usize {
        let newest = count - 1;
        match self.mode {
            Mode::Coins | Mode::Until(_) if self.rng.odds(4) => {
                usize::try_from(self.rng.below(count as u64)).unwrap_or(newest)
            }
            _ => newest,
        }
    }

    fn keeps(&mut self, fate: Fate) -> bool {
        fate == Fate::Keep || (fate == Fate::Torn && self.keep_piece())
    }
}

/// A file in the making.
struct Remains<'a> {
    /// May be longer than the file: data without the size.
    bytes: Vec<u8>,
    len: usize,
    synced: SectorSet,
    stale: &'a Stale,
}

/// The file that a power loss leaves.
pub(super) fn after_power_loss(inode: &Inode, stale: &Stale, chooser: &mut Chooser) -> Inode {
    let bytes = inode.undone();
    let mut remains = Remains {
        len: bytes.len(),
        bytes,
        synced: inode.synced.clone(),
        stale,
    };
    for (start, media) in inode.dropped.iter() {
        remains.take_dropped(start, media, chooser);
    }
    for (number, effect) in &inode.pending {
        remains.take(*number, effect, chooser);
    }
    for (piece, versions) in inode.unsettled() {
        remains.take_mapped(piece, &versions, chooser);
    }
    remains.bytes.resize(remains.len, 0);
    Inode::durable(remains.bytes, remains.synced)
}

impl Remains<'_> {
    fn take(&mut self, number: u64, effect: &Effect, chooser: &mut Chooser) {
        match effect {
            Effect::Write {
                start,
                new,
                old_len,
                new_len,
                ..
            } => {
                self.take_write(number, *start, new, chooser);
                if old_len != new_len && chooser.keeps_whole(Some(number)) {
                    self.len = *new_len;
                }
            }
            Effect::Resize { new_len, .. } => {
                if chooser.keeps_whole(Some(number)) {
                    self.len = *new_len;
                    self.bytes.truncate(*new_len);
                    self.synced.cut(*new_len);
                }
            }
        }
    }

    /// A sector that a failed sync gave up: it may have been written all the same.
    fn take_dropped(&mut self, start: usize, media: &[u8], chooser: &mut Chooser) {
        let end = (start + media.len()).min(self.bytes.len());
        if start >= end {
            return;
        }
        if chooser.keeps_whole(None) {
            self.synced.insert_bytes(start..end);
        } else {
            self.bytes[start..end].copy_from_slice(&media[..end - start]);
            self.lose(start..end, chooser);
        }
    }

    /// A mapped piece: one of its versions, or torn among them, sector by sector.
    fn take_mapped(&mut self, piece: Range<usize>, versions: &[Arc<[u8]>], chooser: &mut Chooser) {
        match chooser.next_effect(None) {
            Fate::Drop => {}
            Fate::Keep => {
                let which = chooser.version(versions.len());
                self.put(piece, &versions[which]);
            }
            Fate::Torn => {
                for sector in pieces(piece.clone(), SECTOR_BYTES) {
                    if chooser.keep_piece() {
                        let which = chooser.version(versions.len());
                        let part = sector.start - piece.start..sector.end - piece.start;
                        self.put(sector, &versions[which][part]);
                    }
                }
            }
        }
    }

    fn take_write(&mut self, number: u64, start: usize, new: &[u8], chooser: &mut Chooser) {
        let fate = chooser.next_effect(Some(number));
        for piece in pieces(start..start + new.len(), chooser.granule) {
            let bytes = &new[piece.start - start..piece.end - start];
            if chooser.keeps(fate) {
                self.put(piece, bytes);
            } else {
                self.lose(piece, chooser);
            }
        }
    }

    /// The bytes are on the media. From now on they are rewritten like any others: what a restart can read is there.
    fn put(&mut self, piece: Range<usize>, bytes: &[u8]) {
        self.reach(piece.end);
        self.bytes[piece.clone()].copy_from_slice(bytes);
        self.synced.insert_bytes(piece);
    }

    fn reach(&mut self, end: usize) {
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
    }

    /// The bytes never reached the media: sectors that were there once show what they held, others show anything.
    fn lose(&mut self, piece: Range<usize>, chooser: &mut Chooser) {
        for sector in pieces(piece, SECTOR_BYTES) {
            if self.synced.contains(sector.start / SECTOR_BYTES) {
                continue;
            }
            self.reach(sector.end);
            let shown = &mut self.bytes[sector.clone()];
            match chooser.rng.below(4) {
                0 => shown.fill(0),
                1 => fill_with_junk(shown, &mut chooser.rng),
                2 => fill_with_stale(shown, sector, self.stale, &mut chooser.rng),
                _ => {}
            }
        }
    }
}

fn fill_with_junk(shown: &mut [u8], rng: &mut Rng) {
    for chunk in shown.chunks_mut(8) {
        chunk.copy_from_slice(&rng.next().to_le_bytes()[..chunk.len()]);
    }
}

/// What a deleted file held at the same place: the most plausible lie, for files of one format.
fn fill_with_stale(shown: &mut [u8], place: Range<usize>, stale: &Stale, rng: &mut Rng) {
    let Ok(which) = usize::try_from(rng.below(stale.len() as u64)) else {
        return;
    };
    if let Some(bytes) = stale.get(which).and_then(|file| file.get(place)) {
        shown.copy_from_slice(bytes);
    }
}
