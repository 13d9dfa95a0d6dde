//! Times as people write them: `90s`, `15m`, `12h`, `7d`.

use std::str::FromStr;
use std::time::Duration;

/// A whole number of a unit: `ms`, `s`, `m` (minutes), `h` or `d` (24 hours). More than nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SpanError {
    #[error("a time starts with a whole number, such as 15m")]
    Number,
    #[error("a time ends with its unit: ms, s, m, h or d")]
    Unit,
    #[error("the time is too long")]
    TooLong,
    #[error("the time must not be zero")]
    Zero,
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(end);
        if digits.is_empty() {
            return Err(SpanError::Number);
        }
        let number: u64 = digits.parse().map_err(|_| SpanError::TooLong)?;
        let known = UNITS.iter().find(|(name, _)| *name == unit.trim());
        let (_, unit_ms) = known.ok_or(SpanError::Unit)?;
        match number.checked_mul(*unit_ms).ok_or(SpanError::TooLong)? {
            0 => Err(SpanError::Zero),
            ms => Ok(Self(Duration::from_millis(ms))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_a_unit() {
        for (text, ms) in [
            ("1ms", 1),
            ("90s", 90_000),
            ("15 m", 900_000),
            ("12h", 43_200_000),
            (" 7d ", 604_800_000),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(ms))), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, error) in [
            ("", SpanError::Number),
            ("s", SpanError::Number),
            ("-1s", SpanError::Number),
            ("5", SpanError::Unit),
            ("5 weeks", SpanError::Unit),
            ("1.5h", SpanError::Unit),
            ("0s", SpanError::Zero),
            ("18446744073709551616s", SpanError::TooLong),
            ("213503982335d", SpanError::TooLong),
        ] {
            assert_eq!(text.parse::<Span>(), Err(error), "{text}");
        }
    }
}
