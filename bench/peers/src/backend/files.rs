//! One file per key: written beside, then renamed into its place. What object-store clients do.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::sync::sync_file_system;
use super::{Backend, Setting};
use crate::failure::Result;

pub(super) struct Files {
    dir: PathBuf,
    next: AtomicU64,
}

impl Files {
    pub(super) fn open(setting: &Setting) -> Result<Self> {
        for n in 0..=u8::MAX {
            fs::create_dir_all(setting.dir.join(format!("{n:02x}")))?;
        }
        fs::create_dir_all(setting.dir.join("new"))?;
        Ok(Self {
            dir: setting.dir.clone(),
            next: AtomicU64::new(0),
        })
    }

    fn path(&self, key: &[u8]) -> PathBuf {
        let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        self.dir.join(&name[..2]).join(name)
    }

    fn write(&self, key: &[u8], value: &[u8], durable: bool) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let beside = self.dir.join("new").join(number.to_string());
        let mut file = File::create(&beside)?;
        file.write_all(value)?;
        if durable {
            file.sync_data()?;
        }
        let path = self.path(key);
        fs::rename(beside, &path)?;
        if let (true, Some(parent)) = (durable, path.parent()) {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }
}

impl Backend for Files {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(key, value, false)
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.write(key, value, true)
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        match fs::read(self.path(key)) {
            Ok(value) => {
                look(&value);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn get_range(
        &self,
        key: &[u8],
        range: Range<usize>,
        look: &mut dyn FnMut(&[u8]),
    ) -> Result<bool> {
        let file = match File::open(self.path(key)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let mut part = vec![0; range.len()];
        file.read_exact_at(&mut part, range.start as u64)?;
        look(&part);
        Ok(true)
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        match fs::remove_file(self.path(key)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn flush(&self) -> Result<()> {
        sync_file_system(&self.dir)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.flush()
    }
}
