//! The files that are cached, as a list of blocks: what they hold is read again when it is needed.
//!
//! A block of a file that changed since is skipped, both when it would be cached and when the cache's answer is compared.
#![expect(
    clippy::disallowed_methods,
    reason = "reads the user's files, not the cache's"
)]

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::failure::Failure;

pub(super) const BLOCK_BYTES: usize = 64 << 10;

/// Index of a block in [`Input`]; each is one key of the cache.
pub(super) type KeyId = u32;

#[derive(Debug, Serialize, Deserialize)]
struct Block {
    file: u32,
    number: u32,
    bytes: u32,
    hash: u64,
}

/// Small enough to be handed to the child: 30 to 60 bytes of JSON per block.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Input {
    root: PathBuf,
    /// Relative to `root`, in the order of the walk.
    files: Vec<String>,
    blocks: Vec<Block>,
    bytes: u64,
}

impl Input {
    /// Takes files in the order of their names until `limit_bytes` are together.
    pub(super) fn gather(root: &Path, limit_bytes: u64) -> Result<Self, Failure> {
        let root = root
            .canonicalize()
            .map_err(|error| Failure::file(root, error))?;
        let mut input = Self {
            root,
            files: Vec::new(),
            blocks: Vec::new(),
            bytes: 0,
        };
        let mut waiting =
            children(&input.root).map_err(|error| Failure::file(&input.root, error))?;
        while let Some((path, is_dir)) = waiting.pop() {
            if input.bytes >= limit_bytes {
                break;
            }
            let taken = if is_dir {
                directory_below(&path).map(|mut below| waiting.append(&mut below))
            } else {
                input.take(&path, limit_bytes)
            };
            if let Err(error) = taken {
                tracing::debug!(path = %path.display(), %error, "skipped");
            }
        }
        if input.blocks.is_empty() {
            Err(Failure::NothingToCache(input.root))
        } else {
            Ok(input)
        }
    }

