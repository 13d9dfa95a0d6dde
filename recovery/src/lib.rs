//! What perennial needs to come back warm: checkpoints of the index, and the identity of a cache directory.
//!
//! - [`checkpoint`]: entries of the index and the head that names them, as frames of the log.
//! - [`decide`]: what recovery does with what it finds: the table.
//! - [`replay`](replay()): the newest good checkpoint, then the log after it, into whatever absorbs them.
//! - [`verify`](verify()): every structure checked, nothing changed; and what would mend it, [`Cure`].
//! - [`identity`]: the small file that says what a directory is and how it was made.
//! - [`codec`]: the one place that knows how our small structures become bytes.

pub mod checkpoint;
pub mod codec;
mod cure;
pub mod decide;
pub mod identity;
mod left;
mod moves;
mod replay;
mod report;
mod tail_file;
mod verify;

pub use checkpoint::{
    Entry, Head, HeadError, Part, PartError, PartRef, decode_part, encode_part, entries_that_fit,
    part_bytes, part_frame_bytes, part_of_frame,
};
pub use codec::CodecError;
pub use cure::{Checked, Cure};
pub use identity::{Identity, IdentityError, IdentityFileError, TailKind, TailPlace};
pub use left::{LEFT_BYTES, LEFT_KEPT_BYTES, Left};
pub use moves::{MOVED_BYTES, Moved, decode_moves, encode_moves};
pub use replay::{Ahead, Machine, Outcome, Sorter, Source, read, replay};
pub use report::{Problem, VerifyReport};
pub use tail_file::TailFile;
pub use verify::{newest_head, verify};
