//! One file per promise, over the public face.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod a_failing_disk_never_lies;
mod a_fetch_never_overwrites;
mod a_shortage_costs_nothing;
mod accounts;
mod admission_and_back_pressure;
mod an_index_loaded_later;
mod clean_reopen_keeps_everything;
mod compression;
mod eight_threads_one_thousand_keys;
mod entries_are_copied_whole;
mod entries_end_in_time;
mod every_call_fails_under_threads;
mod evictions_are_told;
mod filters;
mod fixtures;
mod holes;
mod inserts_with_options;
mod it_says_how_it_is;
mod it_tells_what_it_does;
mod killed_recovery;
mod listing_and_clearing;
mod merges;
mod model;
mod moving_the_tail;
mod opens_side_by_side;
mod options_and_limits;
mod priorities;
mod read_back;
mod read_only;
mod reclaim_keeps_to_its_budget;
mod resizing;
mod rot_is_a_miss;
mod small;
mod strangers_are_left_alone;
mod the_documents;
mod the_format_is_as_documented;
mod the_packages;
mod typed_faces;
mod typed_keys_and_values;
mod verify;
