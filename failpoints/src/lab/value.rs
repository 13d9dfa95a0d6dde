//! Values that say whose they are.
//!
//! ```text
//!  byte 0            8            16           24
//!      | operation  | length     | tag of key | bytes that follow from the tag ...
//! ```
//! Whatever a store shows, a look at it tells which operation wrote it under which key, and whether a byte is missing,
//! another key's or none of ours.

/// A number unique to an operation of a script; part of the value that it writes.
pub type Op = u64;

/// The least bytes of a value.
pub const VALUE_BYTES_MIN: usize = 24;

/// The value that operation `op` writes under `key`: `len` bytes, but at least [`VALUE_BYTES_MIN`].
#[must_use]
pub fn value(key: &[u8], op: Op, len: usize) -> Vec<u8> {
    let len = len.max(VALUE_BYTES_MIN);
    let tag = tag(key, op);
    let mut bytes = Vec::with_capacity(len + 8);
    for word in [op, len as u64, tag] {
        bytes.extend(word.to_le_bytes());
    }
    let mut state = tag;
    while bytes.len() < len {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((state ^ state >> 32).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Which operation wrote `found` under `key`.
///
/// # Errors
/// What is wrong with it, when none can have.
pub fn identify(key: &[u8], found: &[u8]) -> Result<Op, String> {
    let word = |at: usize| Some(u64::from_le_bytes(*found.get(at..)?.first_chunk()?));
    let (Some(op), Some(len)) = (word(0), word(8)) else {
        return Err(format!("torn: {} bytes", found.len()));
    };
    if len != found.len() as u64 {
        return Err(format!("torn: {} bytes, says {len}", found.len()));
    }
    if value(key, op, found.len()) == found {
        Ok(op)
    } else {
        Err(format!("wrong bytes, said to be of operation {op}"))
    }
}

fn tag(key: &[u8], op: Op) -> u64 {
    key.iter().fold(op ^ 0x9e37_79b9_7f4a_7c15, |acc, byte| {
        (acc ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_tells_its_operation_and_nothing_else_passes_for_it() {
        for len in [0, 24, 25, 100] {
            let whole = value(b"key", 7, len);
            assert_eq!(identify(b"key", &whole), Ok(7));
            assert!(identify(b"kez", &whole).is_err(), "another key's");
            for cut in 0..whole.len() {
                assert!(identify(b"key", &whole[..cut]).is_err(), "cut at {cut}");
            }
            for bit in 0..whole.len() * 8 {
                let mut bad = whole.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(identify(b"key", &bad).is_err(), "bit {bit}");
            }
        }
    }
}
