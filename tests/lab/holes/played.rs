//! An open cache that tricks are played on, as `tricks` says.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use perennial::Cache;
use perennial_failpoints::lab::{Store, key};

use super::on_disk::{Directory, Place};
use super::tricks::{
    BEGIN_SLOW, END_SLOW, LOSE, ROT, ROT_HEADER_AND_FLUSH, ROT_TAIL, TARGET, Tricks,
};
use crate::driver::Open;

/// A writer in the middle of its copy: told to go on, and waited for.
type Slow = (Sender<()>, JoinHandle<Result<(), String>>);

/// An open cache that tricks are played on.
pub(super) struct Played {
    open: Option<Open>,
    directory: Directory,
    /// The newest value of [`TARGET`].
    target: Mutex<Vec<u8>>,
    slow: Mutex<Option<Slow>>,
    at_most_bytes: Option<u64>,
    slow_puts: bool,
    overtakes_fetches: bool,
}

impl Played {
    pub(super) fn new(open: Open, directory: Directory, tricks: &Tricks) -> Self {
        Self {
            open: Some(open),
            directory,
            target: Mutex::default(),
            slow: Mutex::default(),
            at_most_bytes: tricks.at_most_bytes,
            slow_puts: tricks.slow_puts,
            overtakes_fetches: tricks.overtakes_fetches,
        }
    }

    fn store(&self) -> Result<&Open, String> {
        self.open.as_ref().ok_or_else(|| "it is closed".to_owned())
    }

    pub(super) fn cache(&self) -> Result<&Cache, String> {
        self.store().map(|open| &open.0)
    }

    /// The directory is no larger than it may be.
    pub(super) fn measure(&self) -> Result<(), String> {
        let Some(most) = self.at_most_bytes else {
            return Ok(());
        };
        let bytes = self.directory.bytes()?;
        if bytes > most {
            return Err(format!("it takes {bytes} bytes, of {most}"));
        }
        Ok(())
    }

    #[expect(clippy::disallowed_methods, reason = "a test's own thread")]
    fn begin_slow(&self) -> Result<(), String> {
        self.end_slow()?;
        let (begun, wait_begun) = channel();
        let (go_on, wait) = channel();
        let cache = self.cache()?.clone();
        let insert = move || {
            let fill = |value: &mut [u8]| {
                value.fill(1);
                begun.send(()).map_err(|e| e.to_string())?;
                // An error is the end of whoever would have told: it goes on then, too.
                let _ = wait.recv();
                Ok::<_, String>(())
            };
            let inserted = cache.insert_with_len("slow", 100, fill);
            inserted.map(drop).map_err(|e| e.to_string())
        };
        let writer = thread::spawn(with_the_same_mutants(insert));
        wait_begun.recv().map_err(|e| e.to_string())?;
        *unpoisoned(&self.slow) = Some((go_on, writer));
        Ok(())
    }

    /// Before anything that waits for all writers, too: the lab leaves steps out.
    fn end_slow(&self) -> Result<(), String> {
        let Some((go_on, writer)) = unpoisoned(&self.slow).take() else {
            return Ok(());
        };
        drop(go_on);
        writer.join().map_err(|_| "a writer panicked".to_owned())?
    }

    /// Half of the value is there when others come: what they fill ends segments, and a checkpoint is due.
    fn put_slowly(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let cache = self.cache()?;
        let fill = |buf: &mut [u8]| {
            let half = value.len() / 2;
            buf[..half].copy_from_slice(&value[..half]);
            let others =
                || (0..40_u32).try_for_each(|n| cache.insert(n.to_le_bytes(), [1; 600]).map(drop));
            let others = with_the_same_mutants(others);
            let inserted = thread::scope(|scope| scope.spawn(others).join());
            inserted
                .map_err(|_| "a writer panicked".to_owned())?
                .map_err(|e| e.to_string())?;
            self.directory.moment()?;
            buf[half..].copy_from_slice(&value[half..]);
            Ok::<_, String>(())
        };
        let inserted = cache.insert_with_len(key, value.len(), fill);
        inserted.map(drop).map_err(|e| e.to_string())
    }

    /// Runs `newer` in the middle of a fetch, where nothing is of this key; else alone.
    fn overtaking(&self, key: &[u8], newer: impl Fn() -> Result<(), String>) -> Result<(), String> {
        let cache = self.cache()?;
        if !self.overtakes_fetches || cache.contains(key).map_err(|e| e.to_string())? {
            return newer();
        }
        let fetched = cache.get_or_fetch(key, || newer().map(|()| b"fetched before".to_vec()));
        fetched.map(drop).map_err(|e| e.to_string())
    }

