//! Crash injection for storage code: a file system behind traits, one that can crash, and named fault sites.
pub mod fs;
