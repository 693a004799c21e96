//! Read buffers that are lent while a connection is active and come back when it idles.
//!
//! An idle connection holds no buffer; a busy worker does not go to the allocator for each request.

use std::cell::RefCell;

use bytes::BytesMut;

/// Large enough for nearly every request or response head and many small bodies in one read.
pub const READ_BYTES: usize = 16 << 10;

/// Buffers kept for reuse per thread: as many as connections are usually active at once; 1 MiB at most.
const KEPT_MAX: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for at least [`READ_BYTES`].
pub fn lend() -> BytesMut {
    FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(READ_BYTES))
}

/// Takes a buffer back; its content is forgotten. One that has grown or is shared is dropped.
pub fn give_back(mut buffer: BytesMut) {
    buffer.clear();
    if buffer.capacity() != READ_BYTES {
        // A buffer that was advanced but not shared gets its front back here without an allocation.
        if !buffer.try_reclaim(READ_BYTES) || buffer.capacity() > READ_BYTES {
            return;
        }
    }
    FREE.with_borrow_mut(|free| {
        if free.len() < KEPT_MAX {
            free.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;

    #[test]
    fn a_used_buffer_comes_back_whole_and_a_grown_one_is_dropped() {
        let mut buffer = lend();
        buffer.extend_from_slice(b"some request");
        buffer.advance(5);
        give_back(buffer);
        let again = lend();
        assert!(again.is_empty());
        assert_eq!(again.capacity(), READ_BYTES);

        let mut large = lend();
        large.reserve(READ_BYTES * 4);
        give_back(large);
        assert_eq!(lend().capacity(), READ_BYTES);
    }
}
