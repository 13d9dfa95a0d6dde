//! What a store says of an object besides its name, its size and its bytes: remembered with the version.
//!
//! ```text
//!  bytes   what
//!  1       form: 1
//!  8       last modified, seconds since 1970   ┐
//!  4       and nanoseconds                     │ little-endian
//!  text?   e_tag                               │  text?: 0, or 1 and a text
//!  text?   the store's name of the version     │  text: 4 bytes of length, so many bytes of UTF-8
//!  4       n                                   ┘
//!  n times 1 kind, text key, text value        attributes, in order
//! ```

use chrono::{DateTime, Utc};

const FORM: u8 = 1;

/// What a store says of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct About {
    pub(crate) last_modified: DateTime<Utc>,
    pub(crate) e_tag: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) attributes: Vec<Attribute>,
}

/// An attribute, in the terms of no version of object_store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attribute {
    pub(crate) kind: u8,
    /// Of a kind that has keys.
    pub(crate) key: String,
    pub(crate) value: String,
}

impl About {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        bytes.extend(self.last_modified.timestamp().to_le_bytes());
        bytes.extend(self.last_modified.timestamp_subsec_nanos().to_le_bytes());
        put_maybe(&mut bytes, self.e_tag.as_deref());
        put_maybe(&mut bytes, self.version.as_deref());
        put_len(&mut bytes, self.attributes.len());
        for Attribute { kind, key, value } in &self.attributes {
            bytes.push(*kind);
            put_text(&mut bytes, key);
            put_text(&mut bytes, value);
        }
        bytes
    }

    /// Nothing where it was written in another form: then nothing is known of the object.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = Rest(bytes);
        if rest.take::<1>()? != [FORM] {
            return None;
        }
        let seconds = i64::from_le_bytes(rest.take()?);
        let nanos = u32::from_le_bytes(rest.take()?);
        let about = Self {
            last_modified: DateTime::from_timestamp(seconds, nanos)?,
            e_tag: rest.maybe()?,
            version: rest.maybe()?,
            attributes: rest.attributes()?,
        };
        rest.0.is_empty().then_some(about)
    }
}

fn put_len(bytes: &mut Vec<u8>, len: usize) {
    bytes.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_len(bytes, text.len());
    bytes.extend(text.as_bytes());
}

fn put_maybe(bytes: &mut Vec<u8>, text: Option<&str>) {
    bytes.push(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(bytes, text);
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take()?)).ok()
    }

    fn text(&mut self) -> Option<String> {
        let len = self.number()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    fn maybe(&mut self) -> Option<Option<String>> {
        match self.take::<1>()? {
            [0] => Some(None),
            [1] => self.text().map(Some),
            [_] => None,
        }
    }

    fn attributes(&mut self) -> Option<Vec<Attribute>> {
        let attributes = self.number()?;
        // No room is set aside for so many: the number may be nonsense.
        let mut read = Vec::new();
        for _ in 0..attributes {
            let [kind] = self.take::<1>()?;
            read.push(Attribute {
                kind,
                key: self.text()?,
                value: self.text()?,
            });
        }
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u8, key: &str, value: &str) -> Attribute {
        Attribute {
            kind,
            key: key.into(),
            value: value.into(),
        }
    }

    fn examples() -> Vec<About> {
        let full = About {
            last_modified: DateTime::from_timestamp(-5, 999_999_999).unwrap_or_default(),
            e_tag: Some("\"é\"".into()),
            version: Some(String::new()),
            attributes: vec![attribute(4, "", "text/plain"), attribute(7, "key", "")],
        };
        vec![About::default(), full]
    }

    #[test]
    fn what_was_written_is_read() {
        for about in examples() {
            assert_eq!(About::decode(&about.encode()), Some(about));
        }
    }

    #[test]
    fn no_prefix_and_nothing_longer_is_read() {
        for about in examples() {
            let mut bytes = about.encode();
            for end in 0..bytes.len() {
                assert_eq!(About::decode(&bytes[..end]), None, "{end}");
            }
            bytes.push(0);
            assert_eq!(About::decode(&bytes), None);
        }
    }

    #[test]
    fn a_flipped_bit_is_never_the_same() {
        for about in examples() {
            let bytes = about.encode();
            for bit in 0..bytes.len() * 8 {
                let mut other = bytes.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(About::decode(&other).as_ref(), Some(&about), "bit {bit}");
            }
        }
    }

    #[test]
    fn the_form_is_as_documented() {
        let about = About {
            last_modified: DateTime::from_timestamp(258, 3).unwrap_or_default(),
            e_tag: Some("ab".into()),
            version: None,
            attributes: vec![attribute(7, "k", "v")],
        };
        let mut expected = vec![1, 2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0];
        expected.extend(b"\x01\x02\0\0\0ab\0");
        expected.extend(b"\x01\0\0\0\x07\x01\0\0\0k\x01\0\0\0v");
        assert_eq!(about.encode(), expected);
    }
}
