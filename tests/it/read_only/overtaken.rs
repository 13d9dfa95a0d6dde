//! The cache goes on in the middle of the open, and between reads: before each call of the reader to the file system some
//! operations may be done, on the same disk, by who has the cache open.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use perennial::{Cache, ErrorKind, Options};
use perennial_failpoints::{Action, FaultFs, Plan, SimFs};

use super::{KEYS, Story, key, open_read_only};
use crate::small::{DIR, Rng, options};

/// Up to `most` operations before one call in `one_in`, of those for so many bytes or more.
#[derive(Debug, Clone, Copy)]
struct Pace {
    one_in: u64,
    most: u64,
    of: u64,
}

const fn pace(one_in: u64, most: u64) -> Pace {
    Pace {
        one_in,
        most,
        of: 0,
    }
}

/// A story that goes on before calls of `fs`.
struct Moving {
    story: Arc<Mutex<Story>>,
    fs: FaultFs,
}

impl Moving {
    fn new(story: Story) -> Self {
        let fs = FaultFs::new(Arc::new(story.fs.clone()), Plan::none());
        let story = Arc::new(Mutex::new(story));
        Self { story, fs }
    }

    fn go_on(&self, seed: u64, pace: Pace) {
        let (story, mut rng) = (Arc::clone(&self.story), Rng(seed));
        let Pace { one_in, most, of } = pace;
        self.fs.set_plan(Plan::new(move |call| {
            if call.len >= of && rng.below(one_in) == 0 {
                story.lock().unwrap().steps(rng.below(most) + 1);
            }
            Action::Pass
        }));
    }

    fn stand_still(&self) {
        self.fs.set_plan(Plan::none());
    }
}

/// How a run went.
#[derive(Debug, Default)]
struct Seen {
    shown: u64,
    opens: u64,
    busy: u64,
    recycled: u64,
    damaged: u64,
}

fn run(seed: u64, options: Options, pace: Pace, seen: &mut Seen) {
    live(Story::new(seed, options), seed, pace, seen);
}

fn live(story: Story, seed: u64, pace: Pace, seen: &mut Seen) {
    let moving = Moving::new(story);
    for round in 0..8 {
        moving.story.lock().unwrap().steps(40);
        let flushed = moving.story.lock().unwrap().flushed;
        moving.go_on(seed * 100 + round, pace);
        let opened = open_read_only(Arc::new(moving.fs.clone()));
        moving.stand_still();
        let snapshot = match opened {
            Ok(snapshot) => snapshot,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Busy, "seed {seed}: {error}");
                seen.busy += 1;
                continue;
            }
        };
        seen.opens += 1;
        // What it shows first it shows, or it misses: to the end of the log's turn.
        let first: Vec<_> = (0..KEYS).map(|n| snapshot.get(key(n)).unwrap()).collect();
        seen.shown += moving.story.lock().unwrap().check(&snapshot, flushed);
        let roomy = moving.story.lock().unwrap().roomy;
        if roomy {
            let story = moving.story.lock().unwrap();
            story.check_that_all_is_shown(&snapshot, flushed);
        }
        // What evicts comes round to the segments that are read.
        let one_in = if roomy { pace.one_in } else { 2 };
        moving.go_on(seed * 100 + round, Pace { one_in, ..pace });
        for _ in 0..6 {
            for (n, first) in (0..KEYS).zip(&first) {
                let later = snapshot.get(key(n)).unwrap();
                assert!(later.is_none() || later == *first, "seed {seed}, key {n}");
            }
            for listed in snapshot.keys() {
                assert!((0..KEYS).any(|n| key(n)[..] == *listed), "seed {seed}");
            }
        }
        moving.stand_still();
        seen.damaged += snapshot.stats().damaged;
        seen.recycled += snapshot.stats().recycled;
        assert_eq!(
            snapshot.stats().damaged_reads,
            0,
            "seed {seed}, round {round}"
        );
    }
}

#[test]
fn all_that_is_shown_was_there_at_one_moment() {
    let mut seen = Seen::default();
    for seed in 0..40 {
        run(seed, options(), pace(12, 3), &mut seen);
    }
    assert!(
        seen.opens > 200 && seen.shown > 500 && seen.recycled > 500,
        "{seen:?}"
    );
}

/// A log of which hardly anything is the same when a few files are read.
/// A log of which hardly anything is the same when a few files are read.
#[test]
fn who_is_overtaken_again_and_again_says_so() {
    let mut seen = Seen::default();
    for seed in 0..6 {
        run(seed, options(), pace(1, 12), &mut seen);
    }
    assert!(seen.busy > 0, "{seen:?}");
}

fn roomy(seed: u64, options: Options, scale: u64) -> Story {
    Story {
        scale,
        roomy: true,
        ..Story::new(seed, options)
    }
}

#[test]
fn where_there_is_room_all_is_shown() {
    let mut seen = Seen::default();
    for seed in 0..20 {
        let options = options().capacity_bytes(4 << 20).tail_bytes(16 << 10);
        live(roomy(seed, options, 1), seed, pace(3, 4), &mut seen);
    }
    assert_eq!(
        (seen.busy, seen.damaged, seen.opens),
        (0, 0, 160),
        "{seen:?}"
    );
    assert!(seen.shown > 500, "{seen:?}");
}

/// A segment is read, and its end is nowhere; then the next one, where marks say that all of the one before is stable by now.
#[test]
fn what_a_mark_says_of_what_was_read_before_is_not_taken_for_damage() {
    let segments_only = Pace {
        one_in: 1,
        most: 60,
        of: 4096,
    };
    let mut seen = Seen::default();
    for seed in 0..20 {
        let options = options().capacity_bytes(16 << 20).tail_bytes(16 << 10);
        live(roomy(seed, options, 1), seed, segments_only, &mut seen);
    }
    assert_eq!(
        (seen.busy, seen.damaged, seen.opens),
        (0, 0, 160),
        "{seen:?}"
    );
}

/// Standing still, it is a hole, as after a kill. Moving, nobody can tell it from what was not there yet when it was read.
#[test]
fn behind_a_writer_in_the_middle_of_its_copy_nothing_is_seen_while_others_go_on() {
    let sim = SimFs::new(1);
    let options = options().capacity_bytes(4 << 20).tail_bytes(64 << 10);
    let cache = Cache::open_with(Arc::new(sim.clone()), DIR, options).unwrap();
    cache.insert("before", "1").unwrap();
    cache.insert("slow", "old").unwrap();
    let fs = FaultFs::new(Arc::new(sim), Plan::none());
    let shows = || {
        let snapshot = open_read_only(Arc::new(fs.clone())).unwrap();
        ["before", "slow", "behind"].map(|key| {
            let value = snapshot.get(key).unwrap();
            value.map(|value| String::from_utf8(value.to_vec()).unwrap())
        })
    };
    let some = |value: &str| Some(value.to_owned());
    let filled = cache.insert_with_len("slow", 3, |value| {
        cache.insert("behind", "2").unwrap();
        assert_eq!(shows(), [some("1"), some("old"), some("2")]);
        let other = cache.clone();
        fs.set_plan(Plan::new(move |call| {
            if call.n.is_multiple_of(4) {
                other.insert("other", "goes on").unwrap();
            }
            Action::Pass
        }));
        assert_eq!(shows(), [some("1"), some("old"), None]);
        fs.set_plan(Plan::none());
        value.copy_from_slice(b"new");
        Ok::<_, Infallible>(())
    });
    filled.unwrap();
    assert_eq!(shows(), [some("1"), some("new"), some("2")]);
}
