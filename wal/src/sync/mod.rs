//! Atomics, locks, condition variables and threads. Everything in this crate that two threads touch goes through here:
//! the standard library's and `parking_lot`'s, or those of loom (`--cfg loom`) and of shuttle (`--cfg shuttle`).

#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
mod futex;
#[cfg(not(all(target_os = "linux", not(any(loom, shuttle)))))]
mod gate;
#[cfg(loom)]
mod of_loom;
#[cfg(all(shuttle, not(loom)))]
mod of_shuttle;
#[cfg(not(any(loom, shuttle)))]
mod of_system;

#[cfg(loom)]
pub(crate) use of_loom::*;
#[cfg(all(shuttle, not(loom)))]
pub use of_shuttle::*;
#[cfg(not(any(loom, shuttle)))]
pub use of_system::*;

#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
pub(crate) use futex::Gate;
#[cfg(not(all(target_os = "linux", not(any(loom, shuttle)))))]
pub(crate) use gate::Gate;
