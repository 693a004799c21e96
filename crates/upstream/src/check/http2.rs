//! Checks over HTTP/2: a GET, and `grpc.health.v1.Health/Check`.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/health-checking.md>. Its two messages have one field each, so that they are
//! written and read by hand.

use std::future::Future;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Method, Request, Response, Version};
use model::gateway::Scheme;
use model::{Fault, Phase};

use super::Failed;
use super::exchange::USER_AGENT;
use crate::failure::Failure;
use crate::io::Transport;
use crate::target::Target;

/// The most that is read of an answer to gRPC: one message of a few bytes.
const MESSAGE_MAX: usize = 1 << 10;

/// A GET; gives the status.
pub(super) async fn get(io: Transport, target: &Target, path: &str, host: &str) -> Result<u16, Failed> {
    let request = request(Method::GET, target, host, path).body(()).map_err(unsendable)?;
    let ask = async |mut sender: SendRequest<Bytes>| {
        let (response, _) = sender.send_request(request, true).map_err(broken)?;
        Ok(response.await.map_err(broken)?.status().as_u16())
    };
    over(io, ask).await
}

/// Whether the service is `SERVING`; the empty name stands for the whole server.
pub(super) async fn grpc(io: Transport, target: &Target, service: &str) -> Result<(), Failed> {
    if target.settings.scheme == Scheme::Https && io.alpn() != Some(b"h2") {
        return Err(Failed::Said("needs HTTP/2, which the target does not speak".to_owned()));
    }
    let request = request(Method::POST, target, &target.authority, "/grpc.health.v1.Health/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(unsendable)?;
    let message = frame(service);
    let ask = async |mut sender: SendRequest<Bytes>| {
        let (response, mut body) = sender.send_request(request, false).map_err(broken)?;
        body.send_data(message, true).map_err(broken)?;
        judge(response.await.map_err(broken)?).await
    };
    over(io, ask).await
}

fn request(method: Method, target: &Target, host: &str, path: &str) -> http::request::Builder {
    let scheme = if target.settings.scheme == Scheme::Https { "https" } else { "http" };
    Request::builder()
        .method(method)
        .version(Version::HTTP_2)
        .uri(format!("{scheme}://{host}{path}"))
        .header("user-agent", USER_AGENT)
}

/// Drives a connection for as long as one exchange on it takes.
async fn over<T, F>(io: Transport, ask: impl FnOnce(SendRequest<Bytes>) -> F) -> Result<T, Failed>
where
    F: Future<Output = Result<T, Failed>>,
{
    let (sender, connection) = Builder::new().handshake::<_, Bytes>(io).await.map_err(broken)?;
    let (connection, asking) = (std::pin::pin!(connection), std::pin::pin!(ask(sender)));
    match futures_util::future::select(asking, connection).await {
        futures_util::future::Either::Left((result, _)) => result,
        // The exchange knows best what the end of its connection means for it.
        futures_util::future::Either::Right((_, asking)) => asking.await,
    }
}

async fn judge(response: Response<h2::RecvStream>) -> Result<(), Failed> {
    let (head, mut body) = response.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(Failed::Status(head.status.as_u16()));
    }
    // An answer without a message has its status in the head.
    if let Some(code) = status(&head.headers).filter(|code| code != "0") {
        return Err(Failed::Said(refusal(&code)));
    }
    let mut message = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece.map_err(broken)?;
        let _ = body.flow_control().release_capacity(piece.len());
        if message.len() + piece.len() > MESSAGE_MAX {
            return Err(Failed::Said("is not answered as the protocol says: too long".to_owned()));
        }
        message.extend_from_slice(&piece);
    }
    let trailers = body.trailers().await.map_err(broken)?.unwrap_or_default();
    match (status(&trailers).as_deref(), serving_status(&message)) {
        (Some("0"), Some(1)) => Ok(()),
        (Some("0"), Some(0)) => Err(Failed::Said("says UNKNOWN".to_owned())),
        (Some("0"), Some(2)) => Err(Failed::Said("says NOT_SERVING".to_owned())),
        (Some("0"), Some(3)) => Err(Failed::Said("says SERVICE_UNKNOWN".to_owned())),
        (Some("0") | None, _) => Err(Failed::Said("is not answered as the protocol says".to_owned())),
        (Some(code), _) => Err(Failed::Said(refusal(code))),
    }
}

fn status(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("grpc-status")?.to_str().ok()?.to_owned())
}

/// The codes that a health service answers with.
fn refusal(code: &str) -> String {
    match code {
        "5" => "is answered NOT_FOUND: the server knows no service of this name".to_owned(),
        "12" => "is answered UNIMPLEMENTED: the server has no health service".to_owned(),
        _ => format!("is answered with gRPC status {code}"),
    }
}

/// `HealthCheckRequest`: field 1, the name; with the prefix of a message that is not compressed.
fn frame(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(FIELD_1_BYTES);
        // The name has at most 127 bytes, so that its length is one.
        message.put_u8(u8::try_from(service.len()).unwrap_or(u8::MAX));
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

/// Tags of Protocol Buffers: the number of the field, and how its value is written.
const FIELD_1_BYTES: u8 = 1 << 3 | 2;
const FIELD_1_NUMBER: u8 = 1 << 3;

/// `HealthCheckResponse`: field 1, the status. A zero is left out.
fn serving_status(framed: &[u8]) -> Option<u8> {
    match framed.get(5..) {
        Some([]) => Some(0),
        Some([FIELD_1_NUMBER, status @ 0..0x80]) => Some(*status),
        _ => None,
    }
}

fn unsendable(error: http::Error) -> Failed {
    Failed::Failure(Failure::new(Phase::Send, Fault::Internal).with_detail(error.to_string()))
}

fn broken(error: h2::Error) -> Failed {
    Failed::Failure(Failure::new(Phase::AwaitHead, Fault::Reset).with_detail(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(&frame("")[..], b"\0\0\0\0\0");
        assert_eq!(&frame("shop.Orders")[..], b"\0\0\0\0\x0d\x0a\x0bshop.Orders");
        assert_eq!(serving_status(b"\0\0\0\0\x02\x08\x01"), Some(1));
        assert_eq!(serving_status(b"\0\0\0\0\0"), Some(0));
        assert_eq!(serving_status(b"\0\0\0\0\x02\x10\x01"), None);
        assert_eq!(serving_status(b"\0"), None);
    }
}
