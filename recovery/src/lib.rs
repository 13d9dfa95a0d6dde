//! Checkpoint, scan, verdicts and replay for perennial.
