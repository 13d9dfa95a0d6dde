use perennial_wal::SegmentId;

use super::*;

const SEGMENT_BYTES: u64 = 1000;

fn policy() -> S3Merge {
    S3Merge::new(S3Options::new(SEGMENT_BYTES))
}

fn kept(orders: &[u64]) -> Vec<Kept> {
    let of = |order: &u64| Kept {
        id: SegmentId(100 + order),
        order: *order,
    };
    orders.iter().map(of).collect()
}

/// Of 16 segments, so that four are the log's share.
fn view(log_segments: usize, kept: &[Kept]) -> View<'_> {
    View {
        segments: 16,
        log_segments,
        oldest: (log_segments > 1).then_some(SegmentId(7)),
        kept,
        entries: 1000,
    }
}

fn read(hash: u64, visits: u8) -> Candidate {
    Candidate { hash, visits }
}

/// The kept segments that are taken, in order, while all of them lose only a part.
fn taken(policy: &mut S3Merge, orders: &[u64], times: usize) -> Vec<u64> {
    let kept = kept(orders);
    let one = |_| match policy.next(&view(4, &kept)) {
        Step::Kept(id) => id.0 - 100,
        other => panic!("{other:?}"),
    };
    (0..times).map(one).collect()
}

#[test]
fn the_log_has_a_quarter_and_what_nobody_needs() {
    let mut policy = policy();
    let some = kept(&[1, 2]);
    assert_eq!(policy.next(&view(5, &some)), Step::Log(SegmentId(7)));
    assert_eq!(policy.next(&view(4, &some)), Step::Kept(SegmentId(101)));
    assert_eq!(policy.next(&view(4, &[])), Step::Log(SegmentId(7)));
    assert_eq!(policy.next(&view(1, &[])), Step::Nothing);
    let unstable = View {
        oldest: None,
        ..view(9, &some)
    };
    assert_eq!(policy.next(&unstable), Step::Kept(SegmentId(102)));
}

#[test]
fn the_hand_goes_from_the_tail_to_the_head_and_round() {
    assert_eq!(taken(&mut policy(), &[30, 10, 20], 5), [10, 20, 30, 10, 20]);
}

#[test]
fn with_placement_at_the_head_the_tail_goes_first() {
    let mut policy = policy();
    policy.hand = 15;
    let duel = policy.duel.clone().unwrap();
    duel.set_scores(Scores {
        in_place: 100,
        to_head: 104,
    });
    assert_eq!(taken(&mut policy, &[30, 10, 20], 2), [10, 10]);
}

#[test]
fn one_read_keeps_or_two() {
    let mut lavish = policy();
    lavish.next(&view(5, &[]));
    assert!(!lavish.keeps(Source::Log, read(1, 0)));
    assert!(lavish.keeps(Source::Log, read(1, 1)));
    let thrifty = S3Merge::new(S3Options {
        promote: 2,
        ..S3Options::new(SEGMENT_BYTES)
    });
    assert!(!thrifty.keeps(Source::Log, read(1, 1)));
    assert!(thrifty.keeps(Source::Log, read(1, 2)));
    assert!(
        thrifty.keeps(Source::Kept, read(1, 1)),
        "that is the hand's business"
    );
    assert!(!thrifty.keeps(Source::Kept, read(1, 0)));
}

#[test]
fn what_was_dropped_is_kept_when_it_comes_again() {
    let mut policy = policy();
    policy.next(&view(5, &[]));
    policy.settle(Source::Log, 42, false);
    assert!(policy.keeps(Source::Log, read(42, 0)));
    assert!(
        !policy.keeps(Source::Kept, read(42, 0)),
        "kept ones are judged by their reads"
    );
    policy.settle(Source::Log, 42, true);
    assert!(!policy.keeps(Source::Log, read(42, 0)), "once");
}

#[test]
fn what_a_kept_segment_drops_is_a_ghost_while_writes_are_cheap() {
    let mut policy = policy();
    policy.next(&view(5, &[]));
    policy.settle(Source::Kept, 42, false);
    assert!(policy.keeps(Source::Log, read(42, 0)));
    (100..110).for_each(|hash| policy.settle(Source::Log, hash, true));
    policy.settle(Source::Kept, 43, false);
    assert!(!policy.keeps(Source::Log, read(43, 0)));
}

