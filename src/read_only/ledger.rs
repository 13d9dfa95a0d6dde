//! What every byte is used for, as of the snapshot.

use perennial_failpoints::fs::Dir;
use perennial_wal::segment::{Row, slot_of};
use perennial_wal::{Contents, Event, SegmentId};

use super::ReadOnlyCache;
use crate::accounts::{Accounts, Ledger};
use crate::error::{Error, Result};
use crate::look::Look;

impl ReadOnlyCache {
    /// What every byte of the cache's files is used for, as [`Cache::ledger`](crate::Cache::ledger) says it. It reads the table of
    /// each segment, and all of one that has none yet.
    ///
    /// Entries count that the cache had at the snapshot's position. What was read counts as the newest checkpoint
    /// knew it ([`SegmentLedger::read_bytes`](crate::SegmentLedger::read_bytes)), for reads are in no log. A segment that the cache has
    /// reclaimed since is left out, and prepared ones are free files.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) when the directory cannot be read any more.
    pub fn ledger(&self) -> Result<Ledger> {
        let look = Look::open(&*self.fs, self.files.dir.path(), false)?;
        let contents = look.contents()?;
        let segment_bytes = self.files.geometry.segment_bytes;
        let written = SegmentId(self.opened.end / segment_bytes);
        let mut accounts = Accounts::new(self.files.geometry, &self.index, written);
        for index in (0..contents.segments().len()).rev() {
            let header = &contents.found.chain[index].header;
            if self.has(header.number, false) {
                accounts.take(header, &self.rows(&contents, index));
            }
        }
        for (index, segment) in contents.found.kept.iter().enumerate() {
            if self.has(segment.header.number, true) {
                accounts.take(&segment.header, &contents.rows_kept(index));
            }
        }
        let (segments, others) = bytes_of(&*look.dir)?;
        let foreign: u64 = contents.found.foreign.iter().map(|(_, bytes)| bytes).sum();
        Ok(accounts.ledger(segments.saturating_sub(foreign), others + foreign))
    }

    fn has(&self, number: SegmentId, kept: bool) -> bool {
        let segment = self.files.segments.get(&number);
        segment.is_some_and(|segment| segment.header.kept.is_some() == kept)
    }

    /// What the log says in the segment at `index`, up to the snapshot's position: what came later is not dead.
    fn rows(&self, contents: &Contents<'_>, index: usize) -> Vec<Row> {
        let events = contents.events(index);
        let rows = events.iter().filter_map(|event| match event {
            Event::Row(row) => Some(row),
            Event::ForgetKey(_) | Event::ForgetAll => None,
        });
        rows.filter(|row| row.target.position().0 < self.opened.end)
            .collect()
    }
}

/// Bytes of the files that are named like segments, and of all others.
fn bytes_of(dir: &dyn Dir) -> Result<(u64, u64)> {
    let entries = dir
        .list()
        .map_err(|e| Error::io(format!("cannot list {}", dir.path().display()), e))?;
    let (mut segments, mut others) = (0, 0);
    for entry in entries {
        *if slot_of(&entry.name).is_some() {
            &mut segments
        } else {
            &mut others
        } += entry.len;
    }
    Ok((segments, others))
}
