//! The store below as the origin of blocks.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use perennial::blocks::{
    AsyncOrigin, Head, Opened, OriginError, OriginResult, ReadOptions, Version,
};

use super::errors::{generic, is_outage};
use super::known::{head_of, version_in};
use super::object_store::path::Path;
use super::object_store::{
    Attributes, Error, GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore, Result,
};
use crate::kinds::Kinds;
use crate::version::e_tag_of;

pub(super) struct StoreOrigin {
    pub(super) inner: Arc<dyn ObjectStore>,
    pub(super) identity: String,
    pub(super) kinds: Arc<Kinds>,
    pub(super) gets: Gets,
}

/// Whether a `GET` names the version where a `HEAD` does not, as far as it was seen.
#[derive(Default)]
pub(super) struct Gets {
    name_more: AtomicBool,
    name_no_more: AtomicBool,
}

impl Gets {
    fn saw(&self, found: &GetResult) {
        if !is_nameless(found) {
            self.name_more.store(true, Ordering::Relaxed);
        } else if !self.name_more.load(Ordering::Relaxed) {
            self.name_no_more.store(true, Ordering::Relaxed);
        }
    }

    /// A `GET` has told of another version than a `HEAD`, or an older `GET`: perhaps they name it differently after all.
    fn doubt(&self) {
        self.name_no_more.store(false, Ordering::Relaxed);
    }

    fn may_name_more(&self) -> bool {
        !self.name_no_more.load(Ordering::Relaxed)
    }
}

impl StoreOrigin {
    async fn get(&self, object: &str, options: GetOptions) -> Result<GetResult> {
        // The name is that of a path already: it is not to be encoded a second time.
        let location = Path::parse(object)?;
        self.inner.get_opts(&location, options).await
    }

    async fn ask(&self, object: &str) -> Result<Head> {
        let options = GetOptions {
            head: true,
            ..GetOptions::default()
        };
        let found = self.get(object, options).await?;
        let enough = !is_nameless(&found) || found.meta.size == 0;
        if enough || !self.gets.may_name_more() {
            return Ok(self.said(&found.meta, &found.attributes).await);
        }
        // Some servers, s3s-fs for one, send the e_tag with bytes alone: without it this would be another version than theirs.
        let found = self.get(object, within(0..1)).await?;
        self.gets.saw(&found);
        Ok(self.said(&found.meta, &found.attributes).await)
    }

    async fn said(&self, meta: &ObjectMeta, attributes: &Attributes) -> Head {
        let head = head_of(meta, attributes);
        // Of an empty object there is nothing to tell apart; and its head is not asked for with a byte.
        if meta.size > 0 {
            self.kinds.saw(&head.version).await;
        }
        head
    }

    /// A range that the object has not, or has not any more, is refused without a word about its version, by errors that differ from
    /// store to store. So the head is asked for; nothing where something else was refused, or where there is no head either.
    async fn behind(&self, object: &str, refused: &Error) -> Option<Head> {
        if !matches!(refused, Error::Generic { .. }) || is_outage(refused) {
            return None;
        }
        self.ask(object).await.ok()
    }
}

impl AsyncOrigin for StoreOrigin {
    fn identity(&self) -> String {
        self.identity.clone()
    }

    async fn head(&self, object: &str) -> OriginResult<Head> {
        Ok(self.ask(object).await?)
    }

    async fn open_at(
        &self,
        object: &str,
        range: Range<u64>,
        _: &ReadOptions,
    ) -> OriginResult<Opened> {
        match self.get(object, within(range)).await {
            Ok(found) => {
                self.kinds.saw_range();
                let head = self.said(&found.meta, &found.attributes).await;
                let offset = found.range.start;
                Ok(Opened::new(head, offset, all_of(found).await?))
            }
            // It begins behind the object's end, or the object is empty.
            Err(error) => match self.behind(object, &error).await {
                Some(head) => Ok(head.into()),
                None => Err(error.into()),
            },
        }
    }

    fn checks_version(&self) -> bool {
        true
    }

    async fn read_at(
        &self,
        object: &str,
        version: &Version,
        range: Range<u64>,
        _: &ReadOptions,
    ) -> OriginResult<Bytes> {
        // An earlier life may have been told of it.
        self.kinds.saw(version).await;
        let options = GetOptions {
            if_match: e_tag_of(version).map(String::from),
            ..within(range.clone())
        };
        let found = match self.get(object, options).await {
            Ok(found) => found,
            Err(Error::Precondition { .. }) => return Err(OriginError::Changed),
            Err(error) => {
                return match self.behind(object, &error).await {
                    Some(head) if head.version != *version => Err(OriginError::Changed),
                    _ => Err(error.into()),
                };
            }
        };
        self.kinds.saw_range();
        // Not every store looks at `If-Match`, and not every version is an e_tag.
        if version_in(&found.meta) != *version {
            self.gets.doubt();
            return Err(OriginError::Changed);
        }
        if found.range.start != range.start {
            let Range { start, .. } = found.range;
            let message = format!(
                "asked for bytes from {} on it gave those from {start}",
                range.start
            );
            return Err(generic(message).into());
        }
        Ok(all_of(found).await?)
    }
}

fn is_nameless(found: &GetResult) -> bool {
    found.meta.e_tag.is_none() && found.meta.version.is_none()
}

fn within(range: Range<u64>) -> GetOptions {
    GetOptions {
        range: Some(GetRange::Bounded(range)),
        ..GetOptions::default()
    }
}

/// The body, which is no longer than its range.
async fn all_of(found: GetResult) -> Result<Bytes> {
    let expected = found.range.end.saturating_sub(found.range.start);
    let bytes = found.bytes().await?;
    if bytes.len() as u64 > expected {
        let message = format!("a body of {} bytes for a range of {expected}", bytes.len());
        return Err(generic(message));
    }
    Ok(bytes)
}
