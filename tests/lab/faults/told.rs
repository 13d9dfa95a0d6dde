//! Calls that fail and say so.

use perennial_failpoints::lab::Keeps;
use perennial_failpoints::{Action, CallKind};

use super::judge::Promise;
use super::{EINTR, FOR_GOOD, Fault, What, every_call, once_and_for_good};

const TRANSFERS: &[CallKind] = &[CallKind::Read, CallKind::Write];
/// Calls that fail without costing a cache an entry that it has.
const CHANGES: &[CallKind] = &[
    CallKind::Write,
    CallKind::SyncData,
    CallKind::SyncDir,
    CallKind::Allocate,
    CallKind::Rename,
    CallKind::Remove,
    CallKind::Create,
];

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EMFILE: i32 = 24;
const NUMBERS: [i32; 4] = [EIO, ENOSPC, EINTR, EMFILE];

#[test]
fn a_change_that_fails_loses_nothing_that_was_acknowledged() {
    for number in NUMBERS {
        let what = What::Do(Action::FailRaw(number), CHANGES);
        once_and_for_good(what, Keeps::Everything, Promise::All);
    }
}

#[test]
fn any_call_that_fails_costs_no_more_than_entries() {
    for number in NUMBERS {
        let what = What::Do(Action::FailRaw(number), &[]);
        once_and_for_good(what, Keeps::WhatItLikes, Promise::All);
    }
}

#[test]
fn short_transfers_cost_nothing() {
    for bytes in [1, 700] {
        let what = What::Do(Action::Short(bytes), TRANSFERS);
        let fault = |calls| Fault { what, calls };
        every_call(fault(1), Keeps::Everything, Promise::All);
        // A byte at a time for ever takes too long to try at every call.
        if bytes > 512 {
            every_call(fault(FOR_GOOD), Keeps::Everything, Promise::All);
        }
    }
}
