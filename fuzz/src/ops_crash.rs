//! A script, a crash, and what the disk kept: the lab's oracle judges what is found, crashed recoveries and the life
//! after it included.
//!
//! Input: which cache and which crash, the moment, what the disk kept, steps of four bytes.

use perennial_failpoints::lab::{Breadth, Choice, Crash, CrashLab, Keeps, Kept, Options, Step};

use super::Seed;
use super::driver::{CHECKPOINT, FAILED_INSERT, Perennial, small};
use super::input::Input;

const EVICTS: u8 = 1;
const POWER: u8 = 2;
const BY_SEED: u8 = 4;
/// More would not fit into the cache that is to keep everything.
const MAX_STEPS: usize = 40;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (how, moment, kept) = (input.u8(), input.u16(), input.u64());
    let mut script = Vec::new();
    while !input.is_empty() && script.len() < MAX_STEPS {
        script.push(step(&mut input));
    }
    let (capacity, keeps) = if how & EVICTS == 0 {
        (1 << 20, Keeps::Everything)
    } else {
        (64 << 10, Keeps::WhatItLikes)
    };
    let choice = Choice {
        moment: u64::from(moment),
        crash: if how & POWER == 0 {
            Crash::Kill
        } else {
            Crash::Power
        },
        kept: if how & BY_SEED == 0 {
            Kept::These(kept)
        } else {
            Kept::BySeed(kept)
        },
    };
    let options = Options {
        breadth: Breadth {
            exhaustive_up_to: 0,
            sampled: 1,
        },
        crash_one_recovery_in: 256,
        ..Options::new(keeps)
    };
    let driver = Perennial(small(capacity));
    let judged = CrashLab::new(&driver, options).run_one(&script, choice);
    judged.unwrap_or_else(|failure| panic!("{failure}\n{choice:?}"));
}

fn step(input: &mut Input<'_>) -> Step {
    let (what, key, len) = (input.u8(), input.u8() % 6, input.u16() % 5_000);
    match what % 12 {
        0 | 1 => Step::put(key, len),
        2 => Step::put(key, len).durable(),
        3 => Step::remove(key),
        4 => Step::remove(key).durable(),
        5 => Step::Flush,
        6 => Step::Other(CHECKPOINT),
        7 => Step::Other(FAILED_INSERT),
        8 => Step::Abandon { key, len },
        9 => Step::Get { key },
        10 => Step::Reopen,
        // Short ones are the rarest in two bytes, and the most useful.
        _ => Step::put(key, len % 300),
    }
}

pub fn seeds() -> Vec<Seed> {
    let one = |name: &str, how: u8, moment: u16, kept: u64, steps: &[[u8; 4]]| {
        let mut input = vec![how];
        input.extend(moment.to_le_bytes());
        input.extend(kept.to_le_bytes());
        steps.iter().for_each(|step| input.extend(step));
        (name.to_owned(), input)
    };
    let rotation: Vec<[u8; 4]> = (0..9).map(|n| [0, n % 3, 0, 8]).collect();
    let many: Vec<[u8; 4]> = (0..30).map(|n: u8| [n, n, n.wrapping_mul(37), 1]).collect();
    vec![
        one(
            "killed",
            0,
            30,
            0,
            &[[0, 0, 100, 0], [3, 0, 0, 0], [2, 1, 40, 0]],
        ),
        one(
            "power",
            POWER,
            40,
            0b1011,
            &[[2, 0, 100, 0], [4, 0, 0, 0], [5, 0, 0, 0]],
        ),
        one("rotation", POWER | BY_SEED, 60, 7, &rotation),
        one(
            "checkpoint",
            POWER,
            70,
            u64::MAX,
            &[
                [0, 0, 0, 4],
                [6, 0, 0, 0],
                [3, 0, 0, 0],
                [10, 0, 0, 0],
                [0, 0, 9, 1],
            ],
        ),
        one("evicting", EVICTS | POWER | BY_SEED, 200, 3, &many),
    ]
}
