//! A full fence in every thread of this process, for one system call: Linux's `membarrier(2)`.
//!
//! Who orders many cheap steps against one rare one leaves the fence out of the cheap ones, where only the compiler is kept
//! from moving them, and makes the rare one pay for all.

/// Prepares the process for [`fence_all_threads`]. False: there is no such thing here. The first time it takes up to twenty
/// milliseconds, where there are threads already.
#[must_use]
pub fn can_fence_all_threads() -> bool {
    sys::prepare()
}

/// Every other thread that runs makes a full fence between the call and the return, and so does this one. False: it was not
/// made.
#[must_use]
pub fn fence_all_threads() -> bool {
    sys::fence()
}

#[cfg(all(target_os = "linux", not(miri)))]
mod sys {
    use rustix::thread::{MembarrierCommand, membarrier};

    pub(super) fn prepare() -> bool {
        membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok()
    }

    pub(super) fn fence() -> bool {
        membarrier(MembarrierCommand::PrivateExpedited).is_ok()
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod sys {
    pub(super) fn prepare() -> bool {
        false
    }

    pub(super) fn fence() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_does() {
        if can_fence_all_threads() {
            assert!(fence_all_threads());
        }
    }
}
