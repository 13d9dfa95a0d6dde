//! `perennial import`: all entries of a stream, or none where the stream is not sound.
//!
//! ```text
//!   file           read and proved to its end ─► read again, entry by entry into the cache
//!   pipe           read and proved to its end ─► read again from a file without a name, in the cache's directory
//! ```
//! The checksum of the whole is at the end: who stores what he reads as he reads it has stored half of a stream when he finds
//! that it is damaged, and over entries of the cache that were newer. So nothing is stored before the end was seen, and a pipe
//! is kept in a file meanwhile. That has no name, so a kill leaves nothing; it takes as much room as the stream, beyond the
//! capacity, in the file system of the cache.

use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use perennial::{Cache, InsertOptions};
use serde::Serialize;

use crate::call::Call;
use crate::clock::unix_now_s;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::open::Target;
use crate::output;
use crate::progress::Progress;
use crate::put::must_be_stored;
use crate::size::ByteSize;
use crate::stream::{Entry, ReadError, Reader};

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    #[command(flatten)]
    target: Target,
    /// What `perennial export` wrote; `-` is stdin.
    #[arg(value_name = "FILE", default_value = "-")]
    from: PathBuf,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, Serialize)]
struct Imported {
    entries: u64,
    bytes: u64,
    /// Of these, entries whose time is over: their keys have no value now.
    ended: u64,
    /// What had to go meanwhile to make room.
    evicted: u64,
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} entries imported, {}; {} of them had ended, {} entries were evicted to make room",
            self.entries,
            ByteSize(self.bytes),
            self.ended,
            self.evicted
        )
    }
}

pub(crate) fn run(args: &Import, call: &Call<'_>) -> Result<Exit, Failure> {
    let input = Input::open(&args.from)?;
    let cache = args.target.open_to_store(call)?;
    let mut proved = input.prove(&args.target.cache, &cache, call)?;
    let mut imported = proved.store(&cache, call)?;
    imported.evicted = cache.stats().evicted;
    cache.close()?;
    output::either(args.json, &imported)?;
    Ok(Exit::Fine)
}

/// Where a stream comes from.
struct Input {
    name: String,
    file: File,
    /// Where it begins, in a file that can be read again.
    start: Option<u64>,
    bytes: u64,
}

impl Input {
    fn open(from: &Path) -> Result<Self, Failure> {
        let (name, file) = if from == Path::new("-") {
            ("stdin".to_owned(), stdin()?)
        } else {
            (from.display().to_string(), open_file(from)?)
        };
        let failed = |error| Failure::file(&name, error);
        let about = file.metadata().map_err(failed)?;
        let mut input = Self {
            name: name.clone(),
            file,
            start: None,
            bytes: about.len(),
        };
        if about.is_file() {
            input.start = Some(input.file.stream_position().map_err(failed)?);
        }
        Ok(input)
    }

    /// Reads all of it, and answers with what can be read again.
    fn prove(self, dir: &Path, cache: &Cache, call: &Call<'_>) -> Result<Proved, Failure> {
        let (name, failed) = (&self.name, |error| Failure::file(dir, error));
        let (mut file, start) = match self.start {
            Some(start) => {
                let progress = call.bytes_bar("checking", self.bytes - start.min(self.bytes));
                prove(name, &self.file, cache, &progress)?;
                (self.file, start)
            }
            None => {
                let spool = tempfile::tempfile_in(dir).map_err(failed)?;
                let progress = call.flow("receiving");
                let tee = Tee(self.file, &spool);
                prove(name, tee, cache, &progress)?;
                (spool, 0)
            }
        };
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        Ok(Proved {
            name: self.name,
            file,
        })
    }
}

fn stdin() -> Result<File, Failure> {
    if io::stdin().is_terminal() {
        return Err(Failure::Terminal);
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned();
    Ok(stdin.map_err(Failure::Input)?.into())
}

#[expect(clippy::disallowed_methods, reason = "a file of the caller's")]
fn open_file(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::Missing(path.to_owned()),
        _ => Failure::file(path, error),
    })
}

/// What is read goes to a file, too.
struct Tee<'a>(File, &'a File);

impl Read for Tee<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buf)?;
        let kept = self.1.write_all(&buf[..read]);
        kept.map_err(|error| {
            let what = format!("it cannot be kept in the cache's directory meanwhile: {error}");
            io::Error::new(error.kind(), what)
        })?;
        Ok(read)
    }
}

/// To the end, and every entry fits in a segment: what could be known is known before anything is stored.
fn prove(name: &str, from: impl Read, cache: &Cache, progress: &Progress) -> Result<(), Failure> {
    let failed = |error| Failure::stream(name, error);
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, from)).map_err(failed)?;
    loop {
        let at = reader.offset();
        let Some(entry) = reader.next_entry().map_err(failed)? else {
            return Ok(());
        };
        let (bytes, most) = (
            entry.value.len() as u64,
            cache.max_value_bytes(entry.key.len()),
        );
        if bytes > most {
            return Err(Failure::NoSegmentHolds {
                from: name.to_owned(),
                at,
                bytes,
                most,
            });
        }
        progress.set(reader.offset());
    }
}

/// A stream that is sound to its end.
struct Proved {
    name: String,
    file: File,
}

impl Proved {
    fn store(&mut self, cache: &Cache, call: &Call<'_>) -> Result<Imported, Failure> {
        let failed = |error| Failure::stream(&self.name, error);
        let progress = call.counter("storing");
        let from = BufReader::with_capacity(1 << 20, &self.file);
        let mut reader = Reader::new(from).map_err(failed)?;
        let mut imported = Imported::default();
        loop {
            let at = reader.offset();
            // Proved a second time: the file may have changed.
            let stored = next(&mut reader, &self.name).and_then(|entry| match entry {
                Some(entry) => store(cache, &entry).map(Some),
                None => Ok(None),
            });
            match stored.map_err(|why| why.after(&self.name, at, imported.entries))? {
                Some(ended) => imported.ended += u64::from(ended),
                None => break,
            }
            imported.entries += 1;
            progress.add(1);
        }
        imported.bytes = reader.offset();
        Ok(imported)
    }
}

fn next(reader: &mut Reader<impl Read>, name: &str) -> Result<Option<Entry>, Failure> {
    reader.next_entry().map_err(|error| match error {
        ReadError::Stream(_) => Failure::Changed,
        ReadError::Io(source) => Failure::file(name, source),
    })
}

/// True when its time is over: then the key has no value.
fn store(cache: &Cache, entry: &Entry) -> Result<bool, Failure> {
    let ended = |second: &u32| u64::from(*second) <= unix_now_s();
    if entry.ends_at_s.as_ref().is_some_and(ended) {
        cache.remove(&entry.key)?;
        return Ok(true);
    }
    let mut options = InsertOptions::new().priority(entry.priority);
    if let Some(second) = entry.ends_at_s {
        options = options.ends_at_s(second);
    }
    let inserted = cache.insert_with(&entry.key, &entry.value, options)?;
    must_be_stored(&entry.key, inserted)?;
    Ok(false)
}
