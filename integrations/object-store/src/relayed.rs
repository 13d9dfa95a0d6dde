//! Errors on their way from the store below to whoever waited for it.

use std::fmt::Display;

/// The source of an error that the store below gave once, in the copy for one of those who waited: the errors of object_store
/// cannot be cloned. The original is among its own sources.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Relayed {
    message: String,
    source: perennial::Error,
}

impl Relayed {
    pub(crate) fn new(message: &impl Display, source: perennial::Error) -> Self {
        Self {
            message: message.to_string(),
            source,
        }
    }
}

/// The store has been written to, and what the cache knows may be of before.
#[derive(Debug, thiserror::Error)]
#[error("it is done, but the cache cannot forget what was there before: {source}")]
pub(crate) struct NotForgotten {
    pub(crate) source: perennial::Error,
}
