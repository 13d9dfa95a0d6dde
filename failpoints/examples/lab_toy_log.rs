//! A log of puts and removes in the crash lab.
//!
//! `lab_toy_log` believes whatever it finds behind a length; the lab prints the shortest script that shows it.
//! `lab_toy_log fixed` checks a sum first, and passes.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use perennial_failpoints::lab::{CrashLab, Driver, Keeps, Options, Step, Store};
use perennial_failpoints::{File, Fs, OpenMode, read_exact_at, write_all_at};
use xxhash_rust::xxh3::xxh3_64;

/// The store under test: is it the one with the sum?
struct ToyLog {
    fixed: bool,
}

/// A file of frames: sum of what follows 8, length of the key 2, of the value 2 (0 = removed), key, value.
struct OpenLog {
    file: Arc<dyn File>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    index: BTreeMap<Vec<u8>, Vec<u8>>,
    end: usize,
}

impl ToyLog {
    fn open_log(&self, fs: &dyn Fs) -> io::Result<OpenLog> {
        fs.create_dir_all(Path::new("/toy"))?;
        let dir = fs.open_dir(Path::new("/toy"))?;
        let file = match dir.open("log", OpenMode::ReadWrite) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                dir.open("log", OpenMode::CreateNew)?
            }
            opened => opened?,
        };
        let mut log = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        read_exact_at(&*file, &mut log, 0)?;
        let mut state = State::default();
        while let Some((key, value)) = self.decode(&log[state.end..]) {
            state.apply(key, value);
        }
        // What is behind goes for good, and what is shown from now on stays for good.
        file.set_len(state.end as u64)?;
        file.sync_data()?;
        dir.sync()?;
        let state = Mutex::new(state);
        Ok(OpenLog { file, state })
    }

    fn decode<'a>(&self, log: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let len = |at: usize| {
            Some(usize::from(u16::from_le_bytes(
                *log.get(at..)?.first_chunk()?,
            )))
        };
        let (key_len, value_len) = (len(8)?, len(10)?);
        let frame = log.get(..12 + key_len + value_len)?;
        let sum_is_right = xxh3_64(&frame[8..]).to_le_bytes() == frame[..8];
        let believed = sum_is_right || (!self.fixed && key_len > 0);
        believed.then_some(frame[12..].split_at(key_len))
    }
}

impl State {
    fn apply(&mut self, key: &[u8], value: &[u8]) {
        self.end += 12 + key.len() + value.len();
        if value.is_empty() {
            self.index.remove(key);
        } else {
            self.index.insert(key.to_vec(), value.to_vec());
        }
    }
}

impl OpenLog {
    fn append(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        let len = |bytes: &[u8]| u16::try_from(bytes.len()).map(u16::to_le_bytes);
        let (key_len, value_len) = (told(len(key))?, told(len(value))?);
        let body = [&key_len[..], &value_len[..], key, value].concat();
        let frame = [&xxh3_64(&body).to_le_bytes()[..], &body].concat();
        let mut state = self.state.lock().map_err(|e| e.to_string())?;
        told(write_all_at(&*self.file, &frame, state.end as u64, 1))?;
        state.apply(key, value);
        if durable { self.flush() } else { Ok(()) }
    }
}

fn told<T, E: ToString>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|e| e.to_string())
}

impl Driver for ToyLog {
    type Store = OpenLog;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<OpenLog, String> {
        told(self.open_log(&*fs))
    }
}

impl Store for OpenLog {
    fn put(&self, key: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        self.append(key, value, durable)
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        self.append(key, &[], durable)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let state = self.state.lock().map_err(|e| e.to_string())?;
        Ok(state.index.get(key).cloned())
    }

    fn flush(&self) -> Result<(), String> {
        told(self.file.sync_data())
    }

    fn close(self) -> Result<(), String> {
        self.flush()
    }
}

fn main() -> ExitCode {
    let fixed = std::env::args().nth(1).is_some_and(|arg| arg == "fixed");
    let script = [
        Step::put(0, 700),
        Step::put(1, 40).durable(),
        Step::remove(0),
        Step::put(2, 1_500),
        Step::Flush,
        Step::put(1, 90),
        Step::Reopen,
        Step::remove(1).durable(),
        Step::put(0, 30),
    ];
    let driver = ToyLog { fixed };
    let mut lab = CrashLab::new(&driver, Options::new(Keeps::Everything));
    let result = lab.run(&script);
    println!("{}", lab.report());
    match &result {
        Ok(()) => println!("nothing is wrong"),
        Err(failure) => print!("{failure}"),
    }
    // The bug must be found, and nothing else.
    ExitCode::from(u8::from(fixed != result.is_ok()))
}
