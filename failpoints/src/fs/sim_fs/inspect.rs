//! What tests do to a [`SimFs`] from outside: look, plant, rot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3Default;

use super::SimFs;
use super::inode::Inode;
use super::sectors::SectorSet;
use super::state::{State, normal};

impl SimFs {
    /// The sizes of the files in a directory, summed; 0 where there is none.
    #[must_use]
    pub fn total_bytes(&self, dir: &Path) -> u64 {
        let state = self.state.lock();
        let names = state.dirs.get(&normal(dir)).map(|dir| &dir.current);
        let inodes = names.into_iter().flat_map(|names| names.values());
        inodes.map(|n| state.len_of(*n)).sum()
    }

    /// The names of the files in a directory, sorted.
    #[must_use]
    pub fn file_names(&self, dir: &Path) -> Vec<String> {
        let state = self.state.lock();
        let names = state.dirs.get(&normal(dir)).map(|dir| &dir.current);
        let names = names.into_iter().flat_map(|names| names.keys());
        names.map(|name| String::from(&**name)).collect()
    }

    /// A file's content as a reader would see it.
    #[must_use]
    pub fn read_file(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let inode = state.find_path(path)?;
        Some(state.inodes.get(&inode)?.read_all())
    }

    /// Plants a file, durable at once, in place of any other of that name; makes the directory if it is missing.
    /// Handles that were open stay with the file they had.
    ///
    /// # Panics
    /// If the path has no last component in UTF-8.
    pub fn write_file(&self, path: &Path, content: &[u8]) {
        let (dir, name) = split(path).expect("a path that ends in a file name");
        let mut synced = SectorSet::default();
        synced.insert_bytes(0..content.len());
        let state = &mut *self.state.lock();
        state.make_dirs(&dir);
        let replaced = state.find(&dir, &name);
        let inode = state.add_inode(Inode::durable(content.to_vec(), synced));
        if let Ok(dir) = state.dir(&dir) {
            dir.insert_durable(Arc::from(name), inode);
        }
        replaced.into_iter().for_each(|n| state.lost_name(n));
    }

    /// Takes a file away, durably. False where there was none.
    pub fn remove_file(&self, path: &Path) -> bool {
        let state = &mut *self.state.lock();
        let (Some((dir, name)), Some(inode)) = (split(path), state.find_path(path)) else {
            return false;
        };
        if let Ok(dir) = state.dir(&dir) {
            dir.remove_durable(&name);
        }
        state.lost_name(inode);
        true
    }

    /// Flips one bit (0 to 7) of a file on the media. False where there is no such byte.
    pub fn flip_bit(&self, path: &Path, byte: u64, bit: u32) -> bool {
        let state = &mut *self.state.lock();
        let inode = state.find_path(path);
        let inode = inode.and_then(|inode| state.inodes.get_mut(&inode));
        let (Some(inode), Ok(byte)) = (inode, usize::try_from(byte)) else {
            return false;
        };
        inode.flip_bit(byte, bit);
        byte < inode.len()
    }

    /// How many changes a power loss could take back: writes, sizes, names and mapped pieces.
    #[must_use]
    pub fn pending_effects(&self) -> usize {
        self.state.lock().pending()
    }

    /// A number for everything that a reader could see: directories, names, contents. Machines that differ in it differ.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let state = self.state.lock();
        let mut hasher = Xxh3Default::new();
        for (path, dir) in &state.dirs {
            hasher.update(path.as_os_str().as_encoded_bytes());
            for (name, number) in &dir.current {
                hasher.update(&[0]);
                hasher.update(name.as_bytes());
                if let Some(inode) = state.inodes.get(number) {
                    hasher.update(&inode.len().to_le_bytes());
                    inode.read_into(|bytes| hasher.update(bytes));
                }
            }
            hasher.update(&[1]);
        }
        hasher.digest()
    }

    /// Switches the machine off: whoever still runs on it finds nothing there any more.
    pub fn halt(&self) {
        let state = &mut *self.state.lock();
        state.dirs.clear();
        state.inodes.clear();
    }

    /// Makes this the boot of that number: for directories that another machine wrote, and that were planted here.
    pub fn set_boot_id(&self, id: [u8; 16]) {
        self.state.lock().boot_id = id;
    }

    /// Syncs every file and directory.
    pub fn mark_all_durable(&self) {
        let state = &mut *self.state.lock();
        state.inodes.values_mut().for_each(Inode::sync);
        let dirs: Vec<PathBuf> = state.dirs.keys().cloned().collect();
        for dir in dirs {
            // The directory is there: its path was just listed under the same lock.
            let _ = state.sync_dir(&dir);
        }
    }
}

impl State {
    fn find_path(&self, path: &Path) -> Option<u64> {
        let (dir, name) = split(path)?;
        self.find(&dir, &name)
    }

    /// True when the path names a file.
    pub(super) fn is_file(&self, path: &Path) -> bool {
        self.find_path(path).is_some()
    }

    fn len_of(&self, inode: u64) -> u64 {
        self.inodes.get(&inode).map_or(0, |i| i.len() as u64)
    }
}

/// Directory and file name.
fn split(path: &Path) -> Option<(PathBuf, String)> {
    let name = path.file_name()?.to_str()?.to_owned();
    Some((normal(path.parent()?), name))
}
