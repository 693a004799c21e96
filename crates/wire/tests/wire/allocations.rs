//! At steady state, with structures that have been used before, nothing is allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use model::Method;
use wire::{
    BodyDecoder, Framing, Known, RequestHead, ResponseHead, Version, encode_request_head,
    encode_response_head, parse_request, parse_response,
};

/// The system's allocator, counting what the current thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    // A thread that ends may allocate after its counter is gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[test]
fn a_second_exchange_allocates_nothing() {
    let request = b"POST /a/%7e/../b?q=1 HTTP/1.1\r\nHost: Example.com:8080\r\nConnection: keep-alive, x-a\r\nX-A:1\r\nX_B: 2\r\n\
        TE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = b"4\r\nbody\r\n0\r\nX-Trailer: t\r\n\r\n";
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\nServer: gunicorn\r\n\r\n";
    let (mut head, mut answer) = (RequestHead::default(), ResponseHead::default());
    let (mut decoder, mut out) = (BodyDecoder::default(), Vec::new());
    let mut exchange = || {
        out.clear();
        parse_request(request, &crate::request::LIMITS, &mut head).unwrap().unwrap();
        wire::strip_hop_by_hop(&mut head.fields);
        wire::drop_underscore_names(&mut head.fields);
        head.fields.set(Known::XForwardedFor, b"192.0.2.1");
        head.fields.set(Known::Host, b"target");
        encode_request_head(&mut out, &head.method, head.target.path_and_query(), &head.fields);
        decoder.reset(Framing::Chunked);
        // In two pieces, so that the trailers must be kept.
        for mut piece in [&body[..15], &body[15..]] {
            while !piece.is_empty() {
                let step = decoder.decode(piece).unwrap();
                wire::chunk_head(&mut out, step.data.len());
                out.extend_from_slice(step.data);
                piece = &piece[step.consumed..];
            }
        }
        wire::last_chunk(&mut out, Some(decoder.trailers()));
        parse_response(response, &crate::response::LIMITS, &Method::Get, &mut answer).unwrap().unwrap();
        encode_response_head(&mut out, Version::Http11, answer.status, &answer.reason, &answer.fields);
    };
    exchange();
    let before = ALLOCATIONS.get();
    exchange();
    assert_eq!(ALLOCATIONS.get() - before, 0);
    assert!(before > 0, "the first exchange must have been counted");
    assert!(String::from_utf8(out).unwrap().contains("\r\nX-Trailer: t\r\n\r\nHTTP/1.1 200 OK\r\n"));
}
