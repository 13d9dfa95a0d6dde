//! One deed, done to an open cache, and what the oracle hears of it.

use perennial::{Cache, Error, ErrorKind, InsertOptions, Inserted, Priority};
use perennial_failpoints::lab::{Step, key, value};

use super::judge::Judge;
use super::script::Deed;

/// What is done on a cache, with an oracle that knows what returned.
pub(super) struct Life<'a> {
    pub(super) cache: &'a Cache,
    pub(super) judge: &'a mut Judge,
    /// The number of this operation: values of different ones differ.
    pub(super) op: u64,
    /// Of a resize.
    pub(super) capacity_bytes: u64,
}

impl Life<'_> {
    /// Does it. What fails may have happened or not.
    pub(super) fn do_it(&mut self, deed: Deed) -> Result<(), String> {
        match deed {
            Deed::Do(step) => self.step(step),
            Deed::Filled { key: number, len } => {
                let cache = self.cache;
                self.put(number, len, false, |key, bytes| {
                    cache.insert_with_len(key, bytes.len(), |place| {
                        place.copy_from_slice(bytes);
                        Ok::<_, Error>(())
                    })
                })
            }
            Deed::Prized {
                key: number,
                len,
                pinned,
            } => {
                let priority = if pinned {
                    Priority::Pinned
                } else {
                    Priority::Low
                };
                let (cache, how) = (self.cache, InsertOptions::new().priority(priority));
                self.put(number, len, false, |key, bytes| {
                    cache.insert_with(key, bytes, how)
                })
            }
            Deed::Resize => expected(self.cache.resize(self.capacity_bytes)).map(drop),
            Deed::Worse | Deed::Fair => Ok(()),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), String> {
        let cache = self.cache;
        match step {
            Step::Put {
                key: number,
                len,
                durable,
            } => self.put(number, len, durable, |key, bytes| {
                if durable {
                    cache.insert_durable(key, bytes)
                } else {
                    cache.insert(key, bytes)
                }
            }),
            Step::Remove {
                key: number,
                durable,
            } => self.gone(number, durable, |key| {
                expected(if durable {
                    cache.remove_durable(key)
                } else {
                    cache.remove(key)
                })
            }),
            Step::Abandon { key: number, len } => self.gone(number, false, |key| {
                match cache.insert_with_len(key, usize::from(len), |_| Err("no")) {
                    Ok(_) => Err("what was given up is stored".to_owned()),
                    Err(error) if error.kind() == ErrorKind::Origin => Ok(Some(())),
                    Err(error) => expected(Err(error)),
                }
            }),
            Step::Get { key: number } => self.judge.look_at(cache, &key(number)),
            Step::Clear => {
                self.judge.oracle().clear_issued();
                if expected(cache.clear())?.is_some() {
                    self.judge.oracle().clear_returned();
                    self.judge.all_known();
                }
                Ok(())
            }
            Step::RemovePrefix { key: number } => {
                let prefix = key(number);
                let mut hit = self.judge.oracle().known_keys();
                hit.retain(|key| key.starts_with(&prefix));
                for key in &hit {
                    self.judge.oracle().issued(key, None);
                }
                if expected(cache.remove_prefix(&prefix))?.is_some() {
                    for key in &hit {
                        self.judge.acknowledged(key, false);
                    }
                }
                Ok(())
            }
            Step::Flush => {
                if expected(cache.flush())?.is_some() {
                    self.judge.all_durable();
                }
                Ok(())
            }
            Step::Other(_) => expected(cache.checkpoint()).map(drop),
            Step::Reopen => Ok(()),
        }
    }

    fn put(
        &mut self,
        number: u8,
        len: u16,
        durable: bool,
        insert: impl FnOnce(&[u8], &[u8]) -> perennial::Result<Inserted>,
    ) -> Result<(), String> {
        let key = key(number);
        let bytes = value(&key, self.op, usize::from(len));
        self.judge.oracle().issued(&key, Some(self.op));
        match expected(insert(&key, &bytes))? {
            None => {}
            Some(Inserted::Stored) => self.judge.acknowledged(&key, durable),
            // It is not there, and nothing older either.
            Some(_) => {
                self.judge.oracle().issued(&key, None);
                self.judge.acknowledged(&key, durable);
            }
        }
        Ok(())
    }

    fn gone(
        &mut self,
        number: u8,
        durable: bool,
        remove: impl FnOnce(&[u8]) -> Result<Option<()>, String>,
    ) -> Result<(), String> {
        let key = key(number);
        self.judge.oracle().issued(&key, None);
        if remove(&key)?.is_some() {
            self.judge.acknowledged(&key, durable);
        }
        Ok(())
    }
}

/// `None` for an error that a device can cause.
pub(super) fn expected<T>(done: perennial::Result<T>) -> Result<Option<T>, String> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) => match error.kind() {
            ErrorKind::Io
            | ErrorKind::Full
            | ErrorKind::Poisoned
            | ErrorKind::Corrupt
            | ErrorKind::Invalid => Ok(None),
            kind => Err(format!("{kind:?}: {error}")),
        },
    }
}
