//! Which stores and limits there are, and what to know of each before its numbers are read.

use std::fmt;

use clap::ValueEnum;

use super::{Backend, Setting};
use crate::failure::{Failure, Result};
use crate::limit::raw_file::RawFile;

/// A store or a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    Perennial,
    Foyer,
    RocksdbLevel,
    RocksdbFifo,
    Fjall,
    Redb,
    Sled,
    Files,
    QuickCache,
    Moka,
    /// Limit: append, crc, hash map.
    BareLog,
    /// Limit: hash, crc, copy into a ring, one random write of 8 bytes.
    BareLoop,
    /// Limit: unbuffered writes into written files; a synced append.
    Device,
    /// Limit: `pread` through the page cache.
    Pread,
    /// Limit: `pread` past the page cache.
    PreadDirect,
    /// The harness alone.
    Harness,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Perennial => "perennial",
            Self::Foyer => "foyer",
            Self::RocksdbLevel => "rocksdb-level",
            Self::RocksdbFifo => "rocksdb-fifo",
            Self::Fjall => "fjall",
            Self::Redb => "redb",
            Self::Sled => "sled",
            Self::Files => "files",
            Self::QuickCache => "quick-cache",
            Self::Moka => "moka",
            Self::BareLog => "bare-log",
            Self::BareLoop => "bare-loop",
            Self::Device => "device",
            Self::Pread => "pread",
            Self::PreadDirect => "pread-direct",
            Self::Harness => "harness",
        }
    }

    /// What a plain put promises when it returns.
    pub(crate) fn ack(self) -> &'static str {
        match self {
            Self::Perennial => "in the mapped tail: survives kill -9",
            Self::Foyer => "in memory; may be dropped on the way to the disk",
            Self::RocksdbLevel | Self::RocksdbFifo => "log in the page cache: survives kill -9",
            Self::Fjall => "journal in the page cache: survives kill -9",
            Self::Redb => "in memory until the next durable commit",
            Self::Sled => "in memory for up to half a second",
            Self::Files => "file in the page cache: survives kill -9",
            Self::QuickCache | Self::Moka => "in memory",
            Self::BareLog => "in the page cache: survives kill -9, if anybody replayed it",
            Self::BareLoop => "in memory",
            Self::Device => "on the device",
            Self::Pread | Self::PreadDirect | Self::Harness => "nothing",
        }
    }

    /// What the final flush, or a durable put, promises.
    pub(crate) fn flushed(self) -> &'static str {
        match self {
            Self::Foyer => "written, then synced by the harness; it never syncs itself",
            Self::Files => "synced by the harness with the file system",
            Self::Sled => "sync_file_range: no metadata, no flush of the device's cache",
            Self::QuickCache
            | Self::Moka
            | Self::BareLoop
            | Self::Pread
            | Self::PreadDirect
            | Self::Harness => "nothing",
            _ => "synced",
        }
    }

    /// Whether a durable put exists.
    pub(crate) fn has_durable_put(self) -> bool {
        self.is_on_disk() && self != Self::Foyer
    }

    /// Whether it keeps entries on disk.
    pub(crate) fn is_on_disk(self) -> bool {
        !self.is_limit() && !self.is_in_memory() || self == Self::BareLog
    }

    pub(crate) fn is_in_memory(self) -> bool {
        matches!(self, Self::QuickCache | Self::Moka)
    }

    /// Not a store: what nobody can be much faster than.
    pub(crate) fn is_limit(self) -> bool {
        matches!(
            self,
            Self::BareLog
                | Self::BareLoop
                | Self::Device
                | Self::Pread
                | Self::PreadDirect
                | Self::Harness
        )
    }

    /// What perennial is compared with: stores that keep entries on disk.
    pub(crate) fn is_peer(self) -> bool {
        self.is_on_disk() && !self.is_limit() && self != Self::Perennial
    }

    /// Whether it keeps within its capacity by itself.
    pub(crate) fn is_bounded(self) -> bool {
        matches!(self, Self::Perennial | Self::Foyer | Self::RocksdbFifo) || self.is_in_memory()
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::value_variants()
            .iter()
            .copied()
            .find(|kind| kind.name() == name)
    }

    pub(crate) fn open(self, setting: &Setting) -> Result<Box<dyn Backend>> {
        Ok(match self {
            Self::Perennial => Box::new(super::perennial::Perennial::open(setting)?),
            Self::Foyer => Box::new(super::foyer::Foyer::open(setting)?),
            #[cfg(feature = "rocksdb")]
            Self::RocksdbLevel => Box::new(super::rocks::Rocks::open(setting, false)?),
            #[cfg(feature = "rocksdb")]
            Self::RocksdbFifo => Box::new(super::rocks::Rocks::open(setting, true)?),
            Self::Fjall => Box::new(super::fjall::Fjall::open(setting)?),
            Self::Redb => Box::new(super::redb::Redb::open(setting)?),
            Self::Sled => Box::new(super::sled::Sled::open(setting)?),
            Self::Files => Box::new(super::files::Files::open(setting)?),
            Self::QuickCache => Box::new(super::memory::QuickCache::open(setting)),
            Self::Moka => Box::new(super::memory::Moka::open(setting)),
            Self::BareLog => Box::new(super::bare_log::BareLog::open(setting)?),
            Self::Pread => Box::new(RawFile::open(setting, false)?),
            Self::PreadDirect => Box::new(RawFile::open(setting, true)?),
            Self::Harness => Box::new(super::nothing::Nothing),
            other => return Err(Failure::new(format!("{other} is no store in this build"))),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_name_their_kind_and_the_command_line_knows_them() {
        for kind in Kind::value_variants() {
            assert_eq!(Kind::named(kind.name()), Some(*kind));
            assert_eq!(kind.to_possible_value().unwrap().get_name(), kind.name());
        }
        assert_eq!(Kind::named("nobody"), None);
    }

    #[test]
    fn a_limit_is_no_peer() {
        for kind in Kind::value_variants() {
            assert!(!(kind.is_limit() && kind.is_peer()), "{kind}");
        }
        assert!(Kind::Foyer.is_peer() && !Kind::Perennial.is_peer() && !Kind::Moka.is_peer());
    }

    /// What was put is there, what was removed is not, whatever the store.
    #[test]
    fn every_store_stores() {
        for kind in Kind::value_variants().iter().copied() {
            if !(kind.is_on_disk() || kind.is_in_memory()) {
                continue;
            }
            #[cfg(not(feature = "rocksdb"))]
            if matches!(kind, Kind::RocksdbFifo | Kind::RocksdbLevel) {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let setting = Setting {
                dir: dir.path().to_owned(),
                capacity_bytes: 256 << 20,
                memory_bytes: 8 << 20,
            };
            let store = kind.open(&setting).unwrap();
            let values = crate::data::Values::new(5000);
            for n in 0..100 {
                store.put(&crate::data::key(n), values.of(n)).unwrap();
            }
            if kind.has_durable_put() {
                store
                    .put_durable(&crate::data::key(100), values.of(100))
                    .unwrap();
            }
            store.flush().unwrap();
            let mut right = 0;
            for n in 0..100 {
                let look = &mut |got: &[u8]| right += u32::from(values.is(n, got));
                assert!(
                    store.get(&crate::data::key(n), look).unwrap(),
                    "{kind}: {n}"
                );
            }
            assert_eq!(right, 100, "{kind}");
            let mut part = Vec::new();
            let look = &mut |got: &[u8]| part = got.to_vec();
            assert!(
                store
                    .get_range(&crate::data::key(3), 100..200, look)
                    .unwrap()
            );
            assert_eq!(part, values.of(3)[100..200], "{kind}");
            store.remove(&crate::data::key(3)).unwrap();
            assert!(
                !store.get(&crate::data::key(3), &mut |_| ()).unwrap(),
                "{kind}"
            );
            assert!(
                !store
                    .get(&crate::data::key(crate::data::ABSENT), &mut |_| ())
                    .unwrap()
            );
            store.close().unwrap();
        }
    }
}
