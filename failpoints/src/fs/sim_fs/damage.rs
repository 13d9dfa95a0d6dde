//! Silent damage to the files of a machine at rest: durable at once, and reported to nobody.

use std::path::Path;

use super::SimFs;

/// Each gives false, and changes nothing, where there is no such file or place.
impl SimFs {
    /// Writes `bytes` over a part of a file: zeros, junk, another place's sector, the same place's of an older machine.
    pub fn overwrite(&self, path: &Path, at: usize, bytes: &[u8]) -> bool {
        self.rewrite(path, |content| {
            let end = at.checked_add(bytes.len())?;
            content.get_mut(at..end)?.copy_from_slice(bytes);
            Some(())
        })
    }

    /// Zeros a part of a file.
    pub fn zero(&self, path: &Path, at: usize, len: usize) -> bool {
        self.overwrite(path, at, &vec![0; len])
    }

    /// A part of a file shows what it held on an older machine: a write that was lost long ago.
    pub fn revert(&self, path: &Path, older: &Self, at: usize, len: usize) -> bool {
        let held = older.read_file(path);
        let end = at.checked_add(len);
        let part = held.as_deref().zip(end);
        part.and_then(|(held, end)| held.get(at..end))
            .is_some_and(|stale| self.overwrite(path, at, stale))
    }

    /// A part of a file shows the bytes of another place, of the same file or of another one.
    pub fn copy_part(&self, from: (&Path, usize), to: (&Path, usize), len: usize) -> bool {
        let held = self.read_file(from.0);
        let end = from.1.checked_add(len);
        let part = held.as_deref().zip(end);
        part.and_then(|(held, end)| held.get(from.1..end))
            .is_some_and(|bytes| self.overwrite(to.0, to.1, bytes))
    }

    /// Cuts a file, or makes it longer by zeros.
    pub fn resize_file(&self, path: &Path, len: usize) -> bool {
        self.rewrite(path, |content| {
            content.resize(len, 0);
            Some(())
        })
    }

    /// Two files change places.
    pub fn swap_files(&self, a: &Path, b: &Path) -> bool {
        let (Some(of_a), Some(of_b)) = (self.read_file(a), self.read_file(b)) else {
            return false;
        };
        self.write_file(a, &of_b);
        self.write_file(b, &of_a);
        true
    }

    /// A file is there once more under another name, in place of any other of that name.
    pub fn duplicate_file(&self, from: &Path, to: &Path) -> bool {
        let content = self.read_file(from);
        content.is_some_and(|content| {
            self.write_file(to, &content);
            true
        })
    }

    fn rewrite(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> bool {
        let Some(mut content) = self.read_file(path) else {
            return false;
        };
        let done = change(&mut content).is_some();
        if done {
            self.write_file(path, &content);
        }
        done
    }
}
