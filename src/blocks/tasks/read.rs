//! A read by a task: what is in memory, what is in files, and then what is fetched.

use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;

use super::AsyncBlockCache;
use crate::blocks::flights::Landing;
use crate::blocks::key::Keys;
use crate::blocks::origin::{Head, Opened};
use crate::blocks::questions::Put;
use crate::blocks::read::{Piece, Reading, Stopped, TRIES, keeps_changing, lost};
use crate::blocks::remembered::Remembered;
use crate::blocks::request::{ReadOptions, Revalidate};
use crate::blocks::shared::Shared;
use crate::blocks::wait::{Cancel, Parker};
use crate::error::Result;
use crate::read::InMemory;
use crate::tasks::joined;

/// Blocks of so many bytes are read from files by one thread; others meanwhile by others.
const GROUP_BYTES: u64 = 1 << 20;

/// What was found, block by block.
struct Found {
    first: u64,
    blocks: Vec<Bytes>,
}

impl Found {
    fn set(&mut self, piece: &Piece, bytes: Bytes) {
        let at = usize::try_from(piece.number - self.first).unwrap_or(usize::MAX);
        self.blocks[at] = bytes;
    }
}

impl AsyncBlockCache {
    /// As the sync face's; the waiting is a task's.
    pub(super) async fn opened(
        &self,
        object: &str,
        options: &ReadOptions,
        wanted: Option<&Range<u64>>,
    ) -> Result<Opened> {
        let shared = &self.blocks.shared;
        let known = shared.heads.of(object);
        if let Some(head) = shared.known_head(object, &known, options.revalidate) {
            return Ok(head.into());
        }
        if shared.recalls(&known) {
            let found = unless_cancelled(options, self.remembered(object)).await;
            known.recall(found.ok_or_else(|| shared.cancels())??);
        }
        let parker = Arc::new(Parker::default());
        let cancel = options.cancel.as_ref();
        let _wakes = cancel.map(|cancel| cancel.wakes(&parker));
        for tried in 0..TRIES {
            let (boarded, bound) = match shared.put(object, options, wanted, &parker) {
                Put::Known(head) => return Ok(head.into()),
                Put::Waits(boarded, bound) => (boarded, bound),
            };
            let landing = boarded.landed_for_task(cancel).await;
            let again = bound.is_passed(boarded.as_of(), tried);
            if let Some(told) = shared.told(object, options, landing, again) {
                return told;
            }
        }
        Err(lost(object))
    }

    async fn remembered(&self, object: &str) -> Result<Option<Remembered>> {
        let shared = &self.blocks.shared;
        let Some(key) = shared.remembered_key(object) else {
            return Ok(None);
        };
        match shared.cache.engine().get_in_memory(&key) {
            Ok(InMemory::Found(value)) => Ok(shared.as_remembered(&value.into_bytes())),
            Ok(InMemory::OnDisk) => {
                let (shared, object) = (Arc::clone(shared), object.to_owned());
                self.pool.read(move || shared.remembered(&object)).await
            }
            Ok(InMemory::Absent) | Err(_) => Ok(None),
        }
    }

    /// The range of a head's object, of its version or of a newer one where it has changed since.
    pub(super) async fn settled(
        &self,
        object: &str,
        mut opened: Opened,
        range: impl Fn(&Head) -> Range<u64>,
        options: &ReadOptions,
    ) -> Result<(Head, Vec<Bytes>)> {
        let shared = &self.blocks.shared;
        let began_ns = shared.now_ns();
        for _ in 0..TRIES {
            let range = range(&opened.head);
            match self.pieces_opened(object, &opened, &range, options).await {
                Ok(pieces) => {
                    let took_ns = shared.now_ns().saturating_sub(began_ns);
                    shared.times.get.add(took_ns);
                    return Ok((opened.head, pieces));
                }
                Err(Stopped::Error(error)) => return Err(error),
                Err(Stopped::Changed) => {
                    let again = options.clone().revalidate(Revalidate::Always);
                    opened = self.opened(object, &again, None).await?;
                }
            }
        }
        Err(keeps_changing(object))
    }

