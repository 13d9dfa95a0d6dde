//! Which bytes of a cache's files lie under a checksum: of caches of one life, with segments smaller than 1 MiB that no
//! earlier ones lay in. Read from `docs/format.md`, not by the code that is tested.

use std::ops::Range;

/// Bytes under one checksum, or the two copies of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Structure {
    pub(crate) bytes: Range<usize>,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Identity,
    Tail,
    Header,
    /// A frame of this kind, all that a crc covers.
    Frame(u8),
    Trailer,
}

impl What {
    /// Where damage costs the entry: what is behind the header of a Put or an Extent.
    pub(crate) fn is_value(self, byte: usize, structure: &Structure) -> bool {
        matches!(self, Self::Frame(1 | 5)) && byte >= structure.bytes.start + 32
    }
}

/// Those of a file that counts.
pub(crate) fn structures(name: &str, content: &[u8]) -> Vec<Structure> {
    let all = |parts: Vec<Range<usize>>, what| {
        let structure = |bytes| Structure { bytes, what };
        parts.into_iter().map(structure).collect()
    };
    if name == "identity" {
        let half = content.len() / 2;
        all(vec![0..half, half..content.len()], What::Identity)
    } else if name.starts_with("tail-") {
        let copies = vec![0..96, 2560..2656, 256..272, 2816..2832];
        all(copies, What::Tail)
    } else if name.starts_with("seg-") {
        let mut found: Vec<Structure> = all(vec![0..512, 512..1024], What::Header);
        found.extend(frames(content));
        found.extend(trailer(content));
        found
    } else {
        Vec::new()
    }
}

fn frames(content: &[u8]) -> Vec<Structure> {
    let word = |at: usize| u32::from_le_bytes(content[at..at + 4].try_into().unwrap());
    let (mut at, mut found) = (1024, Vec::new());
    let mut last = false;
    while !last && at + 32 < content.len() && word(at + 4) as usize == at / 16 {
        let (kind, flags) = (content[at + 8], content[at + 9]);
        let key = usize::from(content[at + 10]) + 256 * usize::from(content[at + 11]);
        let len = 32 + key + word(at + 12) as usize;
        // Filler of removes, marks and pads is under no crc.
        let covered = if matches!(kind, 3 | 4 | 8) { 32 } else { len };
        found.push(Structure {
            bytes: at..at + covered,
            what: What::Frame(kind),
        });
        last = kind == 4 && flags & 0x20 != 0;
        let clean = kind == 4 && flags & 0x40 != 0;
        at += len.next_multiple_of(if kind == 5 { 512 } else { 16 });
        if clean {
            at = at.next_multiple_of(512);
        }
    }
    found
}

fn trailer(content: &[u8]) -> Option<Structure> {
    let fixed = content.len().checked_sub(64)?;
    let rows = u32::from_le_bytes(content[fixed + 12..fixed + 16].try_into().unwrap()) as usize;
    content[fixed..].starts_with(b"PRNLTRL").then(|| Structure {
        bytes: fixed - 24 * rows..content.len(),
        what: What::Trailer,
    })
}
