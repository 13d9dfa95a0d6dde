//! Writers that are late: others reserve behind them, in the next buffers and the next segment, before they have filled
//! what they reserved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use perennial::Cache;
use perennial_failpoints::lab::{Driver, Keeps, Step, Store, key};
use perennial_failpoints::{Fs, SimFs};

use crate::driver::{Open, Perennial, small};
use crate::minimal::crashed;

/// 5 KiB: they end the io buffer and, behind the scripts here, the segment. No more, for a closure that fills an entry may
/// not do the upkeep of another one.
fn overtake(cache: &Cache) -> Result<(), String> {
    let mut fillers = (0..16_u64).map(|n| cache.insert(n.to_le_bytes(), [1; 300]));
    let filled = fillers.try_for_each(|inserted| inserted.map(drop));
    filled.map_err(|e| e.to_string())
}

fn roomy() -> perennial::Options {
    small(1 << 20).tail_bytes(64 << 10)
}

/// 1: an incomplete buffer holds back the stable LSN, and with it everybody who waits for it further on.
#[test]
fn gap_blocks_stable() {
    let machine = SimFs::new(1);
    let open = |machine: &SimFs| {
        Cache::open_with(Arc::new(machine.clone()), "/cache", roomy()).expect("it opens")
    };
    let cache = open(&machine);
    cache.insert_durable("before", "v").expect("insert");
    let (acknowledged, mut images) = (AtomicBool::new(false), Vec::new());
    thread::scope(|scope| {
        let fill = |_: &mut [u8]| {
            overtake(&cache)?;
            scope.spawn(|| {
                cache.insert_durable("behind", "v").expect("insert");
                acknowledged.store(true, Ordering::SeqCst);
            });
            // Time to be acknowledged, if anything could; a slow machine only makes the test weaker.
            thread::sleep(Duration::from_millis(100));
            images.extend((0..32).map(|seed| machine.power_loss(seed)));
            let early = acknowledged.load(Ordering::SeqCst);
            if early {
                Err("acknowledged over a gap".to_owned())
            } else {
                Ok(())
            }
        };
        let parked = cache.insert_with_len("parked", 300, fill);
        parked.expect("nothing was acknowledged");
    });
    assert!(acknowledged.load(Ordering::SeqCst));
    let there = |cache: &Cache| {
        ["before", "parked", "behind"].map(|key| cache.contains(key).expect("contains"))
    };
    for image in images {
        assert_eq!(there(&open(&image)), [true, false, false]);
    }
    assert_eq!(there(&open(&machine.power_loss(1))), [true; 3]);
}

/// Puts of key 0 are overtaken.
struct LateWriter(Perennial);

struct Late(Open);

impl Driver for LateWriter {
    type Store = Late;

    fn open(&self, fs: Arc<dyn Fs>) -> Result<Late, String> {
        self.0.open(fs).map(Late)
    }
}

impl Late {
    fn put_late(&self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let cache = &self.0.0;
        let fill = |buf: &mut [u8]| {
            buf.copy_from_slice(value);
            // As many as get in without upkeep.
            let _ = overtake(cache);
            Ok::<_, String>(())
        };
        let inserted = cache.insert_with_len(key, value.len(), fill);
        inserted.map(drop).map_err(|e| e.to_string())
    }
}

impl Store for Late {
    fn put(&self, name: &[u8], value: &[u8], durable: bool) -> Result<(), String> {
        if name != key(0) {
            return self.0.put(name, value, durable);
        }
        self.put_late(name, value)?;
        if durable { self.flush() } else { Ok(()) }
    }

    fn remove(&self, key: &[u8], durable: bool) -> Result<(), String> {
        self.0.remove(key, durable)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.0.get(key)
    }

    fn flush(&self) -> Result<(), String> {
        self.0.flush()
    }

    fn close(self) -> Result<(), String> {
        self.0.close()
    }
}

/// 5: an older version is flushed, the newer one's writer is still at work in a buffer that others have left behind.
#[test]
fn late_writer_keeps_newest() {
    let script = [
        Step::put(0, 100).durable(),
        Step::put(0, 200),
        Step::Get { key: 0 },
        Step::put(1, 200).durable(),
        Step::Get { key: 0 },
        Step::remove(0),
    ];
    let driver = LateWriter(Perennial(roomy()));
    crashed(
        "late_writer_keeps_newest",
        &driver,
        Keeps::Everything,
        &script,
    );
}
