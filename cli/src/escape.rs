//! Bytes as a line of text, and back without loss.
//!
//! ```text
//!   printable, of whole UTF-8 characters    as it is          tile/7/ä
//!   \                                       \\
//!   new line, tab, carriage return          \n \t \r
//!   every other byte                        \x and two digits \xff\x00
//! ```

use std::fmt;

/// Shows bytes in that form.
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            chunk.valid().chars().try_for_each(|c| put_char(f, c))?;
            put_bytes(f, chunk.invalid())?;
        }
        Ok(())
    }
}

fn put_char(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '\\' => f.write_str("\\\\"),
        '\n' => f.write_str("\\n"),
        '\t' => f.write_str("\\t"),
        '\r' => f.write_str("\\r"),
        c if is_shown(c) => fmt::Write::write_char(f, c),
        c => put_bytes(f, c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Nothing that a terminal obeys, or that looks like nothing: what `Debug` would escape.
fn is_shown(c: char) -> bool {
    matches!(c, '\'' | '"') || c.escape_debug().len() == 1
}

fn put_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: behind a backslash comes \\, n, t, r, or x and two hexadecimal digits")]
pub(crate) struct EscapeError {
    at: usize,
}

/// The bytes that [`Escaped`] shows like this.
pub(crate) fn unescape(text: &[u8]) -> Result<Vec<u8>, EscapeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let len = if byte == b'\\' {
            let (byte, len) = escape_of(&text[at + 1..]).ok_or(EscapeError { at })?;
            bytes.push(byte);
            1 + len
        } else {
            bytes.push(byte);
            1
        };
        at += len;
    }
    Ok(bytes)
}

/// The byte that stands behind a backslash, and how long that is.
fn escape_of(rest: &[u8]) -> Option<(u8, usize)> {
    match rest {
        [b'\\', ..] => Some((b'\\', 1)),
        [b'n', ..] => Some((b'\n', 1)),
        [b't', ..] => Some((b'\t', 1)),
        [b'r', ..] => Some((b'\r', 1)),
        [b'x', high, low, ..] => Some((digit(*high)? << 4 | digit(*low)?, 3)),
        _ => None,
    }
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_stays() {
        for text in ["tile/7/3", "ä ß 日本", "it's \"so\"", ""] {
            assert_eq!(Escaped(text.as_bytes()).to_string(), text);
        }
    }

    #[test]
    fn what_cannot_is_escaped() {
        for (bytes, text) in [
            (&b"a\\b"[..], "a\\\\b"),
            (b"a\nb\tc\rd", "a\\nb\\tc\\rd"),
            (b"\x1b[31m\0", "\\x1b[31m\\x00"),
            (b"\xff\xc3", "\\xff\\xc3"),
            ("\u{200b}\u{85}".as_bytes(), "\\xe2\\x80\\x8b\\xc2\\x85"),
        ] {
            assert_eq!(Escaped(bytes).to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        for text in ["ab\\", "ab\\q", "ab\\x4", "ab\\xg0"] {
            assert_eq!(unescape(text.as_bytes()), Err(EscapeError { at: 2 }));
        }
    }

    #[test]
    fn any_bytes_come_back() {
        fn comes_back(bytes: Vec<u8>) -> bool {
            let text = Escaped(&bytes).to_string();
            let shown = text.chars().all(|c| c == '\\' || is_shown(c));
            shown && unescape(text.as_bytes()) == Ok(bytes)
        }
        quickcheck::quickcheck(comes_back as fn(Vec<u8>) -> bool);
    }
}
