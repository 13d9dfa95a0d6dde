//! Sizes as people write them: `4096`, `64KiB`, `8 GiB`.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// A number of bytes. Units are powers of 1024; `M`, `MiB` and `mib` are one unit, `MB` is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ByteSize(pub(crate) u64);

const UNITS: [(&str, u32); 4] = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SizeError {
    #[error("a size starts with a whole number, such as 64MiB")]
    Number,
    #[error("a size is a whole number of a unit, such as 1536MiB for 1.5 GiB")]
    Whole,
    #[error("the units are KiB, MiB, GiB and TiB")]
    Unit,
    #[error("the size is 2^64 bytes or more")]
    TooLarge,
    #[error("the size must not be zero")]
    Zero,
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        if digits.is_empty() {
            return Err(SizeError::Number);
        }
        if unit.starts_with(['.', ',']) {
            return Err(SizeError::Whole);
        }
        let number: u64 = digits.parse().map_err(|_| SizeError::TooLarge)?;
        let scaled = number.checked_mul(1 << shift_of(unit.trim())?);
        match scaled.ok_or(SizeError::TooLarge)? {
            0 => Err(SizeError::Zero),
            bytes => Ok(Self(bytes)),
        }
    }
}

fn shift_of(unit: &str) -> Result<u32, SizeError> {
    if unit.is_empty() || unit.eq_ignore_ascii_case("B") {
        return Ok(0);
    }
    UNITS
        .iter()
        .find(|(letter, _)| {
            unit.eq_ignore_ascii_case(letter) || unit.eq_ignore_ascii_case(&format!("{letter}iB"))
        })
        .map(|&(_, shift)| shift)
        .ok_or(SizeError::Unit)
}

impl TryFrom<String> for ByteSize {
    type Error = SizeError;

    fn try_from(text: String) -> Result<Self, SizeError> {
        text.parse()
    }
}

impl ByteSize {
    /// The largest unit that it is a whole number of: to be read again without loss.
    pub(crate) fn exact(self) -> String {
        UNITS
            .iter()
            .find(|(_, shift)| self.0 > 0 && self.0.trailing_zeros() >= *shift)
            .map_or_else(
                || self.0.to_string(),
                |(letter, shift)| format!("{}{letter}iB", self.0 >> shift),
            )
    }
}

impl ByteSize {
    /// The exact form in a sentence, where a number alone is no size.
    pub(crate) fn said(self) -> String {
        let exact = self.exact();
        if exact.ends_with('B') {
            exact
        } else {
            exact + " bytes"
        }
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that leaves one digit before the point, with one digit behind it unless that is zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((letter, shift)) = UNITS.iter().find(|(_, shift)| self.0 >> shift > 0) else {
            return write!(f, "{} B", self.0);
        };
        let whole = self.0 >> shift;
        let tenth = ((self.0 - (whole << shift)) >> (shift - 10)) * 10 / 1024;
        if tenth == 0 {
            write!(f, "{whole} {letter}iB")
        } else {
            write!(f, "{whole}.{tenth} {letter}iB")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_and_without_a_unit() {
        for (text, bytes) in [
            ("1", 1),
            ("4096", 4096),
            ("7B", 7),
            ("64KiB", 64 << 10),
            ("8 MiB", 8 << 20),
            ("8mib", 8 << 20),
            ("2G", 2 << 30),
            (" 1TiB ", 1 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, error) in [
            ("", SizeError::Number),
            ("MiB", SizeError::Number),
            ("-1", SizeError::Number),
            ("1.5GiB", SizeError::Whole),
            ("1,5GiB", SizeError::Whole),
            ("1MB", SizeError::Unit),
            ("1 parsec", SizeError::Unit),
            ("0", SizeError::Zero),
            ("0KiB", SizeError::Zero),
            ("18446744073709551616", SizeError::TooLarge),
            ("16777216TiB", SizeError::TooLarge),
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(error), "{text}");
        }
    }

    #[test]
    fn shown_in_the_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            ((2 << 30) - 1, "1.9 GiB"),
            (512 << 20, "512 MiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn the_exact_form_is_read_again() {
        for (bytes, text) in [
            (1, "1"),
            (1025, "1025"),
            (1536, "1536"),
            (3 << 9, "1536"),
            (3 << 20, "3MiB"),
            (1 << 40, "1TiB"),
            (u64::MAX, "18446744073709551615"),
        ] {
            assert_eq!(ByteSize(bytes).exact(), text);
            assert_eq!(text.parse(), Ok(ByteSize(bytes)));
        }
    }
}
