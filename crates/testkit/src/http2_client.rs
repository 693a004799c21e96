//! An HTTP/2 client: requests with bodies and trailers, answers with how their stream ended.

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};

use crate::client::Client;
use crate::header_map::{fields, map};
use crate::stream::Stream;
use crate::wait::{Gate, within};

/// One connection.
#[derive(Debug)]
pub struct Http2Client {
    sender: SendRequest<Bytes>,
    scheme: &'static str,
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

/// A request that was begun.
#[derive(Debug)]
pub struct Http2Request {
    response: ResponseFuture,
    pub body: SendStream<Bytes>,
}

/// An answer, as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http2Response {
    pub informational: Vec<u16>,
    /// 0 if no head came.
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
    /// The code of RST_STREAM, which came before the end of the body.
    pub reset: Option<Reason>,
    /// The connection failed before the end of the body.
    pub failed: Option<String>,
}

impl Http2Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn is_complete(&self) -> bool {
        self.status != 0 && self.reset.is_none() && self.failed.is_none()
    }

    fn fail(&mut self, error: &h2::Error) {
        match error.reason() {
            Some(reason) if error.is_reset() => self.reset = Some(reason),
            _ => self.failed = Some(error.to_string()),
        }
    }
}

impl Http2Client {
    /// Over a connection that was made before, with prior knowledge or agreed by ALPN.
    pub async fn over(client: Client) -> Http2Client {
        let stream = client.into_stream();
        let scheme = if matches!(stream, Stream::Tls(_)) { "https" } else { "http" };
        let handshake = h2::client::handshake(stream);
        let (sender, connection) = within("an HTTP/2 handshake", handshake).await.expect("it speaks HTTP/2");
        Http2Client { sender, scheme, connection: tokio::spawn(connection) }
    }

    /// Begins a request. Fields may name another `:authority`.
    pub async fn begin(
        &mut self,
        method: &str,
        path: &str,
        own: &[(&str, &str)],
        ends: bool,
    ) -> Result<Http2Request, h2::Error> {
        let is_pseudo = |name: &str| name == ":authority";
        let authority = own.iter().find(|(name, _)| is_pseudo(name)).map_or("test", |(_, value)| value);
        let mut request = http::Request::new(());
        *request.method_mut() = method.parse().expect("a method");
        *request.uri_mut() = format!("{}://{authority}{path}", self.scheme).parse().expect("a URI");
        *request.headers_mut() = map(own.iter().copied().filter(|(name, _)| !is_pseudo(name)));
        let mut sender = within("room for a stream", self.sender.clone().ready()).await?;
        let (response, body) = sender.send_request(request, ends)?;
        Ok(Http2Request { response, body })
    }

    /// A whole exchange.
    pub async fn exchange(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Http2Response {
        match self.begin(method, path, fields, body.is_empty()).await {
            Ok(mut request) => {
                if !body.is_empty() {
                    request.send(body, true).await;
                }
                request.response().await
            }
            Err(error) => {
                let mut response = Http2Response::default();
                response.fail(&error);
                response
            }
        }
    }

    pub async fn get(&mut self, path: &str) -> Http2Response {
        self.exchange("GET", path, &[], b"").await
    }

    /// Closes the connection without a word.
    pub fn abort(self) {
        self.connection.abort();
    }

    /// Waits for the end of the connection.
    pub async fn closed(self) -> Result<(), h2::Error> {
        drop(self.sender);
        within("the end of an HTTP/2 connection", self.connection).await.expect("it is not aborted")
    }
}

impl Http2Request {
    /// Sends a part of the body as the windows allow; a stream that was reset takes nothing more.
    pub async fn send(&mut self, bytes: &[u8], ends: bool) {
        send(&mut self.body, bytes, ends).await;
    }

    /// Ends the body with trailers.
    pub fn send_trailers(&mut self, trailers: &[(&str, &str)]) {
        let _ = self.body.send_trailers(map(trailers.iter().copied()));
    }

    /// The status of the next interim answer; `None` if the final one came first.
    pub async fn informational(&mut self) -> Option<u16> {
        let interim = std::future::poll_fn(|cx| self.response.poll_informational(cx));
        let interim = within("an interim HTTP/2 response", interim).await;
        interim.and_then(Result::ok).map(|response| response.status().as_u16())
    }

    /// The answer, as far as it comes.
    pub async fn response(self) -> Http2Response {
        self.response_opening(None).await
    }

    /// The answer to a request whose body is still on its way.
    pub async fn response_while_sending(self, bytes: &[u8]) -> Http2Response {
        let Http2Request { response, mut body } = self;
        let sending = async {
            send(&mut body, bytes, true).await;
            std::future::pending::<()>().await;
        };
        let response = async {
            tokio::select! {
                response = collect(response, None) => response,
                () = sending => unreachable!("it never ends"),
            }
        };
        within("an HTTP/2 response", response).await
    }

    /// The answer, as far as it comes; the first piece of its body opens the gate.
    pub async fn response_opening(self, gate: Option<Gate>) -> Http2Response {
        within("an HTTP/2 response", collect(self.response, gate)).await
    }
}

async fn send(stream: &mut SendStream<Bytes>, mut bytes: &[u8], ends: bool) {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return };
        let (now, later) = bytes.split_at(room.min(bytes.len()));
        bytes = later;
        if stream.send_data(Bytes::copy_from_slice(now), ends && later.is_empty()).is_err() {
            return;
        }
    }
}

async fn collect(mut response: ResponseFuture, gate: Option<Gate>) -> Http2Response {
    let mut collected = Http2Response::default();
    while let Some(Ok(informational)) = std::future::poll_fn(|cx| response.poll_informational(cx)).await {
        collected.informational.push(informational.status().as_u16());
    }
    let (parts, mut body) = match response.await {
        Ok(response) => response.into_parts(),
        Err(error) => {
            collected.fail(&error);
            return collected;
        }
    };
    collected.status = parts.status.as_u16();
    collected.fields = fields(&parts.headers);
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                let _ = body.flow_control().release_capacity(data.len());
                collected.body.extend_from_slice(&data);
                if let Some(gate) = &gate {
                    gate.open();
                }
            }
            Err(error) => {
                collected.fail(&error);
                return collected;
            }
        }
    }
    match body.trailers().await {
        Ok(Some(trailers)) => collected.trailers = fields(&trailers),
        Ok(None) => {}
        Err(error) => collected.fail(&error),
    }
    collected
}
