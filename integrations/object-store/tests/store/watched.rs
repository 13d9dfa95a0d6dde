//! A store that counts what is asked of it, and misbehaves as it is told.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use futures_util::stream::BoxStream;

use crate::object_store::memory::InMemory;
use crate::object_store::path::Path;
use crate::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What versions are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Names {
    /// By e_tags of which none comes twice.
    #[default]
    Own,
    /// Not at all, and the clock stands still.
    None,
    /// By e_tags that are made of that clock and the size.
    OfSize,
}

/// Versions of one size cannot be told from each other.
pub(crate) const COARSE: [Names; 2] = [Names::None, Names::OfSize];

#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) inner: InMemory,
    heads: AtomicU64,
    gets: AtomicU64,
    refusal: Mutex<Option<fn() -> Error>>,
    names: Mutex<Names>,
    /// Puts are done, and never answered.
    pub(crate) stuck: AtomicBool,
    hold_next: AtomicBool,
    is_held: AtomicBool,
    /// It has no ranges.
    pub(crate) whole_only: AtomicBool,
}

impl Watched {
    /// Requests for heads and for bytes, since this was asked last.
    pub(crate) fn asked(&self) -> (u64, u64) {
        let since = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        (since(&self.heads), since(&self.gets))
    }

    /// From now on reads are refused with this; or not any more.
    pub(crate) fn refuse(&self, with: Option<fn() -> Error>) {
        *self.refusal.lock().unwrap() = with;
    }

    /// From now on versions are called so.
    pub(crate) fn name(&self, names: Names) {
        *self.names.lock().unwrap() = names;
    }

    /// The answer to the next read is as of its time, and is given when it is [`release`](Self::release)d.
    pub(crate) fn hold_next(&self) {
        self.hold_next.store(true, Ordering::Relaxed);
    }

    /// The read that is to be held has not come yet.
    pub(crate) fn will_hold(&self) -> bool {
        self.hold_next.load(Ordering::Relaxed)
    }

    pub(crate) fn is_held(&self) -> bool {
        self.is_held.load(Ordering::Relaxed)
    }

    pub(crate) fn release(&self) {
        self.is_held.store(false, Ordering::Relaxed);
    }

    fn e_tag(&self, own: Option<String>, size: u64) -> Option<String> {
        match *self.names.lock().unwrap() {
            Names::Own => own,
            Names::None => None,
            Names::OfSize => Some(format!("\"0-{size:x}\"")),
        }
    }

    async fn found(&self, location: &Path, asked: GetOptions) -> Result<GetResult> {
        if *self.names.lock().unwrap() == Names::Own {
            return self.inner.get_opts(location, asked).await;
        }
        let unconditional = GetOptions {
            range: asked.range.clone(),
            head: asked.head,
            ..GetOptions::default()
        };
        let mut found = self.inner.get_opts(location, unconditional).await?;
        found.meta.e_tag = self.e_tag(None, found.meta.size);
        found.meta.last_modified = DateTime::default();
        asked.check_preconditions(&found.meta)?;
        Ok(found)
    }
}

/// In the words of a client of S3 whose server has sent all there is.
fn no_ranges() -> Error {
    Error::Generic {
        store: "Watched",
        source: "Received non-partial response when range requested".into(),
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched")
    }
}

#[async_trait]
impl ObjectStore for Watched {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let size = payload.content_length() as u64;
        let mut put = self.inner.put_opts(location, payload, opts).await;
        if let Ok(put) = &mut put {
            put.e_tag = self.e_tag(put.e_tag.take(), size);
        }
        if self.stuck.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        put
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let count = if options.head {
            &self.heads
        } else {
            &self.gets
        };
        count.fetch_add(1, Ordering::Relaxed);
        let mut refusal = *self.refusal.lock().unwrap();
        if self.whole_only.load(Ordering::Relaxed) && options.range.is_some() {
            refusal = refusal.or(Some(no_ranges));
        }
        let answer = match refusal {
            Some(refusal) => Err(refusal()),
            None => self.found(location, options).await,
        };
        if self.hold_next.swap(false, Ordering::Relaxed) {
            self.is_held.store(true, Ordering::Relaxed);
            while self.is_held() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        answer
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
