//! Files of an HTTP server as the objects of an [`Origin`]: their version is the `ETag`.

use std::ops::Range;
use std::sync::atomic::Ordering;

use perennial::blocks::{Head, Opened, Origin, OriginError, OriginResult, ReadOptions, Version};

use crate::http::{Answer, Client, HttpError};

const OK: u16 = 200;
const PARTIAL: u16 = 206;
const PRECONDITION_FAILED: u16 = 412;
const NO_SUCH_RANGE: u16 = 416;

/// Objects are paths.
pub(crate) struct HttpOrigin {
    client: Client,
}

impl HttpOrigin {
    /// The server at this host and port.
    pub(crate) fn new(authority: &str) -> Self {
        Self {
            client: Client::new(authority),
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.client.requests.load(Ordering::Relaxed)
    }

    /// Requests that were sent, and bytes that came, since the last call.
    pub(crate) fn take_counts(&self) -> (u64, u64) {
        let requests = self.client.requests.swap(0, Ordering::Relaxed);
        (requests, self.client.bytes.swap(0, Ordering::Relaxed))
    }

    /// `GET` of a range that is not empty.
    fn get(&self, object: &str, range: &Range<u64>, more: &str) -> Result<Answer, HttpError> {
        let (first, last) = (range.start, range.end - 1);
        let headers = format!("Range: bytes={first}-{last}\r\n{more}");
        self.client.ask("GET", object, &headers)
    }
}

impl Origin for HttpOrigin {
    fn identity(&self) -> String {
        format!("http://{}", self.client.authority)
    }

    fn version(&self, object: &str) -> OriginResult<Version> {
        Ok(self.head(object)?.version)
    }

    fn len(&self, object: &str) -> OriginResult<u64> {
        Ok(self.head(object)?.len)
    }

    /// Both in one answer.
    fn head(&self, object: &str) -> OriginResult<Head> {
        let answer = self.client.ask("HEAD", object, "")?;
        if answer.status != OK {
            return Err(HttpError::Status(answer.status).into());
        }
        let head = Head::new(version(&answer)?, answer.len()?);
        self.client.read_body(answer, &mut [])?;
        Ok(head)
    }

    /// The answer to a `GET` has the `ETag`, and the length of the whole: with the bytes it is all that can be asked.
    fn open_at(&self, object: &str, range: Range<u64>, _: &ReadOptions) -> OriginResult<Opened> {
        if range.is_empty() {
            return Ok(self.head(object)?.into());
        }
        let answer = self.get(object, &range, "")?;
        if answer.status != PARTIAL {
            // The file may be empty, or end before the range. Where there is no file, or no ranges, the next answer says so.
            return Ok(self.head(object)?.into());
        }
        let part = Part::of(&answer, &range)?;
        let head = Head::new(version(&answer)?, part.whole_bytes);
        let mut bytes = vec![0; part.bytes];
        self.client.read_body(answer, &mut bytes)?;
        Ok(Opened::new(head, range.start, bytes))
    }

    /// It asks with `If-Match`, and does not take the server's word for it.
    fn checks_version(&self) -> bool {
        true
    }

    fn read_at(
        &self,
        object: &str,
        asked: &Version,
        offset: u64,
        buf: &mut [u8],
        _: &ReadOptions,
    ) -> OriginResult<usize> {
        let range = offset..offset + buf.len() as u64;
        let if_match = String::from_utf8_lossy(asked.as_bytes());
        let answer = self.get(object, &range, &format!("If-Match: {if_match}\r\n"))?;
        match answer.status {
            PARTIAL => {}
            OK => return Err(HttpError::NoRanges.into()),
            // Another version, or a file that ends before the range, which this version did not.
            PRECONDITION_FAILED | NO_SUCH_RANGE => return Err(OriginError::Changed),
            status => return Err(HttpError::Status(status).into()),
        }
        if version(&answer)? != *asked {
            return Err(OriginError::Changed);
        }
        let part = Part::of(&answer, &range)?;
        self.client.read_body(answer, &mut buf[..part.bytes])?;
        Ok(part.bytes)
    }
}

/// A weak `ETag` promises no equal bytes, so it is none.
fn version(answer: &Answer) -> Result<Version, HttpError> {
    let etag = answer.header("etag").filter(|etag| etag.starts_with('"'));
    etag.map(Version::from).ok_or(HttpError::NoVersion)
}

/// What a 206 has: the bytes that were asked for, or the first of them.
struct Part {
    bytes: usize,
    /// Of the file.
    whole_bytes: u64,
}

impl Part {
    fn of(answer: &Answer, asked: &Range<u64>) -> Result<Self, HttpError> {
        let found = answer.header("content-range").and_then(content_range);
        let (range, whole_bytes) = found.ok_or(HttpError::Malformed("of which range is it?"))?;
        if range.start != asked.start || range.end > asked.end {
            return Err(HttpError::Malformed("it is of another range"));
        }
        let bytes = range.end - range.start;
        if answer.len()? != bytes {
            return Err(HttpError::Malformed("it is not as long as its range"));
        }
        let bytes = usize::try_from(bytes).map_err(|_| HttpError::Malformed("it is too long"))?;
        Ok(Self { bytes, whole_bytes })
    }
}

/// `bytes first-last/whole`
fn content_range(value: &str) -> Option<(Range<u64>, u64)> {
    let (range, whole) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let whole = whole.parse().ok()?;
    (first <= last && last < whole).then_some((first..last + 1, whole))
}
