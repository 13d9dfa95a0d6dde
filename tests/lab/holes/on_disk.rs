//! The cache's directory behind its back: what takes how much, what gets lost, what rots.

use std::io;
use std::path::Path;
use std::sync::Arc;

use perennial::{Cache, Options};
use perennial_failpoints::{Action, CallKind, Dir, FaultFs, Fs, OpenMode, Plan, read_exact_at};

/// A directory that the cache has nothing in.
const ELSEWHERE: &str = "/elsewhere";

/// A byte of a file.
pub(super) struct Place {
    name: String,
    pub(super) at: u64,
}

pub(super) struct Directory {
    cache: Arc<dyn Dir>,
    elsewhere: Arc<dyn Dir>,
}

impl Directory {
    pub(super) fn new(fs: Arc<dyn Fs>) -> Result<Self, String> {
        let open = |path: &str| {
            let path = Path::new(path);
            fs.create_dir_all(path).and_then(|()| fs.open_dir(path))
        };
        let open = |path| open(path).map_err(|e| e.to_string());
        Ok(Self {
            cache: open("/cache")?,
            elsewhere: open(ELSEWHERE)?,
        })
    }

    /// A call that changes nothing and that the lab takes for one before which to crash.
    pub(super) fn moment(&self) -> Result<(), String> {
        self.elsewhere.sync().map_err(|e| e.to_string())
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> Result<u64, String> {
        let entries = self.cache.list().map_err(|e| e.to_string())?;
        Ok(entries.iter().map(|entry| entry.len).sum())
    }

    /// Where in a file whose name begins so these bytes are.
    pub(super) fn find(&self, prefix: &str, bytes: &[u8]) -> Result<Option<Place>, String> {
        self.look_for(prefix, bytes).map_err(|e| e.to_string())
    }

    fn look_for(&self, prefix: &str, bytes: &[u8]) -> io::Result<Option<Place>> {
        if bytes.is_empty() {
            return Ok(None);
        }
        for entry in self.cache.list()? {
            if !entry.name.starts_with(prefix) {
                continue;
            }
            let file = self.cache.open(&entry.name, OpenMode::Read)?;
            let mut content = vec![0; usize::try_from(entry.len).unwrap_or(0)];
            read_exact_at(&*file, &mut content, 0)?;
            let mut windows = content.windows(bytes.len());
            if let Some(at) = windows.position(|window| window == bytes) {
                let (name, at) = (entry.name, at as u64);
                return Ok(Some(Place { name, at }));
            }
        }
        Ok(None)
    }

    /// The file is gone for good.
    pub(super) fn lose(&self, place: &Place) -> Result<(), String> {
        let removed = self.cache.remove(&place.name);
        removed
            .and_then(|()| self.cache.sync())
            .map_err(|e| e.to_string())
    }

    /// A bit rots; a second time it is as it was.
    pub(super) fn flip(&self, place: &Place) -> Result<(), String> {
        let flipped = || {
            let file = self.cache.open(&place.name, OpenMode::ReadWrite)?;
            let mut byte = [0];
            read_exact_at(&*file, &mut byte, place.at)?;
            file.write_at(&[byte[0] ^ 4], place.at)?;
            if place.name.starts_with("seg-") {
                // Rot is on the media.
                file.sync_data()?;
            }
            Ok::<_, io::Error>(())
        };
        flipped().map_err(|e| e.to_string())
    }
}

/// Where no cache is yet there was one elsewhere, whose blocks are free again. When the lab crashes in the middle of it
/// that is litter enough.
pub(super) fn litter(fs: &Arc<dyn Fs>, options: &Options) {
    if fs.open_dir(Path::new("/cache")).is_ok() {
        return;
    }
    let path = Path::new("/before");
    let filled = Cache::open_with(Arc::clone(fs), path, options.clone()).and_then(|cache| {
        cache.insert_durable("k", [1; 100])?;
        cache.close()
    });
    let removed = filled.map(|()| {
        let dir = fs.open_dir(path)?;
        for entry in dir.list()? {
            dir.remove(&entry.name)?;
        }
        dir.sync()
    });
    drop(removed);
}

/// `fs`, full once the cache has so many segment files.
pub(super) fn full_behind(fs: Arc<dyn Fs>, segment_files: u32) -> Arc<dyn Fs> {
    let plan = Plan::new(move |call| {
        let number = call.name.strip_prefix("seg-").map(str::parse::<u32>);
        let beyond = number.is_some_and(|number| number.is_ok_and(|n| n >= segment_files));
        if call.kind == CallKind::Create && beyond {
            Action::Fail(io::ErrorKind::StorageFull)
        } else {
            Action::Pass
        }
    });
    Arc::new(FaultFs::new(fs, plan))
}
