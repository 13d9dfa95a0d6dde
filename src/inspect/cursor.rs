//! A frame's bytes, taken field by field.

use perennial_wal::to_usize;

/// Some bytes of a frame that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameField {
    /// Where they are in the segment's file.
    pub offset: u64,
    /// What `docs/format.md` calls them.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// What they say; empty where that is nothing more than the bytes.
    pub meaning: String,
    /// They are of a caller's key or value, or may be: nobody writes what no field needs.
    pub is_content: bool,
}

/// Takes fields from the front of a frame.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// No field goes beyond.
    end: usize,
    /// Where the frame begins in the file.
    begin: u64,
    fields: Vec<FrameField>,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8], begin: u64) -> Self {
        Self {
            bytes,
            at: 0,
            end: bytes.len(),
            begin,
            fields: Vec::new(),
        }
    }

    pub(super) fn into_fields(self) -> Vec<FrameField> {
        self.fields
    }

    /// Fields end here from now on: so many bytes from the frame's begin, or where the frame does.
    pub(super) fn end_at(&mut self, end: usize) {
        self.end = end.clamp(self.at, self.bytes.len());
    }

    /// How many bytes were not taken yet.
    pub(super) const fn left(&self) -> usize {
        self.end - self.at
    }

    /// So many of those, or all.
    pub(super) fn ahead(&self, bytes: usize) -> &'a [u8] {
        &self.bytes[self.at..][..bytes.min(self.left())]
    }

    /// So many bytes, or those that are left; no field where none is.
    fn take(&mut self, name: &str, bytes: usize, is_content: bool) -> &'a [u8] {
        let taken = self.ahead(bytes);
        if !taken.is_empty() {
            self.fields.push(FrameField {
                offset: self.begin + self.at as u64,
                name: name.to_owned(),
                bytes: taken.to_vec(),
                meaning: String::new(),
                is_content,
            });
        }
        self.at += taken.len();
        taken
    }

    /// What the field that was taken last means.
    fn mean(&mut self, meaning: String) {
        if let Some(last) = self.fields.last_mut() {
            last.meaning = meaning;
        }
    }

    /// Bytes that are no number: of a key, of a value, or of nothing.
    pub(super) fn content(&mut self, name: &str, bytes: usize, meaning: &str) {
        if !self.take(name, bytes, true).is_empty() {
            self.mean(meaning.to_owned());
        }
    }

    /// A number of so many bytes, at most eight, and what it means; 0 where the bytes are not there.
    pub(super) fn number(
        &mut self,
        name: &str,
        bytes: usize,
        meaning: impl FnOnce(u64) -> String,
    ) -> u64 {
        let taken = self.take(name, bytes, false);
        if taken.len() < bytes {
            if !taken.is_empty() {
                self.mean("cut short".to_owned());
            }
            return 0;
        }
        let mut word = [0; 8];
        word[..bytes].copy_from_slice(taken);
        let number = u64::from_le_bytes(word);
        self.mean(meaning(number));
        number
    }

    /// A number that says nothing but itself.
    pub(super) fn count(&mut self, name: &str, bytes: usize) -> u64 {
        self.number(name, bytes, |number| number.to_string())
    }

    /// How many items of so many bytes follow; no more than there is room for.
    pub(super) fn length(&mut self, name: &str, item_bytes: usize) -> usize {
        let length = self.count(name, 8);
        to_usize(length.min((self.left() / item_bytes) as u64))
    }

    /// A position in the log.
    pub(super) fn position(&mut self, name: &str) -> u64 {
        self.number(name, 8, |at| format!("position {at:#x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_follow_each_other_and_end_where_the_bytes_do() {
        let bytes: Vec<u8> = (1..=11).collect();
        let mut cursor = Cursor::new(&bytes, 4096);
        assert_eq!(cursor.count("one", 2), 0x0201);
        assert_eq!(cursor.position("two"), 0x0a09_0807_0605_0403);
        assert_eq!(cursor.count("three", 4), 0);
        cursor.content("four", cursor.left(), "");
        let fields = cursor.into_fields();
        let shape: Vec<_> = fields
            .iter()
            .map(|field| (field.offset, field.bytes.len(), field.meaning.as_str()))
            .collect();
        let expected = [
            (4096, 2, "513"),
            (4098, 8, "position 0xa09080706050403"),
            (4106, 1, "cut short"),
        ];
        assert_eq!(shape, expected);
    }

    #[test]
    fn no_field_goes_beyond_an_end() {
        let bytes = [9; 40];
        let mut cursor = Cursor::new(&bytes, 0);
        cursor.end_at(20);
        // So many items are not there.
        assert_eq!(cursor.length("items", 4), 3);
        cursor.content("one", cursor.left(), "");
        cursor.end_at(64);
        cursor.content("two", 100, "");
        let fields = cursor.into_fields();
        let lengths: Vec<_> = fields.iter().map(|field| field.bytes.len()).collect();
        assert_eq!(lengths, [8, 12, 20]);
    }
}
