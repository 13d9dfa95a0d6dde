//! Keeps nothing: what is left is the harness.

use std::hint::black_box;

use super::Backend;
use crate::failure::Result;

pub(super) struct Nothing;

impl Backend for Nothing {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        black_box((key, value));
        Ok(())
    }

    fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put(key, value)
    }

    fn get(&self, key: &[u8], _: &mut dyn FnMut(&[u8])) -> Result<bool> {
        black_box(key);
        Ok(false)
    }

    fn remove(&self, key: &[u8]) -> Result<()> {
        black_box(key);
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
