use std::time::Duration;

use super::*;

fn head(version: u64) -> Head {
    Head::new(version, 7)
}

#[test]
fn a_late_answer_does_not_count() {
    let known = Known::default();
    assert_eq!(known.learn(&head(2), 5, 100, 5), None);
    assert_eq!(known.learn(&head(1), 4, 90, 4), None);
    assert_eq!(known.fresh(Revalidate::Never, 100), Some(head(2)));
    assert_eq!(known.learn(&head(3), 6, 110, 6), Some(head(2)));
    assert_eq!(known.learn(&head(3), 7, 120, 7), None);
    known.forget(9, true);
    assert_eq!(known.learn(&head(3), 8, 130, 8), None);
    assert_eq!(known.fresh(Revalidate::Never, 130), None);
    assert_eq!(known.learn(&head(4), 10, 140, 10), None);
    known.forget(11, false);
    assert_eq!(known.learn(&head(5), 12, 150, 12), Some(head(4)));
    assert_eq!(known.fresh(Revalidate::Never, 150), Some(head(5)));
}

#[test]
fn answers_at_the_same_time_are_doubted() {
    let known = Known::default();
    // 6 was put when 5 was answered.
    assert_eq!(known.learn(&head(2), 5, 100, 6), None);
    assert_eq!(known.learn(&head(1), 6, 100, 6), None);
    assert_eq!(known.fresh(Revalidate::Never, 100), None);
    assert_eq!(known.learn(&head(2), 7, 110, 8), None);
    assert_eq!(known.fresh(Revalidate::Never, 110), Some(head(2)));
    assert_eq!(known.learn(&head(2), 8, 110, 8), None);
    assert_eq!(known.learn(&head(3), 9, 120, 9), Some(head(2)));
}

#[test]
fn what_is_remembered_is_as_old_as_it_may_be() {
    let known = Known::default();
    known.learn(&head(1), 1, 100, 1);
    let after = |ns| Revalidate::After(Duration::from_nanos(ns));
    assert!(known.fresh(after(50), 150).is_some());
    assert!(known.fresh(after(50), 151).is_none());
    assert!(known.fresh(Revalidate::Always, 100).is_none());
    known.doubt(&2.into());
    assert!(known.fresh(Revalidate::Never, 100).is_some());
    known.doubt(&1.into());
    assert!(known.fresh(Revalidate::Never, 100).is_none());
    assert_eq!(known.learn(&head(2), 2, 200, 2), Some(head(1)));
}
