//! Memory of this process.
#![expect(unsafe_code, reason = "one call of the C library")]

use std::fs;

use crate::failure::{Failure, Result};

/// Memory at one moment, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Resident pages that no file has.
    pub(crate) anonymous: u64,
    /// What the C library's allocator has handed out, to C++ too.
    pub(crate) allocated: u64,
}

impl Memory {
    pub(crate) fn now() -> Result<Self> {
        let status = fs::read_to_string("/proc/self/status")?;
        let anonymous = anonymous_bytes(&status)
            .ok_or_else(|| Failure::new("/proc/self/status has no RssAnon"))?;
        // SAFETY: it takes no argument, and reads counters under the allocator's own locks.
        let info = unsafe { libc::mallinfo2() };
        Ok(Self {
            anonymous,
            allocated: (info.uordblks + info.hblkhd) as u64,
        })
    }
}

fn anonymous_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kibibytes_become_bytes() {
        assert_eq!(
            anonymous_bytes("Name:\tx\nRssAnon:\t    12 kB\n"),
            Some(12 << 10)
        );
        assert_eq!(anonymous_bytes("Name:\tx\n"), None);
    }

    #[test]
    fn what_is_allocated_counts() {
        let before = Memory::now().unwrap();
        // Other tests give memory back meanwhile: less than half of this.
        let held = std::hint::black_box(vec![1_u8; 512 << 20]);
        let after = Memory::now().unwrap();
        assert!(after.allocated >= before.allocated + (256 << 20));
        assert!(after.anonymous >= before.anonymous + (256 << 20));
        drop(held);
    }
}
