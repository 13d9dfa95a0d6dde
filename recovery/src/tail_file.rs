//! The tail's file as a reader sees it: read and never mapped, so that nothing is made, sized or touched.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perennial_failpoints::{Dir, Fs, OpenMode, read_exact_at};
use perennial_wal::{TAIL_HEAD_BYTES, TailEvidence, TailHead, to_usize};

use crate::identity::{Identity, TailKind};

/// What the tail's file holds.
#[derive(Debug)]
pub struct TailFile {
    /// Where it is, or should be.
    pub path: PathBuf,
    /// Its head, if the file is there.
    pub head_bytes: Option<Vec<u8>>,
    /// The head, if it proves itself and is this cache's.
    pub head: Option<TailHead>,
    /// It was written in this boot.
    pub same_boot: bool,
    ring: Vec<u8>,
}

impl TailFile {
    /// Reads the tail that `identity` names. A tail in process memory has no file. The ring is read only where it
    /// counts: in the boot that wrote it.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn read(fs: &dyn Fs, dir: &Arc<dyn Dir>, identity: &Identity) -> io::Result<Self> {
        let place = &identity.tail;
        let name = place.file_name();
        let elsewhere = place.dir.as_deref().map(Path::new);
        let mut tail = Self {
            path: elsewhere.unwrap_or(dir.path()).join(&name),
            head_bytes: None,
            head: None,
            same_boot: false,
            ring: Vec::new(),
        };
        if place.kind == TailKind::Heap {
            return Ok(tail);
        }
        let dir = elsewhere.map_or_else(|| Ok(Arc::clone(dir)), |path| fs.open_dir(path));
        let file = match dir.and_then(|dir| dir.open(&name, OpenMode::Read)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(tail),
            other => other?,
        };
        let have = file.len()?;
        let read = |at: u64, len: u64| {
            let mut bytes = vec![0; to_usize(len)];
            // A process killed while it made the file leaves it short: what is missing is zeros.
            let there = to_usize(have.saturating_sub(at).min(len));
            read_exact_at(&*file, &mut bytes[..there], at).map(|()| bytes)
        };
        let head = read(0, TAIL_HEAD_BYTES)?;
        tail.head = TailHead::decode(&head)
            .filter(|head| head.is_of(identity.cache_id, place.tail_id, place.ring_bytes));
        tail.head_bytes = Some(head);
        let boot_id = fs.boot_id();
        tail.same_boot = tail.head.as_ref().is_some_and(|h| h.is_of_boot(boot_id));
        if tail.same_boot {
            tail.ring = read(TAIL_HEAD_BYTES, place.ring_bytes)?;
        }
        Ok(tail)
    }

    /// What it says about the life that died.
    #[must_use]
    pub fn evidence(&self) -> TailEvidence<'_> {
        TailEvidence {
            head: self.head.clone(),
            same_boot: self.same_boot,
            ring: &self.ring,
            moving: false,
        }
    }

    /// The same of a life that goes on.
    #[must_use]
    pub fn evidence_of_the_living(&self) -> TailEvidence<'_> {
        TailEvidence {
            moving: true,
            ..self.evidence()
        }
    }

    /// False when the log was written to between this reading of its tail and that one: whoever reserves, completes or syncs
    /// anything stores into the head, and nothing in it goes back. Of a tail in process memory nobody can tell.
    #[must_use]
    pub fn is_as_in(&self, other: &Self) -> bool {
        self.head_bytes == other.head_bytes
    }

    /// The ring's bytes; none where they do not count.
    #[must_use]
    pub fn into_ring(self) -> Vec<u8> {
        self.ring
    }

    /// Bytes that were read.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.head_bytes.as_ref().map_or(0, |head| head.len() as u64) + self.ring.len() as u64
    }
}
