//! The command as a shell sees it: exit status, stdout, stderr, and what is in the directory then.
#![expect(
    clippy::disallowed_methods,
    reason = "makes the files that the command is to find"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod benching;
mod demo;
mod entries;
mod every_command;
mod exporting;
mod importing;
mod inspecting;
mod listing;
mod looking;
mod pages;
mod repairing;
mod settings;
mod support;
