//! What state the cache is in, why, and since when: `docs/architecture.md`, *Health*.
//!
//! ```text
//!             no room, no handles: a call is refused            a failed write or sync, a thread's panic
//!   Healthy ─────────────────────────────────────► ReadOnly ──────────────────────────────────────────► ReadOnly
//!      ▲                                               │                                               │ MemoryOnly
//!      └────────── a call of that kind succeeds ───────┘        (as the policy says; only an open leaves it) Failed
//! ```

mod keeper;
mod unlogged;

use std::fmt;
use std::sync::Arc;

use perennial_wal::{WalError, filling};

pub(crate) use keeper::{Gate, Keeper};
pub(crate) use unlogged::Unlogged;

use crate::error::Error;

/// What a cache does after a write or sync of its log has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnIoError {
    /// Reads go on; whatever would write answers [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned).
    #[default]
    ReadOnly,
    /// Reads go on, and plain inserts and removes, too, in memory of the memory tier's size. Once there was one, the next open
    /// in this boot begins empty. Without a mapped tail, without a memory tier, or where the system does not say which boot it is
    /// ([`Fs::boot_id`](perennial_failpoints::fs::Fs::boot_id)), it is [`ReadOnly`](Self::ReadOnly).
    MemoryOnly,
    /// Every call but [`stats`](crate::Cache::stats), [`health`](crate::Cache::health) and [`close`](crate::Cache::close)
    /// answers [`ErrorKind::Poisoned`](crate::ErrorKind::Poisoned), reads among them.
    FailStop,
}

/// What the cache can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthState {
    /// Everything.
    #[default]
    Healthy,
    /// It reads. What would write is refused: for good, or until there is room again ([`Health::passes`]).
    ReadOnly,
    /// It reads, and keeps what is stored in memory: a restart loses it.
    MemoryOnly,
    /// Nothing.
    Failed,
}

/// What brought the cache into its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthCause {
    /// The disk, or a quota, is full. It passes.
    NoSpace,
    /// The system had no handle or no memory. It passes.
    Shortage,
    /// A write or sync failed: what the device kept is unknown. It stays until the cache is opened again.
    Io,
    /// A thread of the cache panicked, which is a bug of ours. It stays likewise.
    Panic,
}

impl HealthCause {
    fn passes(self) -> bool {
        matches!(self, Self::NoSpace | Self::Shortage)
    }

    /// What stops the log.
    pub(crate) fn of_failure(error: &WalError) -> Self {
        match error {
            WalError::Panicked(_) => Self::Panic,
            _ => Self::Io,
        }
    }

    /// What refuses a call, and may be over with the next.
    pub(crate) fn of_refusal(error: &Error) -> Option<Self> {
        let error = error.cause::<WalError>()?;
        if error.is_no_space() {
            Some(Self::NoSpace)
        } else {
            error.is_shortage().then_some(Self::Shortage)
        }
    }
}

/// The state of a cache at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Health {
    /// What it can do.
    pub state: HealthState,
    /// Why it is not healthy.
    pub cause: Option<HealthCause>,
    /// The same in a sentence, with what was tried on which file. Empty while it is healthy.
    pub reason: String,
    /// When it came into this state, in milliseconds since 1970; 0: it never was in another.
    pub since_ms: u64,
    /// How often the state has changed since the open.
    pub changes: u64,
}

impl Health {
    /// True while calls are refused for a cause that passes without another open.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.cause.is_some_and(HealthCause::passes)
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::ReadOnly => "read-only",
            Self::MemoryOnly => "memory-only",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.reason {
            "" => write!(f, "{}", self.state),
            reason => write!(f, "{}: {reason}", self.state),
        }
    }
}

/// Hears of each change of state; see [`Options::on_health`](crate::Options::on_health). A closure is one.
pub trait HealthListener: Send + Sync {
    /// The cache is in this state now.
    fn changed(&self, health: &Health);
}

impl<F: Fn(&Health) + Send + Sync> HealthListener for F {
    fn changed(&self, health: &Health) {
        self(health);
    }
}

/// The listener of an open cache.
#[derive(Clone)]
pub(crate) struct Ear(pub(crate) Arc<dyn HealthListener>);

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ear")
    }
}

impl Ear {
    /// What waits answers an error to whoever asks in here: this thread may hold the log. A panic stays in here.
    fn tell(&self, health: &Health) {
        let tell = || filling(|| self.0.changed(health));
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(tell)).is_err() {
            tracing::error!("the health listener panicked; the cache goes on");
        }
    }
}
