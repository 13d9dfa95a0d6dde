//! Where the tail is: opened, moved, and what a killed move left removed.
//!
//! ```text
//!   1  the new place's directory can be had              else nothing has changed
//!   2  identity: the new tail, and the old one as a leftover if it lies elsewhere
//!   3  the old file goes, and its lock                   two would not fit in the capacity
//!   4  the new place is locked, the new file made
//!   5  identity: no leftovers
//! ```
//! A file elsewhere is named by the identity as long as it may be there, so a process killed at any step leaves nothing that
//! the next open does not find. In the cache's own directory whatever is not named goes. A tail that could not be made (a
//! full disk) holds nothing: an open that wants another one does not make it first.

use std::io;
use std::path::Path;
use std::sync::Arc;

use perennial_failpoints::fs::{Dir, OpenMode, read_exact_at};
use perennial_recovery::{TailKind, TailPlace, identity};
use perennial_wal::{TAIL_HEAD_BYTES, TailIdentity, TailMemory, open_tail_file};

use crate::error::{Error, ErrorKind, Result};
use crate::open::Opening;
use crate::options::{Plan, Tail};

pub(crate) fn tail_place(plan: &Plan, tail_id: u64) -> TailPlace {
    let dir = plan.tail_dir.as_ref().filter(|_| plan.tail == Tail::Mapped);
    TailPlace {
        kind: if plan.tail == Tail::Mapped {
            TailKind::Mapped
        } else {
            TailKind::Heap
        },
        dir: dir.and_then(|dir| dir.to_str().map(str::to_owned)),
        ring_bytes: plan.ring_bytes,
        tail_id,
    }
}

impl Opening {
    /// The tail that the identity names. Where another one is wanted and this one never was whole, nothing is made of it:
    /// nothing was ever in it, and there may be no room.
    pub(crate) fn recorded_tail(&mut self, place: &TailPlace, wanted: bool) -> Result<TailMemory> {
        if place.kind == TailKind::Heap {
            return Ok(TailMemory::heap(place.ring_bytes));
        }
        let dir = self.tail_dir(place)?;
        self.lock_tail(&*dir, place)?;
        if wanted || is_whole(&*dir, place)? {
            return Ok(open_tail_file(&*dir, &place.file_name(), place.ring_bytes)?);
        }
        Ok(TailMemory::heap(place.ring_bytes))
    }

    /// The directory of a tail: this one, or another, which is made.
    fn tail_dir(&self, place: &TailPlace) -> Result<Arc<dyn Dir>> {
        let Some(path) = elsewhere(place) else {
            return Ok(Arc::clone(&self.dir));
        };
        let shown = path.display();
        self.fs
            .create_dir_all(path)
            .map_err(|e| Error::io(format!("cannot create {shown}"), e))?;
        self.fs
            .open_dir(path)
            .map_err(|e| Error::io(format!("cannot open {shown}"), e))
    }

    /// A tail elsewhere has a lock of its own: a copy of the cache's directory names it, too.
    fn lock_tail(&mut self, dir: &dyn Dir, place: &TailPlace) -> Result<()> {
        if elsewhere(place).is_none() {
            return Ok(());
        }
        let (shown, name) = (dir.path().display(), place.file_name());
        let lock = dir
            .try_lock(&lock_name(place))
            .map_err(|e| Error::io(format!("cannot lock {shown}"), e))?;
        let lock = lock.ok_or_else(|| {
            Error::new(
                ErrorKind::Locked,
                format!("{shown}/{name} is in use by another process"),
            )
        })?;
        self.locks.push(lock);
        Ok(())
    }

    /// The tail's options changed: what the old one held is in its segments by now. The identity names the new one before
    /// anything is written to it (hole 16 in `docs/recovery.md`).
    pub(crate) fn move_tail(&mut self, wanted: TailPlace, old: TailMemory) -> Result<TailMemory> {
        let place = TailPlace {
            tail_id: self.fs.random_u64(),
            ..wanted
        };
        // While the identity still names the old one: a place that cannot be had leaves the cache as it was.
        let dir = self.tail_dir(&place)?;
        let before = std::mem::replace(&mut self.identity.tail, place.clone());
        let leftover = elsewhere(&before).is_some();
        self.identity
            .leftovers
            .extend(leftover.then(|| before.clone()));
        perennial_failpoints::site!("tails::name_new");
        identity::write(&*self.dir, &self.identity)?;
        perennial_failpoints::site!("tails::named");
        drop(old);
        let removed = before.kind == TailKind::Heap || self.remove_tail(&before);
        let tail = match place.kind {
            TailKind::Heap => TailMemory::heap(place.ring_bytes),
            TailKind::Mapped => {
                self.lock_tail(&*dir, &place)?;
                open_tail_file(&*dir, &place.file_name(), place.ring_bytes)?
            }
        };
        perennial_failpoints::site!("tails::made");
        if leftover && removed {
            perennial_failpoints::site!("tails::forget_leftover");
            self.identity.leftovers.retain(|place| *place != before);
            identity::write(&*self.dir, &self.identity)?;
        }
        Ok(tail)
    }