    /// The range, of exactly the version that was opened, block by block.
    pub(super) async fn pieces_opened(
        &self,
        object: &str,
        opened: &Opened,
        range: &Range<u64>,
        options: &ReadOptions,
    ) -> std::result::Result<Vec<Bytes>, Stopped> {
        // What is in memory is answered at once, for ever: others are to have their turn.
        consume_budget().await;
        let shared = &self.blocks.shared;
        let head = &opened.head;
        Shared::check_range(object, head, range)?;
        shared.counters.reads.add(1);
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut reading = Reading {
            object,
            head,
            options,
            keys: shared.keys(object, head)?,
        };
        let cut = reading.keys.cut;
        let touched = cut.touched(range.start, range.end - range.start);
        // Before the looks: what is over since then may have been kept behind one of them.
        let landings = shared.flights.landings();
        let mut found = Found {
            first: *touched.start(),
            blocks: touched.clone().map(|_| Bytes::new()).collect(),
        };
        let (mut came, mut in_files, mut missing) = (0, Vec::new(), Vec::new());
        for number in touched.clone() {
            let piece = Piece::of(cut, number, range);
            if let Some(block) = opened.block(cut, number) {
                found.set(&piece, block.slice(piece.of_block.clone()));
                came += 1;
                continue;
            }
            match shared.cached_in_memory(&mut reading.keys, number, &piece.of_block) {
                InMemory::Found(bytes) => self.serve(&mut found, &piece, bytes),
                InMemory::Absent => missing.push(piece),
                InMemory::OnDisk => in_files.push(piece),
            }
        }
        let read = self.read_files(&reading.keys, &in_files, &mut found);
        let read = unless_cancelled(options, read).await;
        missing.extend(read.ok_or_else(|| shared.cancels())??);
        missing.sort_unstable_by_key(|piece| piece.number);
        shared.looked(&reading, &touched, missing.len() as u64 + came);
        for _ in 0..TRIES {
            if missing.is_empty() {
                return Ok(found.blocks);
            }
            missing = self
                .fetch(&mut reading, missing, &mut found, landings)
                .await?;
        }
        Err(Stopped::Error(lost(object)))
    }

    fn serve(&self, found: &mut Found, piece: &Piece, bytes: Bytes) {
        self.blocks
            .shared
            .counters
            .cache_bytes
            .add(bytes.len() as u64);
        found.set(piece, bytes);
    }

    /// Reads blocks that lie in files, on threads; those that are not there after all.
    async fn read_files(
        &self,
        keys: &Keys,
        pieces: &[Piece],
        found: &mut Found,
    ) -> Result<Vec<Piece>> {
        let each = usize::try_from(GROUP_BYTES >> keys.cut.bits)
            .unwrap_or(1)
            .max(1);
        if pieces.is_empty() {
            return Ok(Vec::new());
        }
        let runtime = self.pool.runtime()?;
        let mut groups = JoinSet::new();
        for group in pieces.chunks(each) {
            let (shared, pool) = (Arc::clone(&self.blocks.shared), Arc::clone(&self.pool));
            let (mut keys, group) = (keys.clone(), group.to_vec());
            let look = move |piece: Piece| {
                let bytes = shared.cached(&mut keys, piece.number, &piece.of_block);
                (piece, bytes)
            };
            let read = move || group.into_iter().map(look).collect::<Vec<_>>();
            groups.spawn_on(async move { pool.read(read).await }, &runtime);
        }
        let mut missing = Vec::new();
        while let Some(group) = groups.join_next().await {
            for (piece, bytes) in joined(group)?? {
                match bytes {
                    Some(bytes) => self.serve(found, &piece, bytes),
                    None => missing.push(piece),
                }
            }
        }
        Ok(missing)
    }

    /// Fetches what is missing, or waits for those who do. What has to be tried again.
    async fn fetch(
        &self,
        reading: &mut Reading<'_>,
        missing: Vec<Piece>,
        found: &mut Found,
        landings: u64,
    ) -> std::result::Result<Vec<Piece>, Stopped> {
        let shared = &self.blocks.shared;
        let parker = Arc::new(Parker::default());
        let cancel = reading.options.cancel.as_ref();
        let _wakes = cancel.map(|cancel| cancel.wakes(&parker));
        let numbers: Vec<_> = missing.iter().map(|piece| piece.number).collect();
        let boarded = shared.board(reading, &numbers, &parker, landings);
        let mut again = Vec::new();
        for (piece, boarded) in missing.into_iter().zip(boarded) {
            match boarded.landed_for_task(cancel).await {
                Some(Landing::Good(block)) => {
                    found.set(&piece, block.slice(piece.of_block.clone()))
                }
                Some(Landing::Failed(error)) => return Err(Stopped::Error(error)),
                Some(Landing::Changed) => return Err(Stopped::Changed),
                Some(Landing::Lost) if !cancel.is_some_and(Cancel::is_cancelled) => {
                    again.push(piece)
                }
                Some(Landing::Lost) | None => return Err(shared.was_cancelled()),
            }
        }
        Ok(again)
    }
}

/// What files or slots are waited for; `None` when cancelled before.
pub(super) async fn unless_cancelled<T>(
    options: &ReadOptions,
    call: impl Future<Output = T>,
) -> Option<T> {
    let Some(cancel) = &options.cancel else {
        return Some(call.await);
    };
    let parker = Arc::new(Parker::default());
    let _wakes = cancel.wakes(&parker);
    let mut call = pin!(call);
    poll_fn(|task| {
        // Before the look: who cancels after it wakes.
        parker.wakes(task.waker());
        if cancel.is_cancelled() {
            return Poll::Ready(None);
        }
        call.as_mut().poll(task).map(Some)
    })
    .await
}
