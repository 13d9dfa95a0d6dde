//! Calls that are silently not what they say.

use perennial_failpoints::Action;
use perennial_failpoints::lab::Keeps;

use super::judge::Promise;
use super::{Fault, READS, WRITES, What, every_call};

#[test]
fn a_lost_write_shows_nothing_older() {
    let what = What::Do(Action::Skip, WRITES);
    let fault = Fault { what, calls: 1 };
    every_call(fault, Keeps::WhatItLikes, Promise::SafeLater);
}

#[test]
fn a_misdirected_write_shows_nothing_older_and_nothing_else() {
    for action in [
        Action::OtherFile,
        Action::Misdirect(0),
        Action::Misdirect(1_024),
        Action::Misdirect(4_096),
    ] {
        let what = What::Do(action, WRITES);
        let fault = Fault { what, calls: 1 };
        every_call(fault, Keeps::WhatItLikes, Promise::SafeLater);
    }
}

#[test]
fn a_misdirected_read_shows_nothing_older_and_nothing_else() {
    for action in [
        Action::OtherFile,
        Action::Misdirect(0),
        Action::Misdirect(1_024),
        Action::Misdirect(4_096),
    ] {
        let what = What::Do(action, READS);
        let fault = Fault { what, calls: 1 };
        every_call(fault, Keeps::WhatItLikes, Promise::Safe);
    }
}

#[test]
fn a_bit_that_flips_on_the_way_is_found() {
    for bit in [3, 1_000, 4_097] {
        for kinds in [READS, WRITES] {
            let what = What::Do(Action::FlipBit(bit), kinds);
            let fault = Fault { what, calls: 1 };
            every_call(fault, Keeps::WhatItLikes, Promise::SafeLater);
        }
    }
}
