#![doc = include_str!("../README.md")]

pub mod fs;
pub mod lab;
mod mutants;
mod plan;
mod site;
mod span;

pub use fs::sim_fs::{Shows, SimFs, Syncs};
pub use fs::std_fs::StdFs;
pub use fs::{
    Dir, DirEntry, File, Fs, LockGuard, OpenMode, SharedMap, read_exact_at, write_all_at,
};
#[cfg(not(feature = "planted-bugs"))]
#[doc(hidden)]
pub use mutants::no_mutant;
#[cfg(feature = "planted-bugs")]
pub use mutants::planted;
pub use plan::{Action, Call, CallKind, FaultFs, Plan};
#[cfg(feature = "failpoints")]
pub use site::sites;
pub use span::Span;
