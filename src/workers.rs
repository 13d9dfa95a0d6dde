//! The threads of an open cache.

use std::sync::Arc;

use perennial_wal::{Background, PoisonsInPanic};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::sync::JoinHandle;

/// Running threads: one writes the log, one does the upkeep.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    upkeep: Option<JoinHandle<()>>,
    loader: Option<JoinHandle<()>>,
    flusher: Option<Background>,
}

impl Workers {
    pub(crate) fn spawn(engine: &Arc<Engine>) -> Result<Self> {
        if !engine.plan.background {
            engine.index.spare_fences();
            engine.log.lock_tail();
            return Ok(Self::default());
        }
        let failed = |error| Error::io("cannot start a thread", error);
        let flusher = Background::spawn(&engine.log, engine.plan.flush_every).map_err(failed)?;
        let shared = Arc::clone(engine);
        let upkeep = crate::sync::spawn("perennial-upkeep", move || {
            let _poisons = PoisonsInPanic(&shared.log, "the thread that does the upkeep");
            let mut tail_locked = false;
            while shared.signal.next(None) {
                perennial_failpoints::site!("workers::upkeep");
                if let Err(error) = shared.upkeep_step() {
                    // Whoever needs the room next makes it, or is told why not.
                    tracing::warn!(%error, "upkeep failed");
                }
                // Behind the first step, for which writers may wait.
                shared.index.spare_fences();
                if !std::mem::replace(&mut tail_locked, true) {
                    shared.log.lock_tail();
                }
            }
        });
        let mut workers = Self {
            upkeep: None,
            loader: load_in_the_background(engine),
            flusher: Some(flusher),
        };
        match upkeep {
            Ok(thread) => {
                workers.upkeep = Some(thread);
                // What the open left to it.
                engine.signal.wake();
            }
            Err(error) => {
                engine.close_gate();
                engine.log.stop(perennial_wal::WalError::Closed);
                workers.join_flusher();
                workers.join_loader();
                return Err(failed(error));
            }
        }
        Ok(workers)
    }

    /// Ends the upkeep thread.
    pub(crate) fn stop_upkeep(&mut self, engine: &Engine) {
        engine.signal.stop();
        engine.pace.stop();
        if let Some(thread) = self.upkeep.take() {
            // A panic in it was reported when it happened.
            let _ = thread.join();
        }
        self.join_loader();
    }

    fn join_loader(&mut self) {
        if let Some(loader) = self.loader.take() {
            let _ = loader.join();
        }
    }

    /// Waits for the flusher, which ends with the log.
    pub(crate) fn join_flusher(&mut self) {
        if let Some(mut flusher) = self.flusher.take() {
            flusher.join();
        }
    }
}

/// Loads what the open left of the index. Where no thread is to be had, whoever touches a shard still loads it.
fn load_in_the_background(engine: &Arc<Engine>) -> Option<JoinHandle<()>> {
    if engine.index.is_whole() {
        return None;
    }
    let shared = Arc::clone(engine);
    let started = crate::sync::spawn("perennial-load", move || shared.load_in_the_background());
    if let Err(error) = &started {
        tracing::warn!(%error, "no thread to load the index with; it is loaded as it is used");
    }
    started.ok()
}
