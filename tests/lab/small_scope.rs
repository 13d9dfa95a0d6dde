//! All short scripts, keys taken up to renaming: most bugs of storage code need few operations and one crash.

use perennial_failpoints::lab::{Breadth, Keeps, Options, Step};

use crate::driver::{CHECKPOINT, Perennial, Undamaged, small};
use crate::{Case, effort, run_all};

/// What may be done to a key. The long value ends the io buffer, and three of them the segment.
const ON_A_KEY: [fn(u8) -> Step; 6] = [
    |key| Step::put(key, 100),
    |key| Step::put(key, 100).durable(),
    |key| Step::put(key, 2_500),
    Step::remove,
    |key| Step::remove(key).durable(),
    |key| Step::Abandon { key, len: 200 },
];
const OTHERS: [Step; 3] = [Step::Flush, Step::Other(CHECKPOINT), Step::Reopen];

/// Every script of up to `steps` steps. A key is named only once the one before it is: renaming keys makes no other
/// script.
pub(crate) fn scripts(steps: usize) -> Vec<Case> {
    let mut all = vec![(Vec::new(), 0)];
    let mut from = 0;
    for _ in 0..steps {
        let longer: Vec<_> = all[from..]
            .iter()
            .flat_map(|(script, keys)| one_step_more(script, *keys))
            .collect();
        from = all.len();
        all.extend(longer);
    }
    let case = |(script, _): (Vec<Step>, u8)| Case {
        from: script.len().saturating_sub(1),
        script,
    };
    all.into_iter().map(case).collect()
}

fn one_step_more(script: &[Step], keys: u8) -> impl Iterator<Item = (Vec<Step>, u8)> {
    let on_keys =
        (0..=keys.min(1)).flat_map(move |key| ON_A_KEY.map(|step| (step(key), keys.max(key + 1))));
    let steps = on_keys.chain(OTHERS.map(|step| (step, keys)));
    steps.map(|(step, keys)| (script.iter().copied().chain([step]).collect(), keys))
}

/// So many steps have the longest scripts.
fn longest() -> usize {
    match effort() {
        0..10 => 3,
        10..100 => 4,
        _ => 5,
    }
}

/// Of all scripts of up to so many steps: every fourth, from this one on. In four tests, for as many cores.
fn every_fourth(from: usize) {
    let more = effort() >= 10;
    let options = Options {
        breadth: Breadth {
            exhaustive_up_to: if more { 12 } else { 6 },
            sampled: 2 * effort().min(16),
        },
        ..Options::new(Keeps::Everything)
    };
    let all = scripts(longest());
    let cases: Vec<Case> = all.into_iter().skip(from).step_by(4).collect();
    run_all(
        &format!("small scope, part {}", from + 1),
        &Undamaged(Perennial(small(1 << 20))),
        options,
        &cases,
    );
}

#[test]
fn all_short_scripts_part_1() {
    every_fourth(0);
}

#[test]
fn all_short_scripts_part_2() {
    every_fourth(1);
}

#[test]
fn all_short_scripts_part_3() {
    every_fourth(2);
}

#[test]
fn all_short_scripts_part_4() {
    every_fourth(3);
}
