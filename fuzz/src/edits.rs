//! What a fuzzer does to a directory: edits of eight bytes, each with or without its crc made to fit.

use super::directories::{Directory, Kind, Structure};
use super::forge;
use super::input::Input;

const SECTOR: usize = 512;
/// Numbers at which calculations end.
const ODD: [u64; 16] = [
    0,
    1,
    15,
    16,
    511,
    8192,
    1 << 16,
    1 << 30,
    u32::MAX as u64,
    1 << 40,
    (1 << 58) - 16,
    1 << 58,
    1 << 62,
    1 << 63,
    u64::MAX - 15,
    u64::MAX,
];

/// How much of what was changed is made to prove itself again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Forged {
    /// Nothing: rot.
    Nothing,
    /// What says where entries are, but no entry.
    Metadata,
    /// Frames: their bytes are believed.
    Frames,
}

/// A directory after some edits. A file that is gone is `None`.
pub(crate) struct Edited<'a> {
    directory: &'a Directory,
    pub(crate) files: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) forged: Forged,
    /// Edits that changed something.
    pub(crate) faults: u32,
    /// Of these, such as changed more than a sector.
    pub(crate) large: u32,
    /// Of these, such as changed what says whose the tail is and what was complete in it.
    pub(crate) in_tail_head: u32,
}

impl<'a> Edited<'a> {
    pub(crate) fn new(directory: &'a Directory) -> Self {
        let files = directory.files.iter();
        Self {
            directory,
            files: files
                .map(|(name, content)| (name.clone(), Some(content.clone())))
                .collect(),
            forged: Forged::Nothing,
            faults: 0,
            large: 0,
            in_tail_head: 0,
        }
    }

    pub(crate) fn edit(&mut self, input: &mut Input<'_>) {
        let (how, file) = (input.u8(), usize::from(input.u8()));
        let (at, value) = (usize::from(input.u16()), input.u32());
        let file = file % self.directory.files.len();
        let before = self.files[file].clone();
        let copied = self.change(how % 8, file, at, value);
        if !copied && self.files[file] == before {
            return;
        }
        let (name, content) = &self.files[file];
        let whole = content.is_none() || how % 8 >= 5;
        self.faults += 1;
        self.large += u32::from(whole);
        let head = name.starts_with("tail-") && (whole || at % content_len(&before.1) < 4096);
        self.in_tail_head += u32::from(head);
        if how & 0x80 != 0 {
            self.forge(file, at, how & 0x40 != 0);
        }
    }

    /// True when another file was made, too.
    fn change(&mut self, how: u8, file: usize, at: usize, value: u32) -> bool {
        let other = usize::from(value.to_le_bytes()[3]) % self.directory.files.len();
        let (_, from) = &self.directory.files[other];
        let Some(content) = &mut self.files[file].1 else {
            return false;
        };
        let at = at % content.len().max(1);
        let sector = at / SECTOR * SECTOR;
        match how {
            0 => {
                if let Some(byte) = content.get_mut(at) {
                    *byte ^= value.to_le_bytes()[0];
                }
            }
            1 => overwrite(content, at, &value.to_le_bytes()),
            2 => {
                let [which, add, ..] = value.to_le_bytes();
                let number = ODD[usize::from(which % 16)].wrapping_add(u64::from(add % 4));
                overwrite(content, at / 4 * 4, &number.to_le_bytes());
            }
            3 if value.is_multiple_of(2) => overwrite(content, at / 16 * 16, &[0; 16]),
            3 => overwrite(content, sector, &[0; SECTOR]),
            4 => {
                let from_at = (value & 0xff_ffff) as usize * SECTOR % from.len().max(1);
                let bytes = &from[from_at..(from_at + SECTOR).min(from.len())];
                overwrite(content, sector, bytes);
            }
            5 if value.is_multiple_of(2) => content.truncate(at),
            5 => content.resize(content.len() + at, value.to_le_bytes()[1]),
            6 => self.files[file].1 = None,
            _ => {
                let name = format!("seg-{:06}", value % 16);
                let copy = content.clone();
                self.files.retain(|(found, _)| *found != name);
                self.files.push((name, Some(copy)));
                return true;
            }
        }
        false
    }

    /// Makes the crcs of the structure at `at` fit.
    fn forge(&mut self, file: usize, at: usize, body: bool) {
        let Some((_, Some(content))) = self.files.get_mut(file) else {
            return;
        };
        let at = at % content.len().max(1);
        let holds = |s: &&Structure| s.file == file && s.at.contains(&at);
        for structure in self.directory.structures.iter().filter(holds) {
            let Some(bytes) = content.get_mut(structure.at.clone()) else {
                continue;
            };
            let forged = match structure.kind {
                Kind::Frame { seed, offset } => {
                    if body {
                        forge::frame_body(bytes);
                    }
                    forge::frame_header(bytes, seed, offset);
                    Forged::Frames
                }
                Kind::HeaderCopy => {
                    forge::header_copy(bytes);
                    Forged::Metadata
                }
                Kind::Trailer => {
                    forge::trailer(bytes);
                    Forged::Metadata
                }
                Kind::IdentityCopy => {
                    forge::codec_in_place(&mut bytes[16..]);
                    Forged::Metadata
                }
                Kind::TailIdentity => {
                    forge::tail_identity(bytes);
                    Forged::Metadata
                }
                Kind::StableWord => {
                    forge::stable_word(bytes);
                    Forged::Metadata
                }
            };
            self.forged = self.forged.max(forged);
        }
    }
}

fn content_len(content: &Option<Vec<u8>>) -> usize {
    content.as_ref().map_or(0, Vec::len).max(1)
}

fn overwrite(content: &mut [u8], at: usize, bytes: &[u8]) {
    let end = (at + bytes.len()).min(content.len());
    if at < end {
        content[at..end].copy_from_slice(&bytes[..end - at]);
    }
}
