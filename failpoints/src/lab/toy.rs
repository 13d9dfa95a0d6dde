//! A log of puts and removes that is right, and its kinds of wrong: what the lab itself is tested with.
//!
//! ```text
//!  0        8        10        12     13
//!  | check  | key len | len    | kind | key | value         little endian; check: of everything behind it
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::driver::{Driver, Store};
use crate::fs::{Dir, File, Fs, OpenMode, read_exact_at, write_all_at};

const HEAD: usize = 13;
const DIR: &str = "/toy";

/// What is wrong with a toy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    None,
    NoFileSync,
    NoDirSync,
    /// A put returns before its bytes are in the file: they go with the next one.
    AckBeforeWrite,
    /// A remove leaves the index, but not the log.
    ResurrectsRemoved,
    /// A recovery cuts off the last frame that it has applied.
    SecondRecoveryDiffers,
    RefusesTornTails,
    /// A frame counts whatever its check says.
    BelievesTornTails,
}

#[derive(Debug)]
pub(super) struct Toy(pub(super) Bug);

#[derive(Debug)]
pub(super) struct ToyStore {
    bug: Bug,
    file: Arc<dyn File>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    index: BTreeMap<Vec<u8>, Vec<u8>>,
    end: u64,
    /// Bytes that are to be written.
    unwritten: Vec<u8>,
}

impl Driver for Toy {
    type Store = ToyStore;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<ToyStore, String> {
        open(&*fs, self.0).map_err(|e| e.to_string())
    }
}

fn open(fs: &dyn Fs, bug: Bug) -> io::Result<ToyStore> {
    fs.create_dir_all(Path::new(DIR))?;
    let dir = fs.open_dir(Path::new(DIR))?;
    let file = open_or_create(&*dir)?;
    let mut log = vec![0; usize::try_from(file.len()?).expect("it fits in memory")];
    read_exact_at(&*file, &mut log, 0)?;
    let (mut state, last) = replay(&log, bug);
    if bug == Bug::RefusesTornTails && state.end < log.len() as u64 {
        return Err(io::Error::other("the log ends in the middle of a frame"));
    }
    if bug == Bug::SecondRecoveryDiffers {
        state.end = last;
    }
    // Cut before anything is appended: an old frame behind a torn one would follow the new one.
    file.set_len(state.end)?;
    let state = Mutex::new(state);
    let store = ToyStore { bug, file, state };
    // What a killed process wrote is shown from now on, so it has to stay, and so has its file's name.
    store.sync()?;
    if bug != Bug::NoDirSync {
        dir.sync()?;
    }
    Ok(store)
}

fn open_or_create(dir: &dyn Dir) -> io::Result<Arc<dyn File>> {
    match dir.open("log", OpenMode::ReadWrite) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => dir.open("log", OpenMode::CreateNew),
        opened => opened,
    }
}

/// What the log says up to the first frame that is none, and where the last one begins.
fn replay(log: &[u8], bug: Bug) -> (State, u64) {
    let (mut state, mut at, mut last) = (State::default(), 0, 0);
    while let Some((key, value, len)) = decode(&log[at..], bug) {
        state.apply(key, value);
        (last, at) = (at, at + len);
    }
    state.end = at as u64;
    (state, last as u64)
}

fn encode(key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let len = |bytes: &[u8]| u16::try_from(bytes.len()).expect("short").to_le_bytes();
    let content = value.unwrap_or_default();
    let kind = [u8::from(value.is_some())];
    let body = [&len(key)[..], &len(content)[..], &kind[..], key, content].concat();
    [&xxh3_64(&body).to_le_bytes()[..], &body].concat()
}

type Decoded<'a> = (&'a [u8], Option<&'a [u8]>, usize);

fn decode(log: &[u8], bug: Bug) -> Option<Decoded<'_>> {
    let short = |at: usize| {
        Some(usize::from(u16::from_le_bytes(
            *log.get(at..)?.first_chunk()?,
        )))
    };
    let value_at = HEAD + short(8)?;
    let end = value_at + short(10)?;
    let (key, value) = (log.get(HEAD..value_at)?, log.get(value_at..end)?);
    let check = xxh3_64(&log[8..end]).to_le_bytes() == log[..8];
    let counts = check || (bug == Bug::BelievesTornTails && !key.is_empty());
    counts.then_some((key, (log[12] != 0).then_some(value), end))
}

impl State {
    fn apply(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => drop(self.index.insert(key.to_vec(), value.to_vec())),
            None => drop(self.index.remove(key)),
        }
    }
}

impl ToyStore {
    fn append(&self, key: &[u8], value: Option<&[u8]>, durable: bool) -> io::Result<()> {
        let mut state = self.state.lock();
        state.apply(key, value);
        if self.bug == Bug::ResurrectsRemoved && value.is_none() {
            return Ok(());
        }
        let late = self.bug == Bug::AckBeforeWrite && !durable;
        if late {
            self.write(&mut state)?;
        }
        state.unwritten.extend(encode(key, value));
        if !late {
            self.write(&mut state)?;
        }
        drop(state);
        if durable { self.sync() } else { Ok(()) }
    }

    fn write(&self, state: &mut State) -> io::Result<()> {
        let bytes = std::mem::take(&mut state.unwritten);
        write_all_at(&*self.file, &bytes, state.end, 1)?;
        state.end += bytes.len() as u64;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.write(&mut self.state.lock())?;
        match self.bug {
            Bug::NoFileSync => Ok(()),
            _ => self.file.sync_data(),
        }
    }
}

fn told<T>(result: io::Result<T>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

impl Store for ToyStore {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        told(self.append(key, Some(value), durable))
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        told(self.append(key, None, durable))
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        Ok(self.state.lock().index.get(key).cloned())
    }

    fn flush(&self) -> Result<(), String> {
        told(self.sync())
    }

    fn close(self) -> Result<(), String> {
        told(self.sync())
    }
}
