//! Traces: records of 16 bytes, little-endian: key u64, size u32, op u32 (0 get, 1 set).
//!
//! The op makes no difference: each request asks for the key and stores it after a miss, as a read-through cache does.
#![expect(
    clippy::disallowed_methods,
    reason = "traces are files outside of any cache"
)]

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) key: u64,
    pub(crate) value_bytes: u32,
}

/// The window of `zstd --long=27`.
const WINDOW_LOG2: u32 = 27;

pub(crate) fn read(path: &Path) -> Result<Vec<Request>, Failure> {
    let bytes = contents(path).map_err(|source| Failure::File {
        path: path.to_owned(),
        source,
    })?;
    decode(&bytes).ok_or_else(|| Failure::NoTrace {
        path: path.to_owned(),
        bytes: bytes.len(),
    })
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "zst") {
        return fs::read(path);
    }
    let mut decoder = zstd::Decoder::new(fs::File::open(path)?)?;
    decoder.window_log_max(WINDOW_LOG2)?;
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Option<Vec<Request>> {
    let (records, []) = bytes.as_chunks::<16>() else {
        return None;
    };
    Some(records.iter().map(request).collect())
}

fn request(record: &[u8; 16]) -> Request {
    let [k0, k1, k2, k3, k4, k5, k6, k7, s0, s1, s2, s3, ..] = *record;
    Request {
        key: u64::from_le_bytes([k0, k1, k2, k3, k4, k5, k6, k7]),
        value_bytes: u32::from_le_bytes([s0, s1, s2, s3]),
    }
}

/// How many keys there are, and the bytes of their values.
pub(crate) fn footprint(trace: &[Request]) -> (u64, u64) {
    let mut seen = HashSet::new();
    let fresh = trace.iter().filter(|request| seen.insert(request.key));
    let bytes = fresh.map(|request| u64::from(request.value_bytes)).sum();
    (seen.len() as u64, bytes)
}

/// The traces of a directory, by name.
pub(crate) fn in_directory(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |source| Failure::File {
        path: dir.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.to_string_lossy();
        if name.ends_with(".bin") || name.ends_with(".bin.zst") {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(Failure::NoTraces(dir.to_owned()));
    }
    Ok(found)
}

/// The name without what all traces are named.
pub(crate) fn name(path: &Path) -> String {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let name = name.trim_end_matches(".zst");
    name.trim_end_matches(".bin").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: u64, size: u32, op: u32) -> Vec<u8> {
        let words = [
            key.to_le_bytes().to_vec(),
            size.to_le_bytes().to_vec(),
            op.to_le_bytes().to_vec(),
        ];
        words.concat()
    }

    #[test]
    fn records_of_sixteen_bytes() {
        let bytes = [record(7, 4096, 0), record(1 << 40, 1, 1)].concat();
        let requests = decode(&bytes).unwrap();
        let pairs: Vec<_> = requests.iter().map(|r| (r.key, r.value_bytes)).collect();
        assert_eq!(pairs, [(7, 4096), (1 << 40, 1)]);
        assert_eq!(decode(&bytes[..31]), None);
    }

    #[test]
    fn plain_and_compressed_files_are_one() {
        let dir = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..1000).flat_map(|n| record(n % 7, 100, 0)).collect();
        let plain = dir.path().join("a.bin");
        let packed = dir.path().join("b.bin.zst");
        fs::write(&plain, &bytes).unwrap();
        fs::write(&packed, zstd::encode_all(&bytes[..], 3).unwrap()).unwrap();
        fs::write(dir.path().join("README.md"), b"no trace").unwrap();
        assert_eq!(read(&plain).unwrap(), read(&packed).unwrap());
        assert_eq!(
            in_directory(dir.path()).unwrap(),
            [plain.clone(), packed.clone()]
        );
        assert_eq!((name(&plain), name(&packed)), ("a".into(), "b".into()));
    }

    #[test]
    fn what_is_no_trace_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        assert!(matches!(
            in_directory(dir.path()),
            Err(Failure::NoTraces(_))
        ));
        fs::write(&path, [0; 17]).unwrap();
        assert!(matches!(
            read(&path),
            Err(Failure::NoTrace { bytes: 17, .. })
        ));
        assert!(matches!(
            read(&dir.path().join("b.bin")),
            Err(Failure::File { .. })
        ));
    }
}
