//! What lies behind a frame's header, by the kind of the frame.

use perennial_recovery::{MOVED_BYTES, decode_part};
use perennial_wal::frame::{CHUNK_BYTES, FrameHeader, FrameKind, flags};
use perennial_wal::{ALIGN, to_usize};

use super::cursor::Cursor;

/// Takes the body of a frame whose header is good, and which ends where the cursor does. The body may be damaged: no length
/// that it says is believed.
pub(super) fn fields(cursor: &mut Cursor<'_>, header: &FrameHeader) {
    match header.kind {
        FrameKind::Put | FrameKind::Extent => entry(cursor, header),
        FrameKind::Ref => extent(cursor),
        FrameKind::Remove | FrameKind::Mark | FrameKind::Pad => {
            cursor.content("filler", cursor.left(), "may hold anything, under no crc");
        }
        FrameKind::Part => part(cursor),
        FrameKind::Head => head(cursor),
        FrameKind::Move => moves(cursor),
        FrameKind::Clear => clear(cursor),
    }
}

fn entry(cursor: &mut Cursor<'_>, header: &FrameHeader) {
    cursor.content("key", usize::from(header.key_bytes), "");
    let sums = chunk_table(cursor, header);
    if header.flags & flags::CODEC != 0 {
        compressed(cursor);
    } else if sums.is_empty() {
        cursor.content("value", cursor.left(), "");
    } else {
        chunks(cursor, &sums);
    }
}

fn chunk_table(cursor: &mut Cursor<'_>, header: &FrameHeader) -> Vec<u64> {
    let chunks = header.table_bytes() / 4;
    let sum = |chunk| cursor.number(&format!("crc of chunk {chunk}"), 4, |_| String::new());
    (0..chunks).map(sum).collect()
}

/// A value with a crc for each piece of it.
fn chunks(cursor: &mut Cursor<'_>, sums: &[u64]) {
    for (chunk, sum) in sums.iter().enumerate() {
        let bytes = to_usize(CHUNK_BYTES);
        let fits = u64::from(crc32fast::hash(cursor.ahead(bytes))) == *sum;
        let says = if fits {
            "its crc is good"
        } else {
            "its crc is bad"
        };
        cursor.content(&format!("value, chunk {chunk}"), bytes, says);
    }
}

/// A value as a codec left it. The crcs of a table before it are of pieces of these bytes, and not of these chunks.
fn compressed(cursor: &mut Cursor<'_>) {
    let value_bytes = cursor.count("bytes of the value", 4);
    let most = cursor.left() as u64 / 4;
    let lengths: Vec<u64> = (0..value_bytes.div_ceil(CHUNK_BYTES).min(most))
        .map(|chunk| cursor.count(&format!("stored bytes of chunk {chunk}"), 4))
        .collect();
    for (chunk, bytes) in lengths.into_iter().enumerate() {
        cursor.content(&format!("stored chunk {chunk}"), to_usize(bytes), "");
    }
}

fn extent(cursor: &mut Cursor<'_>) {
    cursor.position("extent");
    cursor.count("its header and body in bytes", 4);
    cursor.count("zero", 4);
}

/// Entries of the index. What is none is a piece of the policy's state, which is opaque.
fn part(cursor: &mut Cursor<'_>) {
    let Ok(part) = decode_part(cursor.ahead(cursor.left())) else {
        cursor.content("piece", cursor.left(), "of the eviction policy's state");
        return;
    };
    for name in ["format", "shard", "count", "zero"] {
        cursor.count(name, 4);
    }
    for entry in 0..part.count() {
        cursor.number(&format!("entry {entry}: identity"), 8, |_| String::new());
        cursor.number(&format!("entry {entry}: word"), 8, word);
    }
}

/// What a part says of an entry.
fn word(word: u64) -> String {
    const UNITS: u64 = (1 << 54) - 1;
    let kept = if word >> 63 != 0 { "kept, " } else { "" };
    let pinned = if word >> 54 & 1 != 0 { ", pinned" } else { "" };
    let (class, visited) = (word >> 57 & 63, word >> 55 & 3);
    let at = (word & UNITS) * ALIGN;
    format!("{kept}position {at:#x}, size class {class}, visited {visited}{pinned}")
}

fn head(cursor: &mut Cursor<'_>) {
    cursor.count("codec", 1);
    cursor.count("version", 1);
    cursor.count("payload bytes", 4);
    cursor.number("payload crc", 4, |_| String::new());
    cursor.count("generation", 8);
    cursor.position("C");
    cursor.position("E");
    cursor.count("entries", 8);
    cursor.count("identity bits", 1);
    cursor.number("oldest", 8, |number| format!("segment {number}"));
    cursor.number("time seen", 8, |s| format!("{s} seconds since 1970"));
    for (list, name) in [("parts", "part"), ("policy", "piece")] {
        for at in 0..cursor.length(list, PLACE_BYTES) {
            place(cursor, &format!("{name} {at}"));
        }
    }
    for at in 0..cursor.length("words", 8) {
        cursor.count(&format!("word {at}"), 8);
    }
    cursor.count("zero", 8);
}

/// What a head says of each part.
const PLACE_BYTES: usize = 20;

/// Where a part lies.
fn place(cursor: &mut Cursor<'_>, name: &str) {
    cursor.position(&format!("{name}: position"));
    cursor.count(&format!("{name}: bytes"), 4);
    cursor.number(&format!("{name}: shard"), 4, |shard| match shard {
        0xffff_ffff => "none".to_owned(),
        shard => shard.to_string(),
    });
    cursor.count(&format!("{name}: entries"), 4);
}

fn moves(cursor: &mut Cursor<'_>) {
    for entry in 0..cursor.left() / to_usize(MOVED_BYTES) {
        cursor.number(&format!("entry {entry}: hash"), 8, |_| String::new());
        cursor.number(&format!("entry {entry}: from"), 8, target);
        cursor.number(&format!("entry {entry}: to"), 8, target);
        cursor.count(&format!("entry {entry}: header and body in bytes"), 4);
    }
}

/// An address as trailers have it.
fn target(bits: u64) -> String {
    let kept = if bits >> 63 != 0 { "kept, " } else { "" };
    let at = (bits & !(1 << 63)) * ALIGN;
    format!("{kept}position {at:#x}")
}

fn clear(cursor: &mut Cursor<'_>) {
    let mut names = ["oldest", "from", "below"].into_iter();
    while cursor.left() >= 8 {
        let name = names.next().unwrap_or("kept");
        cursor.number(name, 8, |number| format!("segment {number}"));
    }
}
