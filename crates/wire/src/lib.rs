//! HTTP/1.1 without I/O: bytes in, bytes out. Heads, bodies, canonical paths, hop-by-hop rules; beside them the uwsgi
//! protocol, the PROXY protocol and a server-sent-events framer.
//!
//! Nothing here reads a socket, a clock or a file. What is parsed is strict by RFC 9110 and RFC 9112, because a gateway that
//! guesses can be smuggled through; what is sent is rebuilt from what was parsed. Every structure is reused: at steady state
//! parsing and encoding a message allocate nothing.
//!
//! All parsers are incremental by re-reading: they are given everything received so far and answer `None` until it is
//! enough. The answer never depends on how the bytes were split.

mod authority;
pub mod body;
pub mod encode;
pub mod fields;
pub mod head;
pub mod hop;
pub mod http1;
mod known;
mod lines;
pub mod path;
pub mod proxy_protocol;
mod rules;
mod scan;
pub mod sse;
pub mod uwsgi;

pub use body::{BodyDecoder, BodyError, Step};
pub use encode::{CHUNK_END, chunk_head, encode_request_head, encode_response_head, last_chunk, reason};
pub use fields::{Field, Fields};
pub use head::{Framing, RequestHead, ResponseHead, Target, Version};
pub use hop::{
    HopByHop, drop_testimony, drop_underscore_names, filter_trailers, strip_hop_by_hop,
    strip_hop_by_hop_but_upgrade,
};
pub use http1::{
    H2_PREFACE, HeadLimits, RequestError, RequestFacts, ResponseError, ResponseFacts, check_http2_request,
    check_http2_response, parse_request, parse_response,
};
pub use known::Known;
pub use lines::LineError;
pub use path::PathError;
