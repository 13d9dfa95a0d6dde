//! Everything that one simulated machine holds, and how another is made from it by a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::Syncs;
use super::inode::Inode;
use super::names::{DirState, NameEffect};
use super::power::{self, Chooser};
use super::rng::Rng;
use super::sectors::SectorSet;

/// Deleted files whose bytes may show again; older ones are taken to be overwritten.
const GRAVEYARD_FILES: usize = 4;

/// What a file system without a limit says is free.
const UNLIMITED_FREE_BYTES: u64 = 1 << 40;

#[derive(Debug)]
pub(super) struct State {
    pub(super) rng: Rng,
    pub(super) boot_id: [u8; 16],
    pub(super) dirs: BTreeMap<PathBuf, DirState>,
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) locks: BTreeSet<u64>,
    pub(super) capacity: Option<u64>,
    pub(super) refuse_direct: bool,
    pub(super) syncs: Syncs,
    pub(super) unix_time_ms: u64,
    pub(super) monotonic_ns: u64,
    next_inode: u64,
    next_issue: u64,
    graveyard: Vec<Arc<Vec<u8>>>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let rng = Rng::new(seed);
        Self {
            boot_id: new_boot_id(&rng),
            rng,
            dirs: BTreeMap::new(),
            inodes: BTreeMap::new(),
            locks: BTreeSet::new(),
            capacity: None,
            refuse_direct: false,
            syncs: Syncs::Work,
            unix_time_ms: 1_700_000_000_000,
            monotonic_ns: 1_000_000_000,
            next_inode: 1,
            next_issue: 1,
            graveyard: Vec::new(),
        }
    }

    pub(super) fn dir(&mut self, path: &Path) -> io::Result<&mut DirState> {
        let dir = self.dirs.get_mut(path);
        dir.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn make_dirs(&mut self, path: &Path) {
        for dir in path.ancestors() {
            self.dirs.entry(dir.to_path_buf()).or_default();
        }
    }

    pub(super) fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        let inode = self.inodes.get_mut(&number);
        inode.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Numbers a change: the order in which they were asked for.
    pub(super) fn issue(&mut self) -> u64 {
        self.next_issue += 1;
        self.next_issue - 1
    }

    pub(super) fn add_inode(&mut self, inode: Inode) -> u64 {
        let number = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(number, inode);
        number
    }

    pub(super) fn find(&self, dir: &Path, name: &str) -> Option<u64> {
        self.dirs.get(dir)?.current.get(name).copied()
    }

    pub(super) fn create(&mut self, dir: &Path, name: &str) -> io::Result<u64> {
        self.dir(dir)?;
        let inode = self.add_inode(Inode::durable(Vec::new(), SectorSet::default()));
        let name = Arc::from(name);
        let number = self.issue();
        self.dir(dir)?
            .issue(number, NameEffect::Create { name, inode });
        Ok(inode)
    }

    pub(super) fn rename(&mut self, dir: &Path, from: &str, to: &str) -> io::Result<()> {
        let inode = self.find(dir, from).ok_or(io::ErrorKind::NotFound)?;
        let replaced = self.find(dir, to);
        if replaced == Some(inode) {
            return Ok(());
        }
        let (from, to) = (Arc::from(from), Arc::from(to));
        let number = self.issue();
        self.dir(dir)?
            .issue(number, NameEffect::Rename { from, to, inode });
        replaced.into_iter().for_each(|inode| self.unlink(inode));
        Ok(())
    }

    pub(super) fn remove(&mut self, dir: &Path, name: &str) -> io::Result<()> {
        let inode = self.find(dir, name).ok_or(io::ErrorKind::NotFound)?;
        let name = Arc::from(name);
        let number = self.issue();
        self.dir(dir)?
            .issue(number, NameEffect::Remove { name, inode });
        self.unlink(inode);
        Ok(())
    }

    /// A file lost a name for good.
    pub(super) fn lost_name(&mut self, number: u64) {
        self.unlink(number);
        self.bury_if_unused(number);
    }

    /// A name of the file is gone; a torn rename may have left it another.
    fn unlink(&mut self, number: u64) {
        let names = |dir: &DirState| dir.current.values().any(|n| *n == number);
        let linked = self.dirs.values().any(names);
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.linked = linked;
        }
    }

    /// A sync as a program asks for it.
    pub(super) fn ask_to_sync(&mut self, number: u64) -> io::Result<()> {
        self.note_versions();
        let syncs = self.syncs;
        let inode = self.inode(number)?;
        match syncs {
            Syncs::Work => inode.sync(),
            Syncs::Lie => {}
            Syncs::FailOnceAfter(good, shows) if good > 0 => {
                inode.sync();
                self.syncs = Syncs::FailOnceAfter(good - 1, shows);
            }
            Syncs::FailOnce(shows) | Syncs::FailOnceAfter(_, shows) | Syncs::Fail(shows) => {
                inode.fail_sync(shows);
                if !matches!(syncs, Syncs::Fail(_)) {
                    self.syncs = Syncs::Work;
                }
                return Err(Errno::IO.into());
            }
        }
        Ok(())
    }

    /// A sync of a directory as a program asks for it.
    pub(super) fn ask_to_sync_dir(&mut self, path: &Path) -> io::Result<()> {
        self.note_versions();
        match self.syncs {
            Syncs::Work | Syncs::FailOnce(_) | Syncs::FailOnceAfter(..) => self.sync_dir(path),
            Syncs::Lie => self.dir(path).map(drop),
            Syncs::Fail(_) => Err(Errno::IO.into()),
        }
    }

    fn note_versions(&mut self) {
        self.inodes.values_mut().for_each(Inode::note_versions);
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        for inode in self.dir(path)?.sync() {
            self.bury_if_unused(inode);
        }
        Ok(())
    }

    /// Frees a file that has no handle and that no power loss can bring back. Its bytes stay where they were.
    pub(super) fn bury_if_unused(&mut self, number: u64) {
        let unused = |inode: &Inode| inode.handles == 0 && !inode.linked;
        if !self.inodes.get(&number).is_some_and(unused) {
            return;
        }
        if self
            .dirs
            .values()
            .any(|dir| dir.inodes().any(|n| n == number))
        {
            return;
        }
        if let Some(inode) = self.inodes.remove(&number) {
            bury(&mut self.graveyard, inode.content());
        }
    }

    /// Files that have a name in some directory, or may have one after a power loss.
    fn named(&self) -> BTreeSet<u64> {
        self.dirs.values().flat_map(DirState::inodes).collect()
    }

    /// Bytes that can still be written.
    pub(super) fn free_bytes(&self) -> u64 {
        let Some(capacity) = self.capacity else {
            return UNLIMITED_FREE_BYTES;
        };
        let held = self.inodes.values().filter(|i| i.linked || i.handles > 0);
        capacity.saturating_sub(held.map(|inode| inode.len() as u64).sum())
    }

    /// Refuses a file's growth to `new_len` where there is no room for it.
    pub(super) fn check_room(&self, len: usize, new_len: usize) -> io::Result<()> {
        let growth = new_len.saturating_sub(len) as u64;
        if growth > 0 && self.capacity.is_some() && growth > self.free_bytes() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Changes that a power loss could take back. Those of a file without a name, which only a handle keeps, show nowhere.
    pub(super) fn pending(&self) -> usize {
        let names: usize = self.dirs.values().map(DirState::pending).sum();
        let named = self.named();
        let files = named.iter().filter_map(|number| self.inodes.get(number));
        names + files.map(Inode::pending).sum::<usize>()
    }

    /// The machine after SIGKILL: nothing is lost and nothing became durable.
    pub(super) fn after_process_crash(&self) -> Self {
        let named = self.named();
        let copies = named.iter().filter_map(|number| {
            let inode = self.inodes.get(number)?;
            Some((*number, inode.copy()))
        });
        let inodes = copies.collect();
        let (rng, dirs) = (self.rng.fork(1), self.dirs.clone());
        let mut state = self.successor(rng, self.boot_id, dirs, inodes);
        // The kernel gives up what only the dead process's handles kept.
        self.bury_others(&mut state, Inode::content);
        state
    }

    /// The space of the files that a crash left without a name is free, and holds what it held.
    fn bury_others(&self, after: &mut Self, held: impl Fn(&Inode) -> Arc<Vec<u8>>) {
        for (number, inode) in &self.inodes {
            if !after.inodes.contains_key(number) {
                bury(&mut after.graveyard, held(inode));
            }
        }
    }

    /// The machine after a power loss: what was synced, and of the rest what `seed` leaves.
    pub(super) fn after_power_loss(&self, seed: u64) -> Self {
        let rng = self.rng.fork(seed.wrapping_add(2));
        let chooser = Chooser::new(rng.fork(0), self.pending() as u64, self.issued());
        self.left_by(chooser, rng)
    }

    /// The machine after a power loss that kept just these effects.
    pub(super) fn after_power_loss_keeping(&self, kept: u64) -> Self {
        let rng = self.rng.fork(kept.wrapping_add(2));
        self.left_by(Chooser::keeping(rng.fork(0), kept), rng)
    }

    fn left_by(&self, mut chooser: Chooser, rng: Rng) -> Self {
        let mut dirs = BTreeMap::new();
        let mut inodes = BTreeMap::new();
        for (path, dir) in &self.dirs {
            let names = dir.after_power_loss(&mut chooser);
            inodes.extend(names.values().map(|number| (*number, Inode::default())));
            dirs.insert(path.clone(), DirState::durable(names));
        }
        for (number, image) in &mut inodes {
            if let Some(inode) = self.inodes.get(number) {
                *image = power::after_power_loss(inode, &self.graveyard, &mut chooser);
            }
        }
        let boot_id = new_boot_id(&rng);
        let mut state = self.successor(rng, boot_id, dirs, inodes);
        self.bury_others(&mut state, |inode| Arc::new(inode.undone()));
        state.monotonic_ns = 1_000_000;
        state
    }

    /// The issue numbers of the changes that can be lost.
    fn issued(&self) -> std::ops::Range<u64> {
        let names = self.dirs.values().filter_map(DirState::oldest_pending);
        let data = self.inodes.values().filter_map(|i| i.pending.first());
        let oldest = names.chain(data.map(|(number, _)| *number)).min();
        oldest.unwrap_or(self.next_issue)..self.next_issue
    }

    fn successor(
        &self,
        rng: Rng,
        boot_id: [u8; 16],
        dirs: BTreeMap<PathBuf, DirState>,
        inodes: BTreeMap<u64, Inode>,
    ) -> Self {
        Self {
            rng,
            boot_id,
            dirs,
            inodes,
            locks: BTreeSet::new(),
            syncs: Syncs::Work,
            graveyard: self.graveyard.clone(),
            ..*self
        }
    }
}

/// The bytes of a file that is gone stay on the media until others are written there.
fn bury(graveyard: &mut Vec<Arc<Vec<u8>>>, content: Arc<Vec<u8>>) {
    if content.is_empty() {
        return;
    }
    graveyard.push(content);
    if graveyard.len() > GRAVEYARD_FILES {
        graveyard.remove(0);
    }
}

fn new_boot_id(rng: &Rng) -> [u8; 16] {
    let mut rng = rng.fork(3);
    let (a, b) = (rng.next(), rng.next());
    (u128::from(a) << 64 | u128::from(b)).to_le_bytes()
}

/// One spelling per directory: no `.`, no trailing slash.
pub(super) fn normal(path: &Path) -> PathBuf {
    let parts = path.components();
    parts.filter(|part| *part != Component::CurDir).collect()
}
