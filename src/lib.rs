//! A log-structured persistent cache that is still warm after a crash.
