//! Origins whose bytes tell where they are from.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use perennial::Cache;
use perennial::blocks::{Head, Opened, Origin, OriginResult, ReadOptions, Version};

use super::LEN;

/// Objects that are as they were set last; all of one length and one version.
#[derive(Default)]
pub(super) struct Named(Mutex<HashMap<String, Vec<u8>>>);

impl Named {
    pub(super) fn set(&self, object: &str, content: &[u8]) {
        let mut objects = self.0.lock().expect("no thread panicked");
        objects.insert(object.to_owned(), content.to_vec());
    }

    /// From now on it cannot be read.
    pub(super) fn forget(&self, object: &str) {
        self.0.lock().expect("no thread panicked").remove(object);
    }
}

impl Origin for Named {
    fn identity(&self) -> String {
        "named".into()
    }

    fn version(&self, _: &str) -> OriginResult<Version> {
        Ok("as it stands".into())
    }

    fn len(&self, _: &str) -> OriginResult<u64> {
        Ok(LEN.into())
    }

    fn read_at(
        &self,
        object: &str,
        _: &Version,
        offset: u64,
        buf: &mut [u8],
        _: &ReadOptions,
    ) -> OriginResult<usize> {
        let objects = self.0.lock().expect("no thread panicked");
        let content = objects.get(object).ok_or("it is away")?;
        let offset = usize::try_from(offset)?;
        buf.copy_from_slice(&content[offset..offset + buf.len()]);
        Ok(buf.len())
    }
}

/// Objects with versions: each byte follows from identity, object, version and place.
pub(super) struct Objects {
    identity: &'static str,
    version: AtomicU64,
}

fn byte(identity: &str, object: &str, version: u64, at: u64) -> u8 {
    let names = identity.bytes().chain([0]).chain(object.bytes());
    let seed = names.fold(version, |seed, byte| {
        (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let word = (seed ^ (at / 4)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    word.to_le_bytes()[usize::try_from(4 + at % 4).expect("below eight")]
}

fn len_at(version: u64) -> u64 {
    9_000 + 1_000 * version
}

impl Objects {
    pub(super) fn new(identity: &'static str) -> Self {
        Self {
            identity,
            version: AtomicU64::new(0),
        }
    }

    pub(super) fn set_version(&self, version: u64) {
        self.version.store(version, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// What it has now.
    pub(super) fn bytes(&self, object: &str, range: Range<u64>) -> Vec<u8> {
        let version = self.now();
        range
            .map(|at| byte(self.identity, object, version, at))
            .collect()
    }
}

impl Origin for Objects {
    fn identity(&self) -> String {
        self.identity.into()
    }

    fn version(&self, _: &str) -> OriginResult<Version> {
        Ok(self.now().into())
    }

    fn len(&self, _: &str) -> OriginResult<u64> {
        Ok(len_at(self.now()))
    }

    fn open_at(&self, object: &str, range: Range<u64>, _: &ReadOptions) -> OriginResult<Opened> {
        let head = Head::new(self.now(), len_at(self.now()));
        let range = range.start..range.end.min(head.len).max(range.start);
        let bytes = self.bytes(object, range.clone());
        Ok(Opened::new(head, range.start, bytes))
    }

    fn read_at(
        &self,
        object: &str,
        _: &Version,
        offset: u64,
        buf: &mut [u8],
        _: &ReadOptions,
    ) -> OriginResult<usize> {
        let range = offset..offset + buf.len() as u64;
        buf.copy_from_slice(&self.bytes(object, range));
        Ok(buf.len())
    }
}

/// Every block of a versioned object in the cache is what its own key says, byte for byte.
pub(super) fn check_entries(cache: &Cache) -> Result<(), String> {
    for key in cache.keys() {
        let key = key.map_err(|e| e.to_string())?;
        // A head that is remembered.
        if key.ends_with(&[0xFF; 2]) {
            continue;
        }
        let told = Told::of(&key).ok_or_else(|| format!("a key like no block's: {key:?}"))?;
        let Ok(version) = told.version.try_into().map(u64::from_le_bytes) else {
            continue;
        };
        let Some(block) = cache.get(&key).map_err(|e| e.to_string())? else {
            continue;
        };
        let begin = told.number << told.bits;
        let end = told.len.min(begin + (1 << told.bits));
        let bytes = (begin..end).map(|at| byte(told.identity, told.object, version, at));
        if !bytes.eq(block.iter().copied()) {
            return Err(format!("wrong bytes under the key {}", key.escape_ascii()));
        }
    }
    Ok(())
}

/// The parts of a block's key, as `docs/blocks.md` has them.
struct Told<'a> {
    identity: &'a str,
    object: &'a str,
    version: &'a [u8],
    len: u64,
    bits: u8,
    number: u64,
}

impl<'a> Told<'a> {
    fn of(key: &'a [u8]) -> Option<Self> {
        let mut rest = key.strip_prefix(b"\0bk\x01")?;
        let mut part = || {
            let (len, after) = rest.split_first_chunk()?;
            let (part, after) = after.split_at_checked(u16::from_le_bytes(*len).into())?;
            rest = after;
            Some(part)
        };
        let (identity, object, version) = (part()?, part()?, part()?);
        let (len, rest) = rest.split_first_chunk()?;
        let (bits, rest) = rest.split_first()?;
        Some(Self {
            identity: str::from_utf8(identity).ok()?,
            object: str::from_utf8(object).ok()?,
            version,
            len: u64::from_le_bytes(*len),
            bits: *bits,
            number: u64::from_le_bytes(rest.try_into().ok()?),
        })
    }
}
