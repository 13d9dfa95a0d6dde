//! What a child says to its parent: fixed-size messages, each one system call, so that threads never mix theirs and a
//! killed child leaves none in halves.
//!
//! ```text
//!  | kind u8 | thread u8 | key u16 | length of the value u32 | operation u64; 0 = the key is absent |
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use perennial_failpoints::lab::Op;

/// Bytes of a message; far below what a pipe takes in one piece.
const BYTES: usize = 16;

/// What a message says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of no key: the child has come to the point it was started for.
    Ready = 1,
    /// The child, just opened, found this.
    Found = 2,
    /// An operation begins. It may take effect from now on.
    Begun = 3,
    /// It returned.
    Returned = 4,
    /// It returned without having changed anything.
    Void = 5,
    /// It failed, and may have taken effect or not.
    Refused = 6,
}

/// A key belongs to one thread, so the order of its operations is the order of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) thread: u8,
    pub(crate) number: u16,
}

impl Key {
    /// The key's bytes; some are long.
    pub(crate) fn bytes(self) -> Vec<u8> {
        let long = if self.number % 8 == 7 { 200 } else { 0 };
        format!("{}/{}{}", self.thread, self.number, "k".repeat(long)).into_bytes()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) key: Key,
    /// The operation that makes the key's value; `None` = removed, or absent.
    pub(crate) op: Option<Op>,
    pub(crate) len: u32,
}

impl Message {
    pub(crate) fn new(kind: Kind, key: Key, op: Option<Op>, len: usize) -> Self {
        let len = u32::try_from(len).unwrap();
        Self { kind, key, op, len }
    }

    pub(crate) fn ready() -> Self {
        let key = Key {
            thread: 0,
            number: 0,
        };
        Self::new(Kind::Ready, key, None, 0)
    }

    fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[0] = self.kind as u8;
        bytes[1] = self.key.thread;
        bytes[2..4].copy_from_slice(&self.key.number.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..].copy_from_slice(&self.op.unwrap_or(0).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; BYTES]) -> Option<Self> {
        let kinds = [
            Kind::Ready,
            Kind::Found,
            Kind::Begun,
            Kind::Returned,
            Kind::Void,
            Kind::Refused,
        ];
        let op = u64::from_le_bytes(bytes[8..].try_into().unwrap());
        Some(Self {
            kind: kinds.into_iter().find(|kind| *kind as u8 == bytes[0])?,
            key: Key {
                thread: bytes[1],
                number: u16::from_le_bytes([bytes[2], bytes[3]]),
            },
            op: (op != 0).then_some(op),
            len: u32::from_le_bytes(bytes[4..8].try_into().unwrap()),
        })
    }

    /// The next message; `None` at the end of the pipe.
    pub(crate) fn read(from: &mut impl Read) -> Option<Self> {
        let mut bytes = [0; BYTES];
        from.read_exact(&mut bytes).ok()?;
        Self::decode(&bytes)
    }
}

/// The child's end.
#[derive(Debug)]
pub(crate) struct Pipe(File);

impl Pipe {
    /// This process's standard output, past its buffer.
    pub(crate) fn to_parent() -> Self {
        let fd = std::io::stdout().as_fd().try_clone_to_owned().unwrap();
        Self(File::from(fd))
    }

    pub(crate) fn say(&self, message: Message) {
        let written = (&self.0).write(&message.encode());
        // Nobody listens any more: the parent is gone.
        if written.ok() != Some(BYTES) {
            std::process::exit(3);
        }
    }
}
