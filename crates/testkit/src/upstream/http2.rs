//! An upstream that speaks HTTP/2 as a library does; frames that no library sends are in [`crate::frames`].

use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Response, StatusCode};

use super::{AnsweringHttp2, Record};
use crate::header_map::{fields, map};
use crate::message::Request;
use crate::net::End;
use crate::stream::Stream;

/// How an answer ends.
#[derive(Clone, Debug, Default)]
pub enum Http2End {
    /// With the trailers, or with the last data.
    #[default]
    Complete,
    /// With RST_STREAM.
    Reset(Reason),
    /// Never.
    Stall,
}

/// An answer on one stream.
#[derive(Clone, Debug)]
pub struct Http2Answer {
    /// 1xx responses that come first.
    pub informational: Vec<u16>,
    /// `None`: no head at all, only the end.
    pub status: Option<u16>,
    pub fields: Vec<(&'static str, String)>,
    pub body: Vec<Bytes>,
    pub trailers: Vec<(&'static str, &'static str)>,
    pub end: Http2End,
}

impl Http2Answer {
    pub fn ok(body: &'static str) -> Http2Answer {
        Http2Answer {
            informational: Vec::new(),
            status: Some(200),
            fields: Vec::new(),
            body: vec![Bytes::from_static(body.as_bytes())],
            trailers: Vec::new(),
            end: Http2End::Complete,
        }
    }
}

pub(super) async fn serve(stream: Stream, answer: Arc<AnsweringHttp2>, streams_max: u32, record: &Record) {
    let handshake = h2::server::Builder::new().max_concurrent_streams(streams_max).handshake(stream);
    let Ok(mut connection) = handshake.await else { return record.ended(End::Rst) };
    let mut streams = tokio::task::JoinSet::new();
    loop {
        match connection.accept().await {
            Some(Ok((request, respond))) => {
                streams.spawn(exchange(request, respond, answer.clone(), record.clone()));
            }
            Some(Err(error)) => {
                return record.ended(error.get_io().map_or(End::Rst, End::of));
            }
            None => return record.ended(End::Fin),
        }
    }
}

async fn exchange(
    request: http::Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: Arc<AnsweringHttp2>,
    record: Record,
) {
    let (parts, mut body) = request.into_parts();
    let mut received = Request {
        connection: record.number,
        method: parts.method.to_string(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        version: "HTTP/2".to_owned(),
        fields: fields(&parts.headers),
        body: Vec::new(),
        trailers: Vec::new(),
    };
    let authority = parts.uri.authority().map(ToString::to_string).unwrap_or_default();
    received.fields.insert(0, (":authority".to_owned(), authority));
    received.fields.insert(1, (":scheme".to_owned(), parts.uri.scheme_str().unwrap_or("").to_owned()));
    while let Some(data) = body.data().await {
        let Ok(data) = data else { return };
        let _ = body.flow_control().release_capacity(data.len());
        received.body.extend_from_slice(&data);
    }
    if let Ok(Some(trailers)) = body.trailers().await {
        received.trailers = fields(&trailers);
    }
    let answer = answer(&received);
    record.request(received);
    // A stream that the peer has reset takes nothing more.
    let _ = send(answer, &mut respond).await;
}

async fn send(answer: Http2Answer, respond: &mut SendResponse<Bytes>) -> Result<(), h2::Error> {
    for status in &answer.informational {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(*status).expect("a status");
        respond.send_informational(response)?;
    }
    if let Some(status) = answer.status {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        let own = answer.fields.iter().map(|(name, value)| (*name, value.as_str()));
        *response.headers_mut() = map(own);
        let is_complete = matches!(answer.end, Http2End::Complete);
        let ends_with_head = is_complete && answer.body.is_empty() && answer.trailers.is_empty();
        let mut stream = respond.send_response(response, ends_with_head)?;
        let last = answer.body.len().saturating_sub(1);
        for (number, data) in answer.body.into_iter().enumerate() {
            stream.send_data(data, is_complete && number == last && answer.trailers.is_empty())?;
        }
        if is_complete && !answer.trailers.is_empty() {
            stream.send_trailers(map(answer.trailers.iter().copied()))?;
        }
    }
    match answer.end {
        Http2End::Complete => {}
        Http2End::Reset(reason) => respond.send_reset(reason),
        Http2End::Stall => std::future::pending::<()>().await,
    }
    Ok(())
}
