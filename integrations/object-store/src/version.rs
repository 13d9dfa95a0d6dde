//! What tells one content of an object from another.
//!
//! ```text
//!  e, the e_tag                                   if it is a strong one, and not made of the size
//!  v, the store's own name of the version         else
//!  t, seconds 8, nanoseconds 4, size 8,           else
//!     the e_tag, if there is one
//! ```
//! A weak e_tag (`W/"..."`) says that two contents serve equally well, not that they are the same bytes. One that has the size in it, in
//! hexadecimal between hyphens, is made of that and of a time, whatever it says of itself: `"mtime-size"` of nginx,
//! `"size-mtime"` of Apache, `"inode-mtime-size"` of the local files of object_store. Not so that of an upload in parts,
//! `"md5-parts"`: no time has the 32 digits of an MD5.

use perennial::blocks::Version;

use crate::about::About;

const E_TAG: u8 = b'e';
const ID: u8 = b'v';
const TIME: u8 = b't';
/// Of a version that is a time, before its e_tag.
const TIME_BYTES: usize = 1 + 8 + 4 + 8;
const MD5_DIGITS: usize = 32;

pub(crate) fn version_of(about: &About, size: u64) -> Version {
    let e_tag = about.e_tag.as_deref().unwrap_or_default();
    let names = is_strong(e_tag) && !is_made_of_size(e_tag, size);
    let mut bytes = Vec::new();
    match &about.version {
        _ if names => {
            bytes.push(E_TAG);
            bytes.extend(e_tag.as_bytes());
        }
        Some(id) if !id.is_empty() => {
            bytes.push(ID);
            bytes.extend(id.as_bytes());
        }
        _ => {
            bytes.push(TIME);
            bytes.extend(about.last_modified.timestamp().to_le_bytes());
            bytes.extend(about.last_modified.timestamp_subsec_nanos().to_le_bytes());
            bytes.extend(size.to_le_bytes());
            bytes.extend(e_tag.as_bytes());
        }
    }
    Version::from(bytes.as_slice())
}

fn is_strong(e_tag: &str) -> bool {
    !e_tag.is_empty() && !e_tag.starts_with("W/")
}

fn is_made_of_size(e_tag: &str, size: u64) -> bool {
    let e_tag = e_tag.trim_matches('"');
    let size = format!("{size:x}");
    e_tag.contains('-') && !is_of_parts(e_tag) && e_tag.split('-').any(|part| part == size)
}

fn is_of_parts(e_tag: &str) -> bool {
    e_tag.split_once('-').is_some_and(|(md5, parts)| {
        md5.len() == MD5_DIGITS
            && md5.bytes().all(|digit| digit.is_ascii_hexdigit())
            && parts.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// Two contents of one size may have the same.
pub(crate) fn is_time(version: &Version) -> bool {
    version.as_bytes().first() == Some(&TIME)
}

/// The e_tag that a version is, or that is a part of it, for `If-Match`; which has no use for a weak one.
pub(crate) fn e_tag_of(version: &Version) -> Option<&str> {
    let bytes = version.as_bytes();
    let e_tag = match *bytes.first()? {
        E_TAG => bytes.get(1..)?,
        TIME => bytes.get(TIME_BYTES..)?,
        _ => return None,
    };
    std::str::from_utf8(e_tag).ok().filter(|tag| is_strong(tag))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use chrono::DateTime;

    use super::*;

    #[test]
    fn different_contents_have_different_versions() {
        let texts = [
            None,
            Some(""),
            Some("a"),
            Some("W/\"a\""),
            Some("\"a\""),
            Some("ta"),
        ];
        let times = [(0, 0), (1, 0), (0, 1)];
        let mut seen = HashSet::new();
        for e_tag in texts {
            for (seconds, nanos) in times {
                for size in [0, 1] {
                    let about = About {
                        last_modified: DateTime::from_timestamp(seconds, nanos).unwrap_or_default(),
                        e_tag: e_tag.map(String::from),
                        ..About::default()
                    };
                    let version = version_of(&about, size);
                    let strong = e_tag.filter(|tag| !tag.is_empty() && !tag.starts_with('W'));
                    assert_eq!(e_tag_of(&version), strong);
                    seen.insert(version);
                }
            }
        }
        // Three strong ones, whatever else is said; none, and the weak one, at each time and of each size.
        assert_eq!(seen.len(), 3 + 2 * 3 * 2);
    }

    #[test]
    fn an_e_tag_that_is_made_of_the_size_is_a_time() {
        let about = |e_tag: &str, seconds| About {
            last_modified: DateTime::from_timestamp(seconds, 0).unwrap_or_default(),
            e_tag: Some(e_tag.into()),
            ..About::default()
        };
        for e_tag in ["\"5f0e-1f\"", "\"1f-5f0e\"", "\"77-5f0e-1f\"", "5f0e-1f"] {
            let version = version_of(&about(e_tag, 1), 31);
            assert_ne!(version, version_of(&about(e_tag, 2), 31), "{e_tag}");
            assert_eq!(e_tag_of(&version), Some(e_tag));
            assert!(is_time(&version), "{e_tag}");
        }
        let of_parts = "\"d41d8cd98f00b204e9800998ecf8427e-10\"";
        // The second has it in other digits, the third is of a counter.
        for (e_tag, size) in [
            ("\"5f0e-1f\"", 30),
            ("\"5f0e-31\"", 31),
            ("\"1f\"", 31),
            (of_parts, 16),
        ] {
            let version = version_of(&about(e_tag, 1), size);
            assert_eq!(version, version_of(&about(e_tag, 2), size), "{e_tag}");
            assert!(!is_time(&version), "{e_tag}");
            assert_eq!(e_tag_of(&version), Some(e_tag));
        }
    }

    #[test]
    fn the_stores_own_name_counts_where_there_is_no_strong_e_tag() {
        let about = |e_tag: Option<&str>, version: &str| About {
            e_tag: e_tag.map(String::from),
            version: Some(version.into()),
            ..About::default()
        };
        let weak = version_of(&about(Some("W/\"a\""), "1"), 5);
        assert_eq!(weak.as_bytes(), b"v1");
        assert_ne!(weak, version_of(&about(Some("W/\"a\""), "2"), 5));
        assert_eq!(
            version_of(&about(Some("\"a\""), "1"), 5).as_bytes(),
            b"e\"a\""
        );
        assert_eq!(version_of(&about(None, ""), 5).as_bytes().len(), TIME_BYTES);
    }
}
