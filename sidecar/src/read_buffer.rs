//! One buffer per thread to read into: what is read is dealt with before the next read, so no
//! connection needs one of its own.

use std::cell::RefCell;

const SIZE: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; SIZE]);
}

/// Not to be called within itself.
pub(crate) fn with<R>(read: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| read(buffer))
}
