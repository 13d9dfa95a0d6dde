//! Headers and trailers of segments, compared with themselves and with the frames.

use perennial_failpoints::fs::read_exact_at;

use super::{Damage, Damaged};
use crate::contents::Contents;
use crate::lsn::to_usize;
use crate::mending::{Patch, Remedy};
use crate::scan::ChainSegment;
use crate::segment::{
    FIXED_BYTES, HEADER_COPY_BYTES, HeaderFound, ROW_BYTES, Row, SegmentHeader, Trailer, zone_begin,
};

/// A trailer that differs from the expected one in so many bytes has rotted. One that differs in more was never
/// written: the bytes are an earlier segment's, or half of a write that a power loss tore.
const ROTTEN_BYTES: usize = 1;

impl Contents<'_> {
    /// The copies of a header that are damaged.
    pub(super) fn damaged_copies(&self, segment: &ChainSegment, may_be_torn: bool) -> Vec<Damaged> {
        let mut zone = vec![0; to_usize(self.geometry.data_begin())];
        if let Some(file) = self.file(segment) {
            // A zone that the media does not give is damaged as a whole.
            self.read_of(segment, read_exact_at(&*file, &mut zone, 0));
        }
        let good =
            SegmentHeader::decode_copies(&zone).map(|copy| matches!(copy, HeaderFound::Good(_)));
        let copy = |n: usize| &zone[n * zone.len() / 2..][..HEADER_COPY_BYTES];
        let torn = |n: usize| may_be_torn && copy(n).iter().all(|byte| *byte == 0);
        let damaged = [0, 1].into_iter().filter(|n| !good[*n] && !torn(*n));
        let found = damaged.map(|n| Damaged {
            offset: (n * zone.len() / 2) as u64,
            damage: Damage::HeaderCopy,
            patch: good[1 - n].then(|| Patch {
                offset: (n * zone.len() / 2) as u64,
                bytes: copy(1 - n).to_vec(),
                remedy: Remedy::FromCopy,
            }),
        });
        found.collect()
    }

    /// Where the bytes are nearly, and not quite, the trailer of these rows. Nothing else tells a trailer that rotted
    /// from one that a crash did not let happen, and both cost nothing but a walk.
    pub(super) fn rotten_trailer(
        &self,
        file: &[u8],
        header: &SegmentHeader,
        rows: Vec<Row>,
        data_end: u64,
    ) -> Option<Damaged> {
        let begin = zone_begin(
            rows.len() as u64,
            self.geometry.segment_bytes,
            self.geometry.sector,
        );
        let found = file.get(to_usize(begin)..)?;
        if Trailer::decode(found).is_some() {
            // Of an earlier segment in this file.
            return None;
        }
        let count = rows.len() as u64;
        let patch = self.patch_trailer(header, data_end, rows)?;
        let expected = &patch.bytes;
        let fixed = expected.len() - to_usize(FIXED_BYTES);
        let rows_at = fixed - to_usize(count * ROW_BYTES);
        // What the frames do not tell: crc, incarnation, stable LSN.
        let unknown = [8..12, 32..40, 48..56].map(|r| fixed + r.start..fixed + r.end);
        let differ: Vec<usize> = (rows_at..expected.len())
            .filter(|at| found[*at] != expected[*at])
            .filter(|at| !unknown.iter().any(|range| range.contains(at)))
            .take(ROTTEN_BYTES + 1)
            .collect();
        let first = differ.first().copied().unwrap_or(fixed + 8);
        (differ.len() <= ROTTEN_BYTES).then(|| Damaged {
            offset: begin + first as u64,
            damage: Damage::Trailer,
            patch: Some(patch),
        })
    }
}
