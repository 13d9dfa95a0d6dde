//! What the lab asks of a store under test.

use std::sync::Arc;

use crate::fs::Fs;

/// Opens the store under test. Everything the store does to files goes through `fs`.
pub trait Driver {
    /// The open store.
    type Store: Store;

    /// Opens it, creating it where there is none, or what a crash left of one.
    ///
    /// # Errors
    /// Why it cannot be opened; to the lab that is a failure, whatever a crash left.
    fn open(&self, fs: Arc<dyn Fs>) -> Result<Self::Store, String>;
}

/// An open store. Work in the background is best done inline: a script then has the same crash states every time.
pub trait Store {
    /// Stores a value; `durable`: returns once it survives a power loss.
    ///
    /// # Errors
    /// Why not; the value may be there or not.
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String>;

    /// Removes a key, there or not.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String>;

    /// The value of a key.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String>;

    /// Makes everything that returned before survive a power loss.
    ///
    /// # Errors
    /// Why not.
    fn flush(&self) -> Result<(), String>;

    /// Begins to put a value and gives up: from then on the key is not there. A store that cannot do that removes it.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn abandon(&self, key: &[u8], len: usize) -> Result<(), String> {
        let _ = len;
        self.remove(key, false)
    }

    /// Removes everything. A crash in its middle leaves all of it or nothing of it removed, and once it has returned, that
    /// survives a power loss. For [`Step::Clear`]; a store that cannot do that has no such steps in its scripts.
    ///
    /// # Errors
    /// Why not; all may be there or nothing.
    fn clear(&self) -> Result<(), String> {
        Err("this store cannot be cleared".to_owned())
    }

    /// Removes every key that begins with `prefix`, each for itself. For [`Step::RemovePrefix`]; a store that cannot do that
    /// has no such steps in its scripts.
    ///
    /// # Errors
    /// As [`put`](Self::put), for each of them.
    fn remove_prefix(&self, prefix: &[u8]) -> Result<(), String> {
        let _ = prefix;
        Err("this store cannot remove by prefix".to_owned())
    }

    /// Anything else worth crashing in: a checkpoint, a rotation, a compaction. The number is the script's.
    ///
    /// # Errors
    /// Why not.
    fn other(&self, what: u8) -> Result<(), String> {
        let _ = what;
        Ok(())
    }

    /// Closes it; everything that returned survives a power loss then.
    ///
    /// # Errors
    /// Why not.
    fn close(self) -> Result<(), String>;
}

/// One step of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Puts a value of `len` bytes (24 at least) under the key of this number.
    Put {
        /// The key's number.
        key: u8,
        /// Bytes of the value.
        len: u16,
        /// Waits until it survives a power loss.
        durable: bool,
    },
    /// Removes the key of this number.
    Remove {
        /// The key's number.
        key: u8,
        /// Waits until that survives a power loss.
        durable: bool,
    },
    /// Begins to put a value of `len` bytes under the key of this number, and gives up: [`Store::abandon`].
    Abandon {
        /// The key's number.
        key: u8,
        /// Bytes of the value.
        len: u16,
    },
    /// Reads the key of this number.
    Get {
        /// The key's number.
        key: u8,
    },
    /// [`Store::clear`]
    Clear,
    /// [`Store::remove_prefix`] of the key of this number: it goes, and others that begin like it.
    RemovePrefix {
        /// The key's number.
        key: u8,
    },
    /// [`Store::flush`]
    Flush,
    /// [`Store::other`]
    Other(u8),
    /// Closes the store and opens it again.
    Reopen,
}

impl Step {
    /// A put that need not survive a power loss yet.
    #[must_use]
    pub const fn put(key: u8, len: u16) -> Self {
        Self::Put {
            key,
            len,
            durable: false,
        }
    }

    /// A remove that need not survive a power loss yet.
    #[must_use]
    pub const fn remove(key: u8) -> Self {
        Self::Remove {
            key,
            durable: false,
        }
    }

    /// The same, durable from when it returns.
    #[must_use]
    pub const fn durable(self) -> Self {
        match self {
            Self::Put { key, len, .. } => Self::Put {
                key,
                len,
                durable: true,
            },
            Self::Remove { key, .. } => Self::Remove { key, durable: true },
            other => other,
        }
    }
}

/// The key of a number.
#[must_use]
pub fn key(number: u8) -> Vec<u8> {
    format!("key-{number}").into_bytes()
}
