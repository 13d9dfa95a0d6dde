//! What the cache remembers of an object, in the terms of object_store, and back.

use perennial::blocks::{Head, Version};

use super::errors::{Stopped, generic};
use super::object_store::path::Path;
use super::object_store::{Attribute, Attributes, ObjectMeta, PutResult};
use crate::about::{self, About};
use crate::kinds::Kinds;
use crate::version::version_of;

/// What is known of an object.
pub(super) struct Known {
    pub(super) head: Head,
    pub(super) meta: ObjectMeta,
    pub(super) attributes: Attributes,
}

impl Known {
    /// Nothing is known where it was remembered by another version of this crate.
    pub(super) fn of(location: &Path, head: Head) -> Result<Self, Stopped> {
        let read = About::decode(&head.about).and_then(|mut about| {
            let attributes = attributes_of(std::mem::take(&mut about.attributes))?;
            Some((about, attributes))
        });
        let Some((about, attributes)) = read else {
            let message = format!("what is remembered of {location} cannot be read");
            return Err(Stopped::Stale(generic(message)));
        };
        let meta = ObjectMeta {
            location: location.clone(),
            last_modified: about.last_modified,
            size: head.len,
            e_tag: about.e_tag,
            version: about.version,
        };
        Ok(Self {
            head,
            meta,
            attributes,
        })
    }
}

/// What is remembered of an object of which the store says this.
pub(super) fn head_of(meta: &ObjectMeta, attributes: &Attributes) -> Head {
    let about = about_of(meta, attributes);
    Head::new(version_of(&about, meta.size), meta.size).about(about.encode())
}

pub(super) fn version_in(meta: &ObjectMeta) -> Version {
    version_of(&about_of(meta, &Attributes::new()), meta.size)
}

/// What a write of so many bytes says of the versions that the store gives; nothing, if it says none.
pub(super) async fn learn(kinds: &Kinds, written: &PutResult, bytes: u64) {
    let about = About {
        e_tag: written.e_tag.clone(),
        version: written.version.clone(),
        ..About::default()
    };
    if about.e_tag.is_some() || about.version.is_some() {
        kinds.saw(&version_of(&about, bytes)).await;
    }
}

fn about_of(meta: &ObjectMeta, attributes: &Attributes) -> About {
    let said = attributes.iter().filter_map(|(attribute, value)| {
        let (kind, key) = kind_of(attribute)?;
        Some(about::Attribute {
            kind,
            key: key.into(),
            value: String::from(&**value),
        })
    });
    let mut attributes: Vec<_> = said.collect();
    // They come in any order: the same object is to give the same bytes.
    attributes.sort_unstable();
    About {
        last_modified: meta.last_modified,
        e_tag: meta.e_tag.clone(),
        version: meta.version.clone(),
        attributes,
    }
}

fn attributes_of(said: Vec<about::Attribute>) -> Option<Attributes> {
    let mut attributes = Attributes::with_capacity(said.len());
    for about::Attribute { kind, key, value } in said {
        attributes.insert(attribute_of(kind, key)?, value.into());
    }
    Some(attributes)
}

/// These numbers are on disk.
fn kind_of(attribute: &Attribute) -> Option<(u8, &str)> {
    Some(match attribute {
        Attribute::ContentDisposition => (1, ""),
        Attribute::ContentEncoding => (2, ""),
        Attribute::ContentLanguage => (3, ""),
        Attribute::ContentType => (4, ""),
        Attribute::CacheControl => (5, ""),
        Attribute::StorageClass => (6, ""),
        Attribute::Metadata(key) => (7, &**key),
        // A later object_store may have more: readers do without them, with or without the cache's help.
        _ => return None,
    })
}

fn attribute_of(kind: u8, key: String) -> Option<Attribute> {
    Some(match kind {
        1 => Attribute::ContentDisposition,
        2 => Attribute::ContentEncoding,
        3 => Attribute::ContentLanguage,
        4 => Attribute::ContentType,
        5 => Attribute::CacheControl,
        6 => Attribute::StorageClass,
        7 => Attribute::Metadata(key.into()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> ObjectMeta {
        ObjectMeta {
            location: Path::from("a/b"),
            last_modified: chrono::DateTime::from_timestamp(1_000, 5).unwrap_or_default(),
            size: 77,
            e_tag: Some("\"tag\"".into()),
            version: Some("3".into()),
        }
    }

    #[test]
    fn what_a_store_says_is_remembered_whole() {
        let attributes = Attributes::from_iter([
            (Attribute::ContentDisposition, "a"),
            (Attribute::ContentEncoding, "b"),
            (Attribute::ContentLanguage, "c"),
            (Attribute::ContentType, "d"),
            (Attribute::CacheControl, "e"),
            (Attribute::StorageClass, "f"),
            (Attribute::Metadata("key".into()), "g"),
            (Attribute::Metadata("other".into()), "h"),
        ]);
        let head = head_of(&meta(), &attributes);
        assert_eq!(head.version, version_in(&meta()));
        let known = Known::of(&Path::from("a/b"), head).ok();
        let known = known.map(|known| (known.meta, known.attributes));
        assert_eq!(known, Some((meta(), attributes)));
    }

    #[test]
    fn what_cannot_be_read_is_asked_for_again() {
        let head = head_of(&meta(), &Attributes::new());
        let mut unknown_kind = About::decode(&head.about).unwrap_or_default();
        unknown_kind.attributes.push(about::Attribute {
            kind: 8,
            key: String::new(),
            value: String::new(),
        });
        for about in [Vec::new(), b"what".to_vec(), unknown_kind.encode()] {
            let head = Head::new("v", 77).about(about);
            let known = Known::of(&Path::from("a/b"), head);
            assert!(matches!(known, Err(Stopped::Stale(_))));
        }
    }
}
