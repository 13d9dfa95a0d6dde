//! One frame, a line or more for each of its fields.

use std::fmt;

use perennial::{FrameField, ShownFrame};
use serde::Serialize;

/// Bytes in a line.
const LINE: usize = 16;
/// As many lines of a field are shown to people; programs get all of it.
const LINES: usize = 16;

#[derive(Debug, Serialize)]
pub(super) struct Explained {
    segment: u64,
    file: String,
    offset: u64,
    position: u64,
    in_tail: bool,
    header_is_good: bool,
    body_is_good: Option<bool>,
    fields: Vec<Field>,
}

#[derive(Debug, Serialize)]
struct Field {
    offset: u64,
    bytes: usize,
    name: String,
    /// `None`: of a key or value, and nobody asked for it.
    hex: Option<String>,
    meaning: String,
}

impl Explained {
    pub(super) fn of(shown: ShownFrame, content: bool) -> Self {
        let fields = shown.fields.into_iter();
        Self {
            segment: shown.number,
            file: shown.file,
            offset: shown.offset,
            position: shown.position,
            in_tail: shown.in_tail,
            header_is_good: shown.header_is_good,
            body_is_good: shown.body_is_good,
            fields: fields.map(|field| Field::of(field, content)).collect(),
        }
    }
}

impl Field {
    fn of(field: FrameField, content: bool) -> Self {
        let is_shown = content || !field.is_content;
        Self {
            offset: field.offset,
            bytes: field.bytes.len(),
            hex: is_shown.then(|| hex(&field.bytes)),
            name: field.name,
            meaning: field.meaning,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pairs of digits, as many lines as are shown.
fn lines(hex: &str) -> Vec<String> {
    let bytes: Vec<&str> = (0..hex.len() / 2).map(|at| &hex[2 * at..][..2]).collect();
    let mut lines: Vec<String> = bytes
        .chunks(LINE)
        .take(LINES)
        .map(|line| line.join(" "))
        .collect();
    let left = bytes.len().saturating_sub(LINE * LINES);
    if left > 0 {
        lines.push(format!("and {left} bytes more"));
    }
    lines
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let good = |good| if good { "good" } else { "bad" };
        write!(
            f,
            "segment {}, {}, offset {} ({:#x}), position {:#x}: header {}",
            self.segment,
            self.file,
            self.offset,
            self.offset,
            self.position,
            good(self.header_is_good)
        )?;
        if let Some(body) = self.body_is_good {
            write!(f, ", body {}", good(body))?;
        }
        if self.in_tail {
            f.write_str("; as the tail has it")?;
        }
        self.fields
            .iter()
            .try_for_each(|field| write!(f, "{field}"))
    }
}

/// Begins with a new line.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self
            .hex
            .as_deref()
            .map_or_else(|| vec!["not shown, see --content".to_owned()], lines);
        let mut lines = lines.iter();
        let first = lines.next().map_or("", String::as_str);
        let line = format!(
            "{:>10}  {:>8}  {:<24}  {first:<24}  {}",
            self.offset, self.bytes, self.name, self.meaning
        );
        write!(f, "\n{}", line.trim_end())?;
        lines.try_for_each(|line| write!(f, "\n{:>10}  {:>8}  {:<24}  {line}", "", "", ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_fields_are_cut_for_people() {
        let hex = hex(&[0xab; 300]);
        let lines = lines(&hex);
        assert_eq!(lines.len(), LINES + 1);
        assert_eq!(lines[0], ["ab"; 16].join(" "));
        assert_eq!(lines[LINES], "and 44 bytes more");
        assert_eq!(super::lines("0aff"), ["0a ff"]);
    }
}
