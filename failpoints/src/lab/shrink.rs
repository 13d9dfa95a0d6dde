//! The shortest script that still fails.

use super::driver::Step;
use super::{Failure, Wrong};

/// Leaves out steps, first many at once, as long as the rest fails too (delta debugging, Zeller 1999).
pub(super) fn shrink(
    script: &[Step],
    wrong: Wrong,
    mut fails: impl FnMut(&[Step]) -> Option<Wrong>,
) -> Failure {
    let (mut script, mut wrong) = (script.to_vec(), wrong);
    let mut chunk = script.len() / 2;
    while chunk > 0 {
        let mut from = 0;
        while from < script.len() {
            let to = (from + chunk).min(script.len());
            let shorter = [&script[..from], &script[to..]].concat();
            match fails(&shorter) {
                Some(still) => (script, wrong) = (shorter, still),
                None => from = to,
            }
        }
        chunk /= 2;
    }
    Failure {
        script,
        at: wrong.at,
        why: wrong.why,
    }
}
