//! The dry log beside the log.

use std::path::Path;

use perennial_failpoints::SimFs;
use quickcheck::quickcheck;

use super::DryLog;
use crate::buffer::{Class, NoRoom};
use crate::core::{LogCore, Refused};
use crate::frame::FrameKind;
use crate::lsn::{Lsn, SegmentId};
use crate::{FrameSpec, Geometry, Log, LogOptions};

const SEGMENTS: u64 = 5;

fn spec(value_bytes: u32) -> FrameSpec {
    FrameSpec {
        kind: FrameKind::Put,
        hash: 7,
        key_bytes: 0,
        value_bytes,
        expiry: 0,
        flags: 0,
    }
}

fn open(segment_bytes: u64, ring_bytes: u64) -> Log {
    let options = LogOptions::new()
        .segment_bytes(segment_bytes)
        .tail_bytes(ring_bytes)
        .max_segments(SEGMENTS)
        .background(false);
    Log::open(&SimFs::new(1), Path::new("/log"), &options).expect("an empty disk takes a log")
}

/// As the dry log does.
fn wait_for_readers(log: &LogCore) {
    let floor = (log.stable_lsn().0 / log.geometry().sector - 1) * log.geometry().sector;
    while log.tail().window_end() < floor + log.tail().ring_bytes() {
        log.tail().drive();
    }
}

fn append(log: &LogCore, value_bytes: u32) -> Lsn {
    let spec = spec(value_bytes);
    loop {
        let refused = if spec.header().frame_bytes(1) <= log.max_ring_frame() {
            match log.try_reserve(spec, Class::Put) {
                Ok(reservation) => {
                    let lsn = reservation.lsn();
                    reservation.complete();
                    return lsn;
                }
                Err(refused) => refused,
            }
        } else {
            match log.append_extent(spec, &[], &vec![0; value_bytes as usize]) {
                Ok(extent) => return extent.lsn,
                Err(refused) => refused,
            }
        };
        match refused {
            Refused::NoRoom(NoRoom::Ring) => log
                .make_ring_room()
                .expect("a ring that was written has room"),
            Refused::NoRoom(NoRoom::Segment) => {
                while !log.prepare_segment().expect("a header is written") {
                    log.flush().expect("the disk takes it");
                    log.store()
                        .release_through(log.store().live()[0].header.number);
                }
            }
            Refused::Stopped(why) => panic!("{why}"),
        }
        wait_for_readers(log);
    }
}

fn append_dry(log: &mut DryLog, value_bytes: u32) -> Lsn {
    let spec = spec(value_bytes);
    loop {
        let placed = if spec.header().frame_bytes(1) <= log.max_ring_frame() {
            log.append(spec, Class::Put)
        } else {
            log.append_extent(spec)
        };
        match placed {
            Ok(lsn) => return lsn,
            Err(NoRoom::Ring) => log.make_ring_room(),
            Err(NoRoom::Segment) => {
                while !log.files_mut().prepare() {
                    log.flush();
                    let oldest = log.files().live()[0];
                    log.files_mut().release_through(oldest);
                }
            }
        }
    }
}

/// Sizes to append; at every seventh number everything is made stable, at every eleventh the positions are compared only.
fn agree(segment_bytes: u64, ring_bytes: u64, largest: u32, numbers: &[u16]) -> bool {
    let log = open(segment_bytes, ring_bytes);
    let mut dry = DryLog::new(Geometry::of(segment_bytes), ring_bytes, SEGMENTS);
    numbers.iter().cycle().take(3000).all(|n| {
        if n % 7 == 0 {
            log.log.flush().expect("the disk takes it");
            wait_for_readers(&log.log);
            dry.flush();
        } else if n % 11 != 0 {
            let bytes = u32::from(*n) % largest;
            if append(&log.log, bytes) != append_dry(&mut dry, bytes) {
                return false;
            }
        }
        log.log.reserved_end() == dry.reserved_end() && log.log.stable_lsn() == dry.stable_lsn()
    })
}

quickcheck! {
    fn it_places_frames_where_the_log_does(numbers: Vec<u16>) -> bool {
        let numbers = [&numbers[..], &[1000]].concat();
        agree(16 << 10, 8 << 10, 1800, &numbers) && agree(64 << 10, 32 << 10, 200, &numbers)
    }

    fn and_extents(numbers: Vec<u16>) -> bool {
        let numbers = [&numbers[..], &[1000]].concat();
        agree(32 << 10, 8 << 10, 9000, &numbers)
    }
}

#[test]
fn kept_segments_take_numbers_and_files() {
    let mut dry = DryLog::new(Geometry::of(8 << 10), 4 << 10, 3);
    assert_eq!(dry.begin_kept().unwrap().0, SegmentId(2));
    assert!(dry.files_mut().prepare());
    assert_eq!(dry.files().live(), &[SegmentId(1), SegmentId(3)]);
    assert!(dry.begin_kept().is_none() && !dry.files_mut().prepare());
    dry.files_mut().release_kept(SegmentId(2));
    assert_eq!(dry.files().spare_files(), 1);
    dry.files_mut().release_through(SegmentId(1));
    assert_eq!((dry.files().spare_files(), dry.files().prepared()), (2, 1));
}