    /// Removes tails elsewhere that killed moves left. What cannot be removed now is tried again by the next open.
    pub(crate) fn remove_leftovers(&mut self) -> Result<()> {
        let leftovers = std::mem::take(&mut self.identity.leftovers);
        if leftovers.is_empty() {
            return Ok(());
        }
        let left = leftovers.into_iter().filter(|place| !self.is_gone(place));
        perennial_failpoints::site!("tails::leftovers");
        self.identity.leftovers = left.collect();
        Ok(identity::write(&*self.dir, &self.identity)?)
    }

    /// Removes a leftover, unless a copy of this cache's directory runs over it: then it is that one's.
    fn is_gone(&self, place: &TailPlace) -> bool {
        let Some(path) = elsewhere(place) else {
            return true;
        };
        let locked = self
            .fs
            .open_dir(path)
            .and_then(|dir| dir.try_lock(&lock_name(place)));
        match locked {
            Ok(Some(_lock)) => self.remove_tail(place),
            Ok(None) => true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => true,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the old tail cannot be reached");
                false
            }
        }
    }

    /// A process killed while it moved the tail leaves the old file or the new one. Every tail in this directory that
    /// the identity does not name is one, but for those of other caches: they have a lock beside them, or say whose they
    /// are.
    ///
    /// Done before another one is made, so that many such processes leave no more than one.
    pub(crate) fn remove_stray_tails(&self) {
        let removed = self.dir.list().and_then(|entries| {
            let has = |name: &str| entries.iter().any(|entry| entry.name == name);
            let own = self.identity.tail.file_name();
            let is_stray = |name: &str| {
                is_tail_name(name)
                    && !has(&format!("{name}.lock"))
                    && (name != own || self.identity.tail.dir.is_some())
            };
            let names = entries.iter().map(|entry| entry.name.as_str());
            let strays: Vec<&str> = names
                .filter(|name| is_stray(name) && !self.is_of_another_cache(name))
                .collect();
            if strays.is_empty() {
                return Ok(());
            }
            perennial_failpoints::site!("tails::remove_strays");
            // The identity that names another tail is durable before this one goes.
            self.dir.sync()?;
            strays
                .into_iter()
                .try_for_each(|name| self.dir.remove(name))?;
            self.dir.sync()
        });
        if let Err(error) = removed {
            tracing::warn!(%error, "a stray tail could not be removed");
        }
    }

    fn is_of_another_cache(&self, tail: &str) -> bool {
        let mut head = vec![0; perennial_wal::to_usize(TAIL_HEAD_BYTES)];
        let read = self
            .dir
            .open(tail, OpenMode::Read)
            .and_then(|file| read_exact_at(&*file, &mut head, 0));
        let whose = read.ok().and_then(|()| TailIdentity::decode(&head));
        whose.is_some_and(|whose| whose.cache_id != self.identity.cache_id)
    }

    /// Removes a tail's file and, elsewhere, its lock.
    fn remove_tail(&self, place: &TailPlace) -> bool {
        let dir = match elsewhere(place) {
            None => Ok(Arc::clone(&self.dir)),
            Some(path) => self.fs.open_dir(path),
        };
        let removed = dir.and_then(|dir| {
            perennial_failpoints::site!("tails::remove");
            remove_if_there(&*dir, &place.file_name())?;
            if elsewhere(place).is_some() {
                remove_if_there(&*dir, &lock_name(place))?;
            }
            dir.sync()
        });
        if let Err(error) = &removed {
            tracing::warn!(%error, "the old tail could not be removed");
        }
        removed.is_ok()
    }
}

fn remove_if_there(dir: &dyn Dir, name: &str) -> io::Result<()> {
    match dir.remove(name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The directory of a tail's file that is not in the cache's own.
fn elsewhere(place: &TailPlace) -> Option<&Path> {
    let dir = place.dir.as_deref().map(Path::new);
    dir.filter(|_| place.kind == TailKind::Mapped)
}

fn lock_name(place: &TailPlace) -> String {
    format!("{}.lock", place.file_name())
}

/// True when the tail's file is there in full: only then was it ever mapped.
fn is_whole(dir: &dyn Dir, place: &TailPlace) -> Result<bool> {
    let name = place.file_name();
    let len = dir.open(&name, OpenMode::Read).and_then(|file| file.len());
    match len {
        Ok(len) => Ok(len >= TAIL_HEAD_BYTES + place.ring_bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io(
            format!("cannot open {}/{name}", dir.path().display()),
            e,
        )),
    }
}

/// Bytes that a tail takes of the capacity.
pub(crate) fn bytes_here(tail: &TailPlace) -> u64 {
    match tail {
        TailPlace {
            kind: TailKind::Mapped,
            dir: None,
            ring_bytes,
            ..
        } => TAIL_HEAD_BYTES + ring_bytes,
        _ => 0,
    }
}

fn is_tail_name(name: &str) -> bool {
    let digits = name.strip_prefix(identity::TAIL_PREFIX).unwrap_or_default();
    digits.len() == 16 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}