    /// Where the newest value of [`TARGET`] is, if it is in such a file.
    fn find_target(&self, prefix: &str) -> Result<Option<Place>, String> {
        self.directory.find(prefix, &unpoisoned(&self.target))
    }

    fn lose(&self) -> Result<(), String> {
        let lost = self.find_target("seg-")?;
        lost.map_or(Ok(()), |place| self.directory.lose(&place))
    }

    fn rot(&self) -> Result<(), String> {
        let rotten = self.find_target("seg-")?;
        rotten.map_or(Ok(()), |place| self.directory.flip(&place))
    }

    /// Only for whoever crashes here: what lies in the ring is not proved again while it is in use.
    fn rot_tail_for_a_moment(&self) -> Result<(), String> {
        let Some(place) = self.find_target("tail-")? else {
            return Ok(());
        };
        self.directory.flip(&place)?;
        self.directory.moment()?;
        self.directory.flip(&place)
    }

    fn rot_header_and_flush(&self) -> Result<(), String> {
        let Some(mut place) = self.find_target("tail-")? else {
            return Ok(());
        };
        // In front of a value are its key and, before that, the last bytes of the header.
        place.at -= key(TARGET).len() as u64 + 8;
        self.directory.flip(&place)?;
        match self.store()?.flush() {
            Ok(()) => Err("bytes that had changed in the tail were flushed".to_owned()),
            Err(_) => Ok(()),
        }
    }
}

impl Store for Played {
    fn put(&self, name: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        let target = name == key(TARGET);
        if durable {
            self.end_slow()?;
        }
        if target && self.slow_puts && !durable {
            self.put_slowly(name, value)?;
        } else {
            self.overtaking(name, || self.store()?.put(name, value, durable))?;
        }
        if target {
            value.clone_into(&mut unpoisoned(&self.target));
        }
        self.measure()
    }

    fn remove(&self, name: &[u8], durable: bool) -> Result<(), String> {
        if durable {
            self.end_slow()?;
        }
        self.overtaking(name, || self.store()?.remove(name, durable))?;
        self.measure()
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.store()?.get(key)
    }

    fn flush(&self) -> Result<(), String> {
        self.end_slow()?;
        self.store()?.flush()
    }

    fn abandon(&self, key: &[u8], len: usize) -> Result<(), String> {
        self.store()?.abandon(key, len)
    }

    /// In the middle of a fetch of each of three keys, where nothing is of it.
    fn clear(&self) -> Result<(), String> {
        (0..3).try_for_each(|number| self.overtaking(&key(number), || self.store()?.clear()))
    }

    fn remove_prefix(&self, prefix: &[u8]) -> Result<(), String> {
        self.store()?.remove_prefix(prefix)
    }

    fn other(&self, what: u8) -> Result<(), String> {
        match what {
            BEGIN_SLOW => self.begin_slow(),
            END_SLOW => self.end_slow(),
            LOSE => self.lose(),
            ROT => self.rot(),
            ROT_TAIL => self.rot_tail_for_a_moment(),
            ROT_HEADER_AND_FLUSH => self.rot_header_and_flush(),
            _ => {
                self.end_slow()?;
                self.store()?.other(what)
            }
        }
    }

    fn close(mut self) -> Result<(), String> {
        self.end_slow()?;
        let open = self.open.take().ok_or("it is closed")?;
        open.close()
    }
}

impl Drop for Played {
    /// The destructor of the cache waits for every writer.
    fn drop(&mut self) {
        // It has failed, and the lab has looked by now.
        let _ = self.end_slow();
    }
}

fn unpoisoned<T>(lock: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Mutants are chosen by thread: `body` for another one, with those of this.
#[cfg(feature = "planted-bugs")]
pub(super) fn with_the_same_mutants<T>(
    body: impl FnOnce() -> T + Send,
) -> impl FnOnce() -> T + Send {
    use perennial_failpoints::planted;

    let chosen = planted::chosen();
    move || planted::with(chosen, body)
}

#[cfg(not(feature = "planted-bugs"))]
pub(super) fn with_the_same_mutants<T>(
    body: impl FnOnce() -> T + Send,
) -> impl FnOnce() -> T + Send {
    body
}
