//! The rule of each hole undone: the hole's own script must notice.

use super::hunts::Run;
use super::ranges::a_chunk_rots;
use crate::filters::filters_built_anew_forget_nothing;
use crate::holes::*;
use crate::{meanwhile, priorities};

/// A script, what luck it needs, and the planted bugs that undo a rule of its hole: it notices each.
pub(super) struct Hole {
    pub(super) name: &'static str,
    pub(super) run: Run,
    pub(super) luck: &'static [&'static str],
    pub(super) undone_by: &'static [&'static str],
}

const fn hole(name: &'static str, run: Run, undone_by: &'static [&'static str]) -> Hole {
    Hole {
        name,
        run,
        luck: &[],
        undone_by,
    }
}

/// All scripts, by number.
pub(super) const HOLES: [Hole; 52] = [
    hole(
        "hole_01_a_checkpoint_waits_for_the_entries_it_points_at",
        hole_01_a_checkpoint_waits_for_the_entries_it_points_at,
        &["head-before-its-entries"],
    ),
    hole(
        "hole_01_replay_begins_where_the_images_did",
        hole_01_replay_begins_where_the_images_did,
        &["checkpoint-published-early", "replay-begins-too-late"],
    ),
    hole(
        "hole_02_what_is_copied_is_in_one_place_or_the_other",
        hole_02_what_is_copied_is_in_one_place_or_the_other,
        &["kept-not-synced", "source-freed-before-move-is-stable"],
    ),
    hole(
        "hole_04_nothing_comes_back_over_a_gap",
        hole_04_nothing_comes_back_over_a_gap,
        &["gap-in-the-chain-bridged"],
    ),
    hole(
        "hole_04_a_lost_end_shows",
        hole_04_a_lost_end_shows,
        &["nothing-prepared-ahead"],
    ),
    hole(
        "hole_05_the_log_reaches_back_to_a_checkpoint",
        hole_05_the_log_reaches_back_to_a_checkpoint,
        &["checkpoint-never-due"],
    ),
    hole(
        "hole_06_a_full_log_makes_room_for_itself",
        hole_06_a_full_log_makes_room_for_itself,
        &["full-log-not-flushed"],
    ),
    hole(
        "hole_07_the_capacity_covers_everything",
        hole_07_the_capacity_covers_everything,
        &["tail-not-in-the-capacity"],
    ),
    hole(
        "hole_08_a_shard_is_loaded_with_what_came_later",
        hole_08_a_shard_is_loaded_with_what_came_later,
        &["image-without-what-came-later"],
    ),
    Hole {
        name: "hole_08_an_image_is_loaded_before_its_segment_goes",
        run: hole_08_an_image_is_loaded_before_its_segment_goes,
        // A checkpoint would load what it is about.
        luck: &["checkpoint-never-due"],
        undone_by: &["unloaded-image-reclaimed"],
    },
    hole(
        "hole_08_nobody_sees_half_a_shard",
        hole_08_nobody_sees_half_a_shard,
        &["shard-published-before-it-is-whole"],
    ),
    hole(
        "hole_09_nothing_that_was_copied_outlives_a_clear",
        hole_09_nothing_that_was_copied_outlives_a_clear,
        &[
            "clear-not-durable",
            "clear-not-logged",
            "clear-not-replayed-over-a-checkpoint",
        ],
    ),
    hole(
        "hole_10_frames_of_a_life_cut_short_follow_no_other",
        hole_10_frames_of_a_life_cut_short_follow_no_other,
        &[
            "seed-without-incarnation",
            "number-used-again",
            "cut-segments-not-void",
            "gone-on-after-a-reboot",
        ],
    ),
    hole(
        "hole_10_a_blanked_header_stays_blank",
        hole_10_a_blanked_header_stays_blank,
        &["blank-headers-not-synced"],
    ),
    hole(
        "hole_11_a_hole_never_becomes_damage",
        hole_11_a_hole_never_becomes_damage,
        &[
            "holes-left-lying",
            "end-not-written-again",
            "cut-before-decided",
        ],
    ),
    hole(
        "hole_12_damage_shows_no_older_version",
        hole_12_damage_shows_no_older_version,
        &["marks-attest-nothing", "damage-is-a-hole"],
    ),
    hole(
        "hole_12_a_bad_bit_in_the_tail_is_no_hole",
        hole_12_a_bad_bit_in_the_tail_is_no_hole,
        &["complete-buffers-not-known"],
    ),
    hole(
        "hole_12_anything_in_the_tail_attests_nothing",
        hole_12_anything_in_the_tail_attests_nothing,
        &["stable-word-alone"],
    ),
    hole(
        "hole_12_a_bad_sector_was_written",
        hole_12_a_bad_sector_was_written,
        &["unreadable-is-unwritten"],
    ),
    hole(
        "hole_12_a_read_that_fails_says_nothing",
        hole_12_a_read_that_fails_says_nothing,
        &["joined-below-the-stable", "unknown-numbers-given-again"],
    ),
    hole(
        "hole_13_only_lost_power_ends_the_log_at_a_hole",
        hole_13_only_lost_power_ends_the_log_at_a_hole,
        &["hole-ends-the-log", "gap-skipped-after-lost-power"],
    ),
    hole(
        "hole_14_the_tail_of_another_boot_says_nothing",
        hole_14_the_tail_of_another_boot_says_nothing,
        &["every-boot-is-the-same"],
    ),
    hole(
        "hole_15_what_a_failed_sync_left_is_written_again",
        hole_15_what_a_failed_sync_left_is_written_again,
        &["what-reads-well-is-trusted"],
    ),
    hole(
        "hole_15_a_join_whose_sync_failed_is_written_again",
        hole_15_a_join_whose_sync_failed_is_written_again,
        &["gone-on-with-not-synced"],
    ),
    hole(
        "hole_15_a_trailer_is_written_again_whatever_the_tail_says",
        hole_15_a_trailer_is_written_again_whatever_the_tail_says,
        &["trailer-of-no-boot-trusted"],
    ),
    hole(
        "hole_16_other_tail_options_lose_nothing",
        hole_16_other_tail_options_lose_nothing,
        &["options-name-the-tail"],
    ),
    hole(
        "hole_17_a_sector_is_written_with_all_that_is_in_it",
        hole_17_a_sector_is_written_with_all_that_is_in_it,
        &["last-sector-of-zeros"],
    ),
    hole(
        "hole_18_a_new_file_shows_nothing_of_what_was_there",
        hole_18_a_new_file_shows_nothing_of_what_was_there,
        &["header-zone-not-blanked"],
    ),
    hole(
        "hole_19_a_commit_syncs_every_segment_it_wrote",
        hole_19_a_commit_syncs_every_segment_it_wrote,
        &[
            "ack-before-sync",
            "commit-wakes-on-write",
            "newest-not-contiguous",
            "trailer-before-data",
        ],
    ),
    hole(
        "hole_20_no_lsn_without_a_durable_file",
        hole_20_no_lsn_without_a_durable_file,
        &[
            "header-not-synced",
            "no-directory-sync",
            "prepared-not-synced",
            "found-names-not-synced",
            "renamed-before-synced",
            "rename-not-synced",
        ],
    ),
    hole(
        "hole_21_nothing_is_acknowledged_after_a_failed_sync",
        hole_21_nothing_is_acknowledged_after_a_failed_sync,
        &["poison-not-seen", "failed-sync-retried"],
    ),
    hole(
        "hole_22_an_abandoned_entry_is_a_remove",
        hole_22_an_abandoned_entry_is_a_remove,
        &["abandoned-is-a-pad"],
    ),
    hole(
        "hole_24_an_extent_is_there_before_its_reference",
        hole_24_an_extent_is_there_before_its_reference,
        &["extent-not-synced"],
    ),
    hole(
        "hole_24_zeros_come_over_no_extent",
        hole_24_zeros_come_over_no_extent,
        &["extent-beside-the-zeros", "zeros-over-what-is-reserved"],
    ),
    hole(
        "hole_24_zeros_ahead_change_nothing",
        hole_24_zeros_ahead_change_nothing,
        &[],
    ),
    hole(
        "hole_25_a_reader_is_served_what_it_asked_for",
        hole_25_a_reader_is_served_what_it_asked_for,
        &["recycling-not-checked", "reuse-before-stable"],
    ),
    hole(
        "hole_26_a_tail_that_changed_is_not_written",
        hole_26_a_tail_that_changed_is_not_written,
        &["changed-tail-written"],
    ),
    hole(
        "hole_29_the_floor_stays_behind_the_stable_lsn",
        hole_29_the_floor_stays_behind_the_stable_lsn,
        &["floor-at-the-stable-lsn"],
    ),
    hole(
        "hole_30_a_remove_of_what_is_not_there_is_remembered",
        hole_30_a_remove_of_what_is_not_there_is_remembered,
        &[
            "remove-of-absent-not-logged",
            "remove-of-unstable-not-logged",
            "remove-not-logged",
        ],
    ),
    hole(
        "hole_30_what_was_evicted_goes_with_its_prefix",
        hole_30_what_was_evicted_goes_with_its_prefix,
        &["evicted-keys-outlive-a-prefix"],
    ),
    hole(
        "hole_31_what_is_refused_leaves_the_older_version",
        hole_31_what_is_refused_leaves_the_older_version,
        &["replaced-before-reserved"],
    ),
    hole(
        "hole_32_a_stopped_log_acknowledges_nothing",
        hole_32_a_stopped_log_acknowledges_nothing,
        &["unlogged-when-stopped"],
    ),
    hole(
        "hole_33_a_fetch_never_overwrites",
        hole_33_a_fetch_never_overwrites,
        &["flight-not-superseded", "flights-outlive-a-clear"],
    ),
    hole(
        "hole_34_the_tier_never_serves_an_older_version",
        hole_34_the_tier_never_serves_an_older_version,
        &["tier-by-key"],
    ),
    Hole {
        name: "hole_35_one_identity_is_one_entry",
        run: hole_35_one_identity_is_one_entry,
        luck: &["all-keys-collide"],
        undone_by: &["key-not-compared"],
    },
    hole(
        "hole_36_what_is_stored_is_found",
        hole_36_what_is_stored_is_found,
        &["filter-not-told"],
    ),
    hole(
        "minimal_24_bloom_rebuild_has_no_false_negative",
        filters_built_anew_forget_nothing,
        &["bloom-swap-drops-additions"],
    ),
    hole(
        "hole_37_an_end_that_was_seen_is_for_good",
        hole_37_an_end_that_was_seen_is_for_good,
        &["expired-entry-back"],
    ),
    hole(
        "hole_38_a_frame_without_a_value_is_not_kept",
        hole_38_a_frame_without_a_value_is_not_kept,
        &["any-frame-is-kept"],
    ),
    hole(
        "minimal_15_what_is_moved_may_change_meanwhile",
        meanwhile::hunt,
        &[
            "merge-moves-unconditionally",
            "merge-appends-unconditionally",
            "replayed-move-unconditional",
        ],
    ),
    hole(
        "what_is_pinned_is_there, what_is_low_is_never_moved",
        priorities::hunt,
        &["pinned-is-evicted", "pin-not-replayed", "low-is-kept"],
    ),
    hole(
        "no_chunk_that_rotted_is_given_out",
        a_chunk_rots,
        &["chunk-crc-not-checked"],
    ),
];
