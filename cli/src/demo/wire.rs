//! What the child tells its parent, over a pipe.
//!
//! ```text
//!  0     1        2         3    4      8          16         24
//!  | tag | action | durable | 0  | key  | number   | position |       little endian
//! ```
//! Every message is one `write` of fewer than `PIPE_BUF` bytes, so it arrives whole or not at all, whenever the
//! child is killed and however many of its threads write.

use std::io::{self, Read, Write};

use super::input::KeyId;
use super::script::{Action, Step};
use crate::failure::Failure;

const MESSAGE_BYTES: usize = 24;

/// A step with the number it got; later numbers are later operations of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Op {
    pub(super) number: u64,
    pub(super) step: Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// The cache is open.
    Opened,
    /// Said before the call: from here on the operation may have happened.
    Begin(Op),
    /// Said after the call returned: from here on it must have.
    Done(Op),
    /// The call returned, and the cache had chosen not to keep the entry.
    Rejected(Op),
    /// How many entries the cache has evicted in this life.
    Evicted(u64),
    /// The cache is closed.
    Closed,
}

pub(super) fn send(pipe: &mut impl Write, message: Message) -> io::Result<()> {
    pipe.write_all(&encode(message))
}

/// The next message; `None` when the child is gone.
pub(super) fn receive(pipe: &mut impl Read) -> Result<Option<Message>, Failure> {
    let mut bytes = [0; MESSAGE_BYTES];
    match pipe.read_exact(&mut bytes) {
        Ok(()) => decode(&bytes).map(Some).ok_or(Failure::Message(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(Failure::Pipe(error)),
    }
}

fn encode(message: Message) -> [u8; MESSAGE_BYTES] {
    let (tag, op, number) = match message {
        Message::Opened => (b'O', None, 0),
        Message::Begin(op) => (b'B', Some(op), op.number),
        Message::Done(op) => (b'D', Some(op), op.number),
        Message::Rejected(op) => (b'R', Some(op), op.number),
        Message::Evicted(entries) => (b'E', None, entries),
        Message::Closed => (b'C', None, 0),
    };
    let mut bytes = [0; MESSAGE_BYTES];
    bytes[0] = tag;
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    if let Some(Op { step, .. }) = op {
        bytes[1] = u8::from(step.action == Action::Remove);
        bytes[2] = u8::from(step.durable);
        bytes[4..8].copy_from_slice(&step.key.to_le_bytes());
        bytes[16..24].copy_from_slice(&step.position.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; MESSAGE_BYTES]) -> Option<Message> {
    let number = u64::from_le_bytes(*bytes[8..].first_chunk()?);
    let step = Step {
        key: KeyId::from_le_bytes(*bytes[4..].first_chunk()?),
        action: if bytes[1] == 0 {
            Action::Insert
        } else {
            Action::Remove
        },
        durable: bytes[2] != 0,
        position: u64::from_le_bytes(*bytes[16..].first_chunk()?),
    };
    let op = Op { number, step };
    Some(match bytes[0] {
        b'O' => Message::Opened,
        b'B' => Message::Begin(op),
        b'D' => Message::Done(op),
        b'R' => Message::Rejected(op),
        b'E' => Message::Evicted(number),
        b'C' => Message::Closed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages() -> Vec<Message> {
        let insert = Step {
            key: 7,
            action: Action::Insert,
            durable: false,
            position: 1 << 40,
        };
        let remove = Step {
            key: KeyId::MAX,
            action: Action::Remove,
            durable: true,
            position: 0,
        };
        let (first, last) = (
            Op {
                number: 0,
                step: insert,
            },
            Op {
                number: u64::MAX,
                step: remove,
            },
        );
        vec![
            Message::Opened,
            Message::Begin(first),
            Message::Done(first),
            Message::Begin(last),
            Message::Rejected(last),
            Message::Evicted(3),
            Message::Closed,
        ]
    }

    #[test]
    fn what_is_sent_is_received() {
        let mut pipe = Vec::new();
        for message in messages() {
            send(&mut pipe, message).unwrap();
        }
        let mut pipe = pipe.as_slice();
        let heard: Vec<_> = std::iter::from_fn(|| receive(&mut pipe).unwrap()).collect();
        assert_eq!(heard, messages());
    }

    #[test]
    fn half_a_message_is_the_end() {
        assert!(
            receive(&mut &encode(Message::Opened)[..23])
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn an_unknown_tag_is_an_error() {
        let error = receive(&mut &[b'?'; 24][..]).unwrap_err();
        assert!(matches!(error, Failure::Message(_)), "{error}");
    }
}
