//! Hole 8: shards of the index that are loaded when they are first touched.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use perennial::Cache;
use perennial_failpoints::lab::{Keeps, Step, key};
use perennial_failpoints::{Action, Call, CallKind, FaultFs, Plan, SimFs};

use super::crashed;
use super::played::with_the_same_mutants;
use crate::driver::{CHECKPOINT, small};
use crate::loading::{LoadsLater, later};

/// What a checkpoint says of a key is older than what the log says behind it, whichever of its shards is touched when.
#[test]
pub(crate) fn hole_08_a_shard_is_loaded_with_what_came_later() -> Result<(), String> {
    let mut script: Vec<_> = (0..6).map(|key| Step::put(key, 300)).collect();
    script.extend([
        Step::Other(CHECKPOINT),
        Step::remove(1).durable(),
        Step::put(2, 60),
        Step::Abandon { key: 3, len: 100 },
        Step::Flush,
        Step::Reopen,
        Step::Get { key: 2 },
        Step::put(4, 80),
        Step::Reopen,
        Step::remove(5),
        Step::Get { key: 1 },
        Step::Other(CHECKPOINT),
        Step::put(1, 40),
        Step::Reopen,
    ]);
    let driver = LoadsLater(later(small(1 << 20)));
    crashed("hole 8", &driver, Keeps::Everything, &script)
}

/// One key is put again and again until the segments of the checkpoint are used anew: the shards that nobody has touched are
/// loaded before. No checkpoint comes in between, which would load them, too.
#[test]
pub(crate) fn hole_08_an_image_is_loaded_before_its_segment_goes() -> Result<(), String> {
    let mut script: Vec<_> = (0..8).map(|key| Step::put(key, 300)).collect();
    script.extend([Step::Other(CHECKPOINT), Step::Reopen]);
    script.extend([Step::put(0, 900); 70]);
    script.extend((0..8).map(|key| Step::Get { key }));
    let options = later(small(64 << 10)).checkpoint_every_bytes(1 << 30);
    crashed(
        "hole 8, a full log",
        &LoadsLater(options),
        Keeps::WhatItLikes,
        &script,
    )
}

/// While one thread reads the image of a shard, another one asks for a key of it: it waits, or finds it.
#[test]
pub(crate) fn hole_08_nobody_sees_half_a_shard() -> Result<(), String> {
    let told = |error: perennial::Error| error.to_string();
    let options = || later(small(1 << 20)).index_shards(1);
    let machine = SimFs::new(1);
    let cache = Cache::open_with(Arc::new(machine.clone()), "/cache", options()).map_err(told)?;
    for n in 0..40 {
        cache.insert(key(n), [n; 100]).map_err(told)?;
    }
    cache.close().map_err(told)?;

    let fs = FaultFs::new(Arc::new(machine), Plan::none());
    let cache = Cache::open_with(Arc::new(fs.clone()), "/cache", options()).map_err(told)?;
    let mut reads = 0;
    fs.set_plan(Plan::new(move |call: &Call<'_>| {
        reads += u64::from(call.kind == CallKind::Read);
        if reads == 1 && call.kind == CallKind::Read {
            return Action::Hold;
        }
        Action::Pass
    }));
    let look = |n: u8| {
        let cache = cache.clone();
        with_the_same_mutants(move || match cache.get(key(n)) {
            Ok(Some(found)) if *found == [n; 100] => Ok(()),
            Ok(found) => Err(format!("key {n} shows {found:?}")),
            Err(error) => Err(error.to_string()),
        })
    };
    thread::scope(|scope| {
        let first = scope.spawn(look(7));
        while fs.held() == 0 && !first.is_finished() {
            thread::yield_now();
        }
        let second = scope.spawn(look(8));
        // As long as it takes to look at an index that nobody guards; who waits, waits for as long as it is told to.
        for _ in 0..200 {
            if second.is_finished() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        fs.let_go();
        let said = [first.join(), second.join()];
        said.into_iter()
            .try_for_each(|said| said.unwrap_or_else(|_| Err("panicked".to_owned())))
    })
}