    fn take(&mut self, path: &Path, limit_bytes: u64) -> io::Result<()> {
        let name = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
        let name = name.ok_or(io::ErrorKind::InvalidFilename)?.to_owned();
        let file = u32::try_from(self.files.len()).map_err(io::Error::other)?;
        let mut source = File::open(path)?;
        self.files.push(name);
        for number in 0.. {
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            source
                .by_ref()
                .take(BLOCK_BYTES as u64)
                .read_to_end(&mut block)?;
            // An empty file is one empty block: an entry may be empty, too.
            if block.is_empty() && number > 0 {
                break;
            }
            let bytes = u32::try_from(block.len()).map_err(io::Error::other)?;
            self.blocks.push(Block {
                file,
                number,
                bytes,
                hash: xxh3_64(&block),
            });
            self.bytes += u64::from(bytes);
            if block.len() < BLOCK_BYTES || self.bytes >= limit_bytes {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    pub(super) fn keys(&self) -> KeyId {
        KeyId::try_from(self.blocks.len()).unwrap_or(KeyId::MAX)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn block_bytes(&self, key: KeyId) -> u64 {
        u64::from(self.blocks[key as usize].bytes)
    }

    /// The file's relative path, `#`, the block's number.
    pub(super) fn key(&self, key: KeyId) -> Vec<u8> {
        let block = &self.blocks[key as usize];
        format!("{}#{}", self.files[block.file as usize], block.number).into_bytes()
    }

    /// Whether these are the bytes the block had when it was gathered.
    pub(super) fn has_content(&self, key: KeyId, bytes: &[u8]) -> bool {
        let block = &self.blocks[key as usize];
        bytes.len() == block.bytes as usize && xxh3_64(bytes) == block.hash
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader {
            input: self,
            file: None,
            block: Vec::with_capacity(BLOCK_BYTES),
        }
    }
}

/// Files and directories in `path`, the first name last; links and devices are left out.
fn children(path: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() || kind.is_file() {
            found.push((entry.path(), kind.is_dir()));
        }
    }
    found.sort_unstable_by(|a, b| b.cmp(a));
    Ok(found)
}

/// Build directories and the like name themselves by a `CACHEDIR.TAG`, and nothing in them is worth caching.
fn directory_below(path: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    if path.join("CACHEDIR.TAG").exists() {
        Ok(Vec::new())
    } else {
        children(path)
    }
}

/// Reads blocks; quick for blocks in order.
pub(super) struct Reader<'a> {
    input: &'a Input,
    file: Option<(u32, File)>,
    block: Vec<u8>,
}

impl Reader<'_> {
    /// The block as it was gathered; `None` if the file is gone or has changed.
    pub(super) fn read(&mut self, key: KeyId) -> Option<&[u8]> {
        if let Err(error) = self.fill(key) {
            tracing::debug!(key, %error, "a file can no longer be read");
            return None;
        }
        self.input
            .has_content(key, &self.block)
            .then_some(&self.block)
    }

    fn fill(&mut self, key: KeyId) -> io::Result<()> {
        let block = &self.input.blocks[key as usize];
        let mut file = match self.file.take() {
            Some((number, file)) if number == block.file => file,
            _ => File::open(self.input.root.join(&self.input.files[block.file as usize]))?,
        };
        self.block.clear();
        file.seek(SeekFrom::Start(
            u64::from(block.number) * BLOCK_BYTES as u64,
        ))?;
        file.by_ref()
            .take(u64::from(block.bytes))
            .read_to_end(&mut self.block)?;
        self.file = Some((block.file, file));
        Ok(())
    }
}

/// Where to look for files, best first, if nobody said.
pub(super) fn default_roots() -> Vec<PathBuf> {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = std::env::home_dir().map(|home| home.join(".cargo"));
    let registries = cargo
        .into_iter()
        .chain(home)
        .map(|cargo| cargo.join("registry/src"));
    registries.chain([PathBuf::from(".")]).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tree with an empty file, a short one, one of several blocks, and things that must be left out.
    pub(in crate::demo) fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("sub/target")).unwrap();
        fs::write(at("empty"), b"").unwrap();
        fs::write(at("short"), b"hello").unwrap();
        fs::write(at("sub/exact"), vec![7; BLOCK_BYTES]).unwrap();
        fs::write(
            at("sub/long"),
            (0..150_000u32)
                .map(|i| i.to_le_bytes()[0])
                .collect::<Vec<_>>(),
        )
        .unwrap();
        fs::write(at("sub/target/CACHEDIR.TAG"), b"").unwrap();
        fs::write(at("sub/target/object"), b"not this").unwrap();
        dir
    }

    fn keys(input: &Input) -> Vec<String> {
        (0..input.keys())
            .map(|key| String::from_utf8(input.key(key)).unwrap())
            .collect()
    }

    #[test]
    fn files_become_blocks_in_order_of_their_names() {
        let dir = tree();
        let input = Input::gather(dir.path(), u64::MAX).unwrap();
        let expected = [
            "empty#0",
            "short#0",
            "sub/exact#0",
            "sub/long#0",
            "sub/long#1",
            "sub/long#2",
        ];
        assert_eq!(keys(&input), expected);
        assert_eq!(input.bytes(), 5 + 65_536 + 150_000);
        let mut reader = input.reader();
        assert_eq!(reader.read(1), Some(&b"hello"[..]));
        assert_eq!(reader.read(0), Some(&b""[..]));
        assert_eq!(reader.read(5).unwrap().len(), 150_000 - 2 * 65_536);
        assert_eq!(reader.read(3).unwrap().len(), 65_536);
    }

    #[test]
    fn gathering_stops_at_the_limit() {
        let dir = tree();
        let input = Input::gather(dir.path(), 70_000).unwrap();
        assert_eq!(
            keys(&input),
            ["empty#0", "short#0", "sub/exact#0", "sub/long#0"]
        );
    }

    #[test]
    fn a_file_that_changed_is_not_read() {
        let dir = tree();
        let input = Input::gather(dir.path(), u64::MAX).unwrap();
        fs::write(dir.path().join("short"), b"hellO").unwrap();
        fs::remove_file(dir.path().join("sub/exact")).unwrap();
        let mut reader = input.reader();
        assert_eq!(reader.read(1), None);
        assert_eq!(reader.read(2), None);
        assert_eq!(reader.read(0), Some(&b""[..]));
    }

    #[test]
    fn a_tree_without_files_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let error = Input::gather(dir.path(), 1).unwrap_err();
        assert!(matches!(error, Failure::NothingToCache(_)), "{error}");
    }
}
