//! Warming up by a task: no thread of the runtime waits for an origin that may need it.

use std::ops::{ControlFlow, Range, RangeInclusive};
use std::sync::Arc;

use bytes::Bytes;

use super::AsyncBlockCache;
use super::read::unless_cancelled;
use crate::blocks::boarded::Boarded;
use crate::blocks::ensure::{Progress, Step, Warming, patiently};
use crate::blocks::origin::Head;
use crate::blocks::read::{Reading, Stopped, TRIES, keeps_changing};
use crate::blocks::request::{ReadOptions, Revalidate};
use crate::blocks::shared::Shared;
use crate::blocks::wait::{Cancel, Parker};
use crate::error::Result;
use crate::read::InMemory;

impl AsyncBlockCache {
    /// As the sync face's; the waiting is a task's.
    pub(super) async fn ensure(
        &self,
        object: &str,
        range: &Range<u64>,
        options: &ReadOptions,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Progress> {
        let mut options = patiently(options);
        for _ in 0..TRIES {
            let head = self.head(object, &options).await?;
            Shared::check_range(object, &head, range)?;
            if range.is_empty() {
                return Ok(Progress::default());
            }
            let ensured = self.ensure_version(object, &head, range, &options, &mut progress);
            match ensured.await {
                Ok(done) => return Ok(done),
                Err(Stopped::Error(error)) => return Err(error),
                Err(Stopped::Changed) => options.revalidate = Revalidate::Always,
            }
        }
        Err(keeps_changing(object))
    }

    async fn ensure_version(
        &self,
        object: &str,
        head: &Head,
        range: &Range<u64>,
        options: &ReadOptions,
        progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
    ) -> std::result::Result<Progress, Stopped> {
        let shared = &self.blocks.shared;
        let mut reading = Reading {
            object,
            head,
            options,
            keys: shared.keys(object, head)?,
        };
        let parker = Arc::new(Parker::default());
        let cancel = options.cancel.as_ref();
        let _wakes = cancel.map(|cancel| cancel.wakes(&parker));
        let mut warming = Warming::new(shared, &reading, range);
        loop {
            if cancel.is_some_and(Cancel::is_cancelled) {
                return Err(shared.was_cancelled());
            }
            let blocks = match warming.step() {
                Step::Done => return Ok(warming.done),
                Step::Look(blocks) => Some(blocks),
                Step::Wait(number, boarded) => {
                    let landing = boarded.landed_for_task(cancel).await;
                    let landing = landing.ok_or_else(|| shared.was_cancelled())?;
                    if warming.is_lost(object, landing)? {
                        Some(number..=number)
                    } else {
                        let kept = boarded.over_for_task(cancel).await;
                        warming.over(kept.ok_or_else(|| shared.was_cancelled())?);
                        None
                    }
                }
            };
            if let Some(blocks) = blocks {
                let looked = blocks.end() - blocks.start() + 1;
                let begun = self.begin(&mut reading, blocks, &parker).await?;
                warming.begun(looked, begun);
            }
            if progress(warming.done).is_break() {
                return Ok(warming.done);
            }
        }
    }

    /// Boards what is not there.
    async fn begin(
        &self,
        reading: &mut Reading<'_>,
        blocks: RangeInclusive<u64>,
        parker: &Arc<Parker>,
    ) -> Result<Vec<(u64, Boarded<Bytes>)>> {
        let shared = &self.blocks.shared;
        let landings = shared.flights.landings();
        let (mut missing, mut in_files) = (Vec::new(), Vec::new());
        for number in blocks {
            match shared.has_in_memory(&mut reading.keys, number) {
                InMemory::Found(()) => {}
                InMemory::Absent => missing.push(number),
                InMemory::OnDisk => in_files.push(number),
            }
        }
        if !in_files.is_empty() {
            let (shared, mut keys) = (Arc::clone(shared), reading.keys.clone());
            let look = move || {
                in_files.retain(|number| !shared.has(&mut keys, *number));
                in_files
            };
            let looked = unless_cancelled(reading.options, self.pool.read(look)).await;
            missing.extend(looked.ok_or_else(|| self.blocks.shared.cancels())??);
            missing.sort_unstable();
        }
        let boarded = shared.board(reading, &missing, parker, landings);
        Ok(missing.into_iter().zip(boarded).collect())
    }
}