#[test]
fn who_writes_much_asks_for_one_more_read() {
    let mut policy = policy();
    policy.next(&view(5, &[]));
    assert!(policy.keeps(Source::Log, read(1, 1)));
    (100..110).for_each(|hash| policy.settle(Source::Log, hash, true));
    assert!(!policy.keeps(Source::Log, read(1, 1)));
    assert!(policy.keeps(Source::Log, read(1, 2)));
}

#[test]
fn who_writes_much_keeps_survivors_in_place() {
    let mut policy = policy();
    let duel = policy.duel.clone().unwrap();
    duel.set_scores(Scores {
        in_place: 100,
        to_head: 200,
    });
    policy.next(&view(4, &kept(&[10])));
    assert!(policy.to_head);
    (100..110).for_each(|hash| policy.settle(Source::Log, hash, true));
    policy.next(&view(4, &kept(&[10])));
    assert!(!policy.to_head);
}

#[test]
fn a_segment_that_is_nearly_all_wanted_stays_where_it_is() {
    let mut policy = policy();
    policy.next(&view(4, &kept(&[10, 20])));
    assert_eq!(policy.stays(899, SEGMENT_BYTES), None);
    assert_eq!(policy.stays(900, SEGMENT_BYTES), Some(10));
    policy.to_head = true;
    assert_eq!(
        policy.stays(900, SEGMENT_BYTES),
        Some(21),
        "or goes to the head without a write"
    );
}

#[test]
fn readers_quicker_than_the_hand_do_not_stop_it() {
    let mut policy = policy();
    let kept = kept(&[10, 20]);
    let mut all_stay = || {
        policy.next(&view(4, &kept));
        let wanted = policy.keeps(Source::Kept, read(1, 3));
        policy
            .stays(if wanted { SEGMENT_BYTES } else { 0 }, SEGMENT_BYTES)
            .is_some()
    };
    let rounds = (0..100).take_while(|_| all_stay()).count();
    assert_eq!(rounds, 2 * 2 + 1);
    assert!(all_stay(), "one was dropped, the next is judged again");
}

#[test]
fn promoted_entries_go_to_the_head_and_survivors_stay() {
    let mut policy = policy();
    policy.next(&view(4, &kept(&[10, 20])));
    let head = |order| Placement::Kept {
        lane: Lane::Head,
        order,
    };
    let hand = Placement::Kept {
        lane: Lane::Hand,
        order: 10,
    };
    assert_eq!(policy.placement(Source::Log), head(21));
    assert_eq!(policy.placement(Source::Log), head(22), "no order twice");
    assert_eq!(policy.placement(Source::Kept), hand);
    policy.to_head = true;
    assert_eq!(policy.placement(Source::Kept), head(23));
}

/// Warm: ghosts, a hand, scores.
fn warm() -> S3Merge {
    let mut policy = policy();
    policy.next(&view(4, &kept(&[10, 20])));
    (0..500).for_each(|n: u64| {
        policy.settle(
            Source::Log,
            n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            n.is_multiple_of(5),
        )
    });
    let duel = policy.duel.clone().unwrap();
    duel.set_scores(Scores {
        in_place: 100,
        to_head: 104,
    });
    policy
}

#[test]
fn a_restart_finds_it_as_it_was() {
    let before = warm();
    let mut after = policy();
    assert!(after.load(&before.save()));
    assert_eq!(after.ghost, before.ghost);
    assert_eq!((after.hand, after.head), (before.hand, before.head));
    assert_eq!(after.writes, before.writes);
    assert_eq!(after.save(), before.save());
    assert_eq!(
        taken(&mut after, &[10, 20], 1),
        taken(&mut warm(), &[10, 20], 1)
    );
}

#[test]
fn damaged_state_changes_nothing() {
    let saved = warm().save();
    let mut policy = policy();
    let fresh = policy.save();
    for cut in 0..saved.len() {
        assert!(!policy.load(&saved[..cut]), "{cut}");
    }
    let mut longer = saved.clone();
    longer.push(0);
    assert!(!policy.load(&longer));
    let mut newer = saved;
    newer[0] = VERSION + 1;
    assert!(!policy.load(&newer));
    assert_eq!(policy.save(), fresh);
}

#[test]
fn no_saved_bytes_make_it_panic() {
    let mut saved = warm().save();
    for at in 0..60 {
        let before = std::mem::replace(&mut saved[at], 0xff);
        let mut policy = policy();
        policy.load(&saved);
        taken(&mut policy, &[10, 20], 3);
        policy.placement(Source::Log);
        policy.settle(Source::Log, 1, true);
        policy.keeps(Source::Log, read(1, 1));
        saved[at] = before;
    }
}
