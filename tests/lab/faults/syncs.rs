//! Syncs that fail and give up what they should have made durable, and syncs that lie.

use perennial_failpoints::lab::{Keeps, Step};
use perennial_failpoints::{Action, CallKind, Shows, Syncs};

use super::judge::Promise;
use super::{Fault, SCRIPT, What, every_call, every_call_of, once_and_for_good};

const SYNCS: &[CallKind] = &[CallKind::SyncData, CallKind::SyncDir];

/// The script without extents: everything goes through the tail, which has it until it is stable.
fn in_the_tail() -> Vec<Step> {
    let shorter = |step: &Step| match *step {
        Step::Put { key, len, durable } => Step::Put {
            key,
            len: len.min(800),
            durable,
        },
        other => other,
    };
    SCRIPT.iter().map(shorter).collect()
}

#[test]
fn what_a_failed_sync_gave_up_is_never_counted_on() {
    for shows in [Shows::New, Shows::Old] {
        let fault = |syncs| Fault {
            what: What::Sync(syncs),
            calls: 1,
        };
        let once = fault(Syncs::FailOnce(shows));
        every_call_of(&in_the_tail(), once, Keeps::Everything, Promise::All);
        // An extent lies in its segment only. Where reads show what was there before, it is gone, and its key is a miss.
        let keeps = match shows {
            Shows::New => Keeps::Everything,
            Shows::Old => Keeps::WhatItLikes,
        };
        every_call(once, keeps, Promise::All);
        // An open that can sync no new file takes the oldest segment's, and then fails all the same: entries are gone.
        let for_good = fault(Syncs::Fail(shows));
        every_call(for_good, Keeps::WhatItLikes, Promise::All);
    }
}

#[test]
fn a_sync_that_lies_takes_back_and_makes_nothing_up() {
    let what = What::Do(Action::Skip, SYNCS);
    once_and_for_good(what, Keeps::WhatItLikes, Promise::SafeBytes);
}
