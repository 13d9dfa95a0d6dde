//! Entries whose time is over.

use perennial_wal::frame::FrameHeader;
use perennial_wal::{Addr, Class, FrameSpec, Refused};

use crate::engine::Engine;
use crate::index::Entry;

impl Engine {
    /// The time that entries end by, in seconds since 1970.
    pub(crate) fn now_s(&self) -> u64 {
        self.clock.now_s(&*self.fs)
    }

    pub(crate) fn expired(&self, header: &FrameHeader) -> bool {
        self.has_ended(header.expiry)
    }

    /// True once an entry with this `expiry` is a miss.
    pub(super) fn has_ended(&self, expiry: u32) -> bool {
        expiry != 0 && self.now_s() >= u64::from(expiry)
    }

    /// Somebody saw that this entry's time is over: it is removed for good, in the log, too, like by a remove (hole 37 in
    /// `docs/recovery.md`). False: it is elsewhere by now, or another.
    ///
    /// A reader does not wait for room in the log. Where there is none the entry is gone for this life.
    pub(super) fn drop_expired(&self, hash: u64, addr: Addr) -> bool {
        if perennial_failpoints::planted!("expired-entry-back") {
            self.counters.expired.add(1);
            return true;
        }
        perennial_failpoints::site!("read::expired::seen");
        self.drop_ended(hash, |entry| entry.addr == addr)
    }

    /// The same for an entry that `is_over` says yes to, under its shard's lock.
    pub(crate) fn drop_ended(&self, hash: u64, is_over: impl Fn(&Entry) -> bool) -> bool {
        let (dropped, entered) = self.try_drop_ended(hash, is_over);
        self.after_operation(entered);
        dropped
    }

    fn try_drop_ended(&self, hash: u64, is_over: impl Fn(&Entry) -> bool) -> (bool, bool) {
        let mut shard = self.index.lock(hash);
        let Some(Entry { addr, .. }) = self.index.get(hash).filter(is_over) else {
            return (false, false);
        };
        let entered = match self.log.try_reserve(FrameSpec::remove(hash), Class::Remove) {
            Ok(reservation) => {
                let entered = self.raise_horizon(Addr::log(reservation.lsn()));
                reservation.complete();
                perennial_failpoints::site!("read::expired::logged");
                entered
            }
            Err(Refused::NoRoom(_) | Refused::Stopped(_)) => {
                self.counters.expired_unlogged.add(1);
                self.dropped_unread.lock().push(hash);
                false
            }
        };
        shard.remove_if(hash, addr);
        self.ledger.subtract(addr);
        self.pins.forget(hash);
        self.counters.expired.add(1);
        (true, entered)
    }
}
