//! One check on a connection of its own, made like every other to the target: TLS, PROXY header, Unix sockets, uwsgi.

use std::future::poll_fn;
use std::task::{Context, Poll};

use model::gateway::{CheckKind, Scheme};
use model::{Fault, Method, Phase};
use wire::http1::HeadLimits;
use wire::{Framing, RequestHead, ResponseHead};

use super::{Failed, http2};
use crate::body::{Empty, Offer, Source};
use crate::connection::{Request, UploadFailure};
use crate::dial::{DialTimes, Dialed, Purpose, dial};
use crate::failure::Failure;
use crate::http1::Http1;
use crate::pool::head_limits;
use crate::target::{Target, Upstream};

/// How a check calls itself, so that access logs can leave it out.
pub(super) const USER_AGENT: &str = concat!("clearway-health-check/", env!("CARGO_PKG_VERSION"));
/// What is read of an answer's body: enough that a usual one does not end in a reset.
const BODY_MAX: usize = 64 << 10;

/// Asks the target once.
pub(super) async fn ask(upstream: &Upstream, target: &Target, kind: &CheckKind) -> Result<(), Failed> {
    let mut times = DialTimes::default();
    let dialed =
        dial(upstream, target, Purpose::default(), &mut times).await.map_err(|failure| {
            match failure.fault {
                Fault::DnsFailed | Fault::ConnectRefused | Fault::ConnectTimeout | Fault::ConnectFailed => {
                    Failed::Unreachable(failure.fault)
                }
                _ => Failed::Failure(failure),
            }
        })?;
    match kind {
        CheckKind::Tcp => Ok(()),
        CheckKind::Grpc { service } => http2::grpc(dialed.transport, target, service).await,
        CheckKind::Http { path, host, statuses } => {
            let host = host.as_deref().unwrap_or(&target.authority);
            let is_http2 = target.settings.scheme == Scheme::H2c || dialed.transport.alpn() == Some(b"h2");
            let status = if is_http2 {
                http2::get(dialed.transport, target, path, host).await?
            } else {
                get(upstream, target, dialed, path, host).await.map_err(Failed::Failure)?
            };
            let is_expected = statuses.iter().any(|range| range.contains(&status));
            if is_expected { Ok(()) } else { Err(Failed::Status(status)) }
        }
    }
}

/// Over HTTP/1.1 or uwsgi; gives the status.
async fn get(
    upstream: &Upstream,
    target: &Target,
    dialed: Dialed,
    path: &str,
    host: &str,
) -> Result<u16, Failure> {
    let head = request(host).ok_or_else(|| {
        Failure::new(Phase::Send, Fault::Internal).with_detail("a check that cannot be sent")
    })?;
    let mut connection = Http1::new(dialed.transport, target.settings.scheme == Scheme::Uwsgi);
    connection.start(&Request {
        head: &head,
        target: path,
        scheme: if target.settings.scheme == Scheme::Https { "https" } else { "http" },
        authority: host,
        framing: Framing::None,
        script_name: "",
        client: None,
        listener: None,
    })?;
    let limits = head_limits(upstream);
    let mut response = ResponseHead::default();
    poll_fn(|cx| poll_answer(&mut connection, &limits, &mut response, cx)).await?;
    let mut read = 0;
    // Whatever comes of the body: the head has said what there is to say.
    while read < BODY_MAX
        && let Ok(Offer::Piece) = poll_fn(|cx| connection.poll_piece(cx)).await
    {
        let length = connection.piece().len();
        connection.consume(length);
        read += length;
    }
    Ok(response.status)
}

/// Sends the request and waits for the final head.
fn poll_answer(
    connection: &mut Http1,
    limits: &HeadLimits,
    response: &mut ResponseHead,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Failure>> {
    if let Poll::Ready(Err(UploadFailure::Upstream(failure))) = connection.poll_upload(&mut Empty, cx) {
        return Poll::Ready(Err(failure));
    }
    loop {
        match connection.poll_head(&Method::Get, limits, response, cx) {
            Poll::Ready(Ok(facts)) if facts.informational => {}
            Poll::Ready(result) => return Poll::Ready(result.map(|_| ())),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Method and fields; the path goes beside them. `None` cannot be: the host was checked with the configuration.
fn request(host: &str) -> Option<RequestHead> {
    let text = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let limits = HeadLimits { head_bytes: 64 << 10, fields: 16, target_bytes: 32 << 10 };
    let mut head = RequestHead::default();
    wire::parse_request(text.as_bytes(), &limits, &mut head).ok().flatten().map(|_| head)
}
