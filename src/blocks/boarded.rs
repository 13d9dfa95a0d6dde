//! Waiting for a flight, as a thread or as a task.

use std::sync::Arc;

use crate::blocks::age::AsOf;
use crate::blocks::flights::{Flight, Landing};
use crate::blocks::registry::Registry;
use crate::blocks::wait::{Cancel, Parker};

/// Somebody who waits for a flight; leaves it when dropped.
pub(super) struct Boarded<T: Clone> {
    registry: Arc<Registry<T>>,
    flight: Arc<Flight<T>>,
    parker: Arc<Parker>,
}

impl<T: Clone> Boarded<T> {
    /// Of a flight that was boarded with this parker.
    pub(super) fn new(
        registry: &Arc<Registry<T>>,
        flight: Arc<Flight<T>>,
        parker: &Arc<Parker>,
    ) -> Self {
        Self {
            registry: Arc::clone(registry),
            flight,
            parker: Arc::clone(parker),
        }
    }

    /// Waits for the landing; `None` when cancelled before.
    pub(super) fn landed(&self, cancel: Option<&Cancel>) -> Option<Landing<T>> {
        self.until(cancel, Flight::landed)
    }

    /// Waits until it is over, and says whether it was kept; `None` when cancelled before.
    pub(super) fn over(&self, cancel: Option<&Cancel>) -> Option<bool> {
        self.until(cancel, Flight::over)
    }

    pub(super) fn as_of(&self) -> AsOf {
        self.flight.as_of()
    }

    fn until<U>(
        &self,
        cancel: Option<&Cancel>,
        ready: impl Fn(&Flight<T>) -> Option<U>,
    ) -> Option<U> {
        loop {
            if let Some(out) = ready(&self.flight) {
                return Some(out);
            }
            if cancel.is_some_and(Cancel::is_cancelled) {
                return None;
            }
            self.parker.park();
        }
    }

    /// The same as [`landed`](Self::landed) for a task.
    #[cfg(feature = "tokio")]
    pub(super) async fn landed_for_task(&self, cancel: Option<&Cancel>) -> Option<Landing<T>> {
        self.until_for_task(cancel, Flight::landed).await
    }

    /// The same as [`over`](Self::over) for a task.
    #[cfg(feature = "tokio")]
    pub(super) async fn over_for_task(&self, cancel: Option<&Cancel>) -> Option<bool> {
        self.until_for_task(cancel, Flight::over).await
    }

    #[cfg(feature = "tokio")]
    async fn until_for_task<U>(
        &self,
        cancel: Option<&Cancel>,
        ready: impl Fn(&Flight<T>) -> Option<U>,
    ) -> Option<U> {
        use std::task::Poll;

        std::future::poll_fn(|task| {
            // Before the look: who lands after it wakes.
            self.parker.wakes(task.waker());
            if let Some(out) = ready(&self.flight) {
                return Poll::Ready(Some(out));
            }
            if cancel.is_some_and(Cancel::is_cancelled) {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }
}

impl<T: Clone> Drop for Boarded<T> {
    fn drop(&mut self) {
        self.registry.leave(&self.flight, &self.parker);
    }
}
