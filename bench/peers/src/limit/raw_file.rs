//! One `pread` a hit: key number n lies at n times a fixed length. Through the page cache, or past it.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::aligned::{ALIGNMENT, Aligned};
use crate::backend::{Backend, Setting};
use crate::data::KEY_BYTES;
use crate::failure::{Failure, Result};

/// What a store's own head of an entry takes; its key is beside it. So a value lies across pages here, too.
const HEAD_BYTES: u64 = 48;
/// Keys from here on are fillers of other stores' buffers.
const KEPT: u64 = 1 << 32;

thread_local! {
    static MEMORY: RefCell<Aligned> = RefCell::new(Aligned::new(2 * ALIGNMENT));
}

pub(crate) struct RawFile {
    written: File,
    read: File,
    align: u64,
    value_bytes: std::sync::OnceLock<u64>,
}

impl RawFile {
    pub(crate) fn open(setting: &Setting, direct: bool) -> Result<Self> {
        let path = setting.dir.join("raw");
        let written = File::create(&path)?;
        let mut options = OpenOptions::new();
        options.read(true);
        if direct {
            options.custom_flags(rustix::fs::OFlags::DIRECT.bits() as i32);
        }
        let align = if direct { 512 } else { 1 };
        let read = options.open(&path)?;
        // No store's reads are ordered such that reading ahead pays.
        rustix::fs::fadvise(&read, 0, None, rustix::fs::Advice::Random)?;
        Ok(Self {
            written,
            read,
            align,
            value_bytes: std::sync::OnceLock::new(),
        })
    }

    fn place(&self, key: &[u8], bytes: u64) -> Result<Option<u64>> {
        let number = key[8..]
            .try_into()
            .map_err(|_| Failure::new("keys have 16 bytes here"))?;
        let number = u64::from_be_bytes(number);
        Ok((number < KEPT).then(|| number * (bytes + HEAD_BYTES + KEY_BYTES as u64)))
    }

    fn read(&self, at: u64, bytes: u64, look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let begin = at / self.align * self.align;
        let end = (at + bytes).next_multiple_of(self.align);
        let wanted = (end - begin) as usize;
        MEMORY.with_borrow_mut(|memory| {
            if memory.len() < wanted {
                *memory = Aligned::new(wanted.next_multiple_of(ALIGNMENT));
            }
            let memory = &mut memory.get_mut()[..wanted];
            let read = self.read.read_at(memory, begin)?;
            let skip = (at - begin) as usize;
            if read < skip + bytes as usize {
                return Err(Failure::new("the raw file is shorter than its keys"));
            }
            look(&memory[skip..skip + bytes as usize]);
            Ok(true)
        })
    }
}

impl Backend for RawFile {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let bytes = *self.value_bytes.get_or_init(|| value.len() as u64);
        if let Some(at) = self.place(key, bytes)? {
            self.written.write_all_at(value, at)?;
        }
        Ok(())
    }

    fn put_durable(&self, _: &[u8], _: &[u8]) -> Result<()> {
        Err(Failure::new("only reads are measured here"))
    }

    fn get(&self, key: &[u8], look: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let bytes = self.value_bytes.get().copied().unwrap_or(0);
        let Some(at) = self.place(key, bytes)? else {
            return Ok(false);
        };
        self.read(at, bytes, look)
    }

    fn get_range(
        &self,
        key: &[u8],
        range: Range<usize>,
        look: &mut dyn FnMut(&[u8]),
    ) -> Result<bool> {
        let bytes = self.value_bytes.get().copied().unwrap_or(0);
        let Some(at) = self.place(key, bytes)? else {
            return Ok(false);
        };
        self.read(at + range.start as u64, range.len() as u64, look)
    }

    fn remove(&self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        // Past the end of the last value, so that unbuffered reads of it are whole.
        let bytes = self
            .written
            .metadata()?
            .len()
            .next_multiple_of(ALIGNMENT as u64);
        self.written.set_len(bytes)?;
        Ok(self.written.sync_all()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Values, key};

    #[test]
    fn what_was_written_is_read_either_way() {
        for direct in [false, true] {
            let dir = tempfile::tempdir_in(".").unwrap();
            let setting = Setting {
                dir: dir.path().to_owned(),
                capacity_bytes: 0,
                memory_bytes: 0,
            };
            let file = RawFile::open(&setting, direct).unwrap();
            let values = Values::new(5000);
            (0..20).for_each(|n| file.put(&key(n), values.of(n)).unwrap());
            file.put(&key(KEPT), values.of(KEPT)).unwrap();
            file.flush().unwrap();
            let mut right = 0;
            for n in 0..20 {
                file.get(&key(n), &mut |got| right += u32::from(values.is(n, got)))
                    .unwrap();
            }
            assert_eq!(right, 20);
            let mut part = Vec::new();
            file.get_range(&key(19), 4900..5000, &mut |got| part = got.to_vec())
                .unwrap();
            assert_eq!(part, values.of(19)[4900..]);
            assert!(!file.get(&key(KEPT), &mut |_| ()).unwrap());
        }
    }
}
