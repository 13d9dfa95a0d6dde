//! One life of a store: a script is played on it, and an oracle is told what returned.

use std::sync::Arc;

use parking_lot::Mutex;

use super::driver::{Driver, Step, Store, key};
use super::oracle::{Crash, Oracle};
use super::value::value;
use crate::fs::Fs;

/// The oracle, shared with whoever takes images while a step is under way.
pub(super) type Journal = Arc<Mutex<Oracle>>;

pub(super) struct Life<'a, D: Driver> {
    driver: &'a D,
    fs: Arc<dyn Fs>,
    store: Option<D::Store>,
    journal: Journal,
    /// The number of the next operation: values of different lives differ.
    next_op: u64,
}

impl<'a, D: Driver> Life<'a, D> {
    pub(super) fn begin(
        driver: &'a D,
        fs: Arc<dyn Fs>,
        journal: Journal,
        next_op: u64,
    ) -> Result<Self, String> {
        let mut life = Self {
            driver,
            fs,
            store: None,
            journal,
            next_op,
        };
        life.open()?;
        Ok(life)
    }

    fn open(&mut self) -> Result<(), String> {
        let opened = self.driver.open(Arc::clone(&self.fs));
        self.store = Some(opened.map_err(|why| format!("does not open: {why}"))?);
        Ok(())
    }

    fn store(&self) -> Result<&D::Store, String> {
        self.store.as_ref().ok_or_else(|| "it is closed".to_owned())
    }

    pub(super) fn play(&mut self, step: &Step) -> Result<(), String> {
        match *step {
            Step::Put {
                key: number,
                len,
                durable,
            } => {
                let (key, op) = (key(number), self.op());
                let value = value(&key, op, usize::from(len));
                self.journal.lock().issued(&key, Some(op));
                self.store()?.put(&key, &value, durable)?;
                self.journal.lock().acknowledged(&key, durable);
            }
            Step::Remove {
                key: number,
                durable,
            } => {
                let key = key(number);
                self.journal.lock().issued(&key, None);
                self.store()?.remove(&key, durable)?;
                self.journal.lock().acknowledged(&key, durable);
            }
            Step::Abandon { key: number, len } => {
                let key = key(number);
                self.journal.lock().issued(&key, None);
                self.store()?.abandon(&key, usize::from(len))?;
                self.journal.lock().acknowledged(&key, false);
            }
            Step::Get { key: number } => {
                let key = key(number);
                let found = self.store()?.get(&key)?;
                self.journal.lock().check_running(&key, found.as_deref())?;
            }
            Step::Clear => {
                self.journal.lock().clear_issued();
                self.store()?.clear()?;
                self.journal.lock().clear_returned();
            }
            Step::RemovePrefix { key: number } => {
                let prefix = key(number);
                let keys = self.journal.lock().known_keys();
                let hit: Vec<_> = keys.iter().filter(|key| key.starts_with(&prefix)).collect();
                hit.iter()
                    .for_each(|key| self.journal.lock().issued(key, None));
                self.store()?.remove_prefix(&prefix)?;
                hit.iter()
                    .for_each(|key| self.journal.lock().acknowledged(key, false));
            }
            Step::Flush => {
                self.store()?.flush()?;
                self.journal.lock().all_durable();
            }
            Step::Other(what) => self.store()?.other(what)?,
            Step::Reopen => {
                self.close()?;
                self.open()?;
            }
        }
        Ok(())
    }

    fn op(&mut self) -> u64 {
        self.next_op += 1;
        self.next_op
    }

    pub(super) fn next_op(&self) -> u64 {
        self.next_op
    }

    fn close(&mut self) -> Result<(), String> {
        let store = self.store.take().ok_or("it is closed")?;
        store.close()?;
        self.journal.lock().all_durable();
        Ok(())
    }

    /// Everything that the oracle knows, as the store shows it. After a crash: what it shows stays from now on.
    pub(super) fn check(&self, after: Option<Crash>) -> Result<Map, String> {
        let store = self.store()?;
        let keys = self.journal.lock().known_keys();
        let found = keys.into_iter().map(|key| {
            let found = store.get(&key)?;
            Ok((key, found))
        });
        let map: Map = found.collect::<Result<_, String>>()?;
        let mut journal = self.journal.lock();
        if let Some(crash) = after {
            journal.check_clear(&map, crash)?;
        }
        for (key, found) in &map {
            match after {
                Some(crash) => journal.check_recovered(key, found.as_deref(), crash)?,
                None => journal.check_running(key, found.as_deref())?,
            }
        }
        Ok(map)
    }
}

/// What a store shows: keys in order, and their values.
pub(super) type Map = Vec<(Vec<u8>, Option<Vec<u8>>)>;
