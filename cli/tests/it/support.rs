//! A cache in a temporary directory, and the command with an empty home.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// What `export` makes of a cache without entries: a head, and a trailer. As an older command wrote it, so these bytes must
/// be read for ever.
const EMPTY_STREAM: &[u8] = b"PRNLEXPT\x01\x00\x00\x00FRO\xd7\
    Z\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00\x86\xa0D\xc3}c\x06\xf0";

/// A directory for one test; below it the cache, and an empty home.
pub(crate) struct Scene {
    dir: TempDir,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("home")).unwrap();
        std::fs::write(dir.path().join("stream"), EMPTY_STREAM).unwrap();
        Self { dir }
    }

    /// With a small cache in it.
    pub(crate) fn with_cache() -> Self {
        let scene = Self::new();
        scene.ok(&["create", "cache", "--capacity", "4MiB"]);
        scene
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The command, in the directory, with nothing of the caller's environment that it reads.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perennial"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.path("home"))
            .env("TMPDIR", std::env::temp_dir());
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Ended {
        Ended::of(&mut self.command(args))
    }

    /// Ends with 0 and says nothing on stderr; what it printed.
    pub(crate) fn ok<S: AsRef<OsStr>>(&self, args: &[S]) -> Vec<u8> {
        let ended = self.run(args);
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
        ended.stdout
    }

    pub(crate) fn text<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        String::from_utf8(self.ok(args)).unwrap()
    }

    /// One document and nothing else.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, args: &[S]) -> Value {
        serde_json::from_slice(&self.ok(args)).unwrap()
    }

    /// Ends with this status, prints nothing, and says one sentence that has this in it.
    pub(crate) fn fails<S: AsRef<OsStr>>(&self, args: &[S], status: i32, part: &str) {
        self.run(args).failed(status, part);
    }
}

impl Ended {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            status: output.status.code().unwrap(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn failed(&self, status: i32, part: &str) {
        let said = &self.stderr;
        assert_eq!(self.status, status, "{said}");
        assert!(self.stdout.is_empty(), "{:?}", self.stdout);
        assert!(said.contains(part), "{part}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.starts_with("perennial: "), "{said}");
    }
}

/// Flips a byte in the middle of every place in the segments that holds these bytes; how many there are.
pub(crate) fn damage(cache: &Path, bytes: &[u8]) -> usize {
    let mut places = 0;
    for file in std::fs::read_dir(cache).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("seg-") {
            continue;
        }
        let mut content = std::fs::read(&path).unwrap();
        let found = content
            .windows(bytes.len())
            .position(|window| window == bytes);
        if let Some(at) = found {
            content[at + bytes.len() / 2] ^= 1;
            std::fs::write(&path, content).unwrap();
            places += 1;
        }
    }
    places
}

/// Names and contents of all files in a directory.
pub(crate) fn picture(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = std::fs::read_dir(dir).unwrap();
    let mut all: Vec<_> = files
        .map(|file| file.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap_or_default()))
        .collect();
    all.sort();
    all
}
