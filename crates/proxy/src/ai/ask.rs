//! What a client asks for: its place, its bytes, and, when somebody needs it, what they say.

use std::cell::OnceCell;

use ai::form::Request;
use ai::scan::{Scan, check_model, scan, scan_form};
use ai::{Endpoint, Operation, Protocol, Reject, Speak};
use bytes::Bytes;
use model::Method;
use wire::{Fields, Known, RequestHead};

/// A request that was read.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) endpoint: Endpoint,
    pub(crate) method: Method,
    pub(crate) body: Bytes,
    pub(crate) content_type: Box<[u8]>,
    pub(crate) scan: Scan,
    pub(crate) stream: bool,
    /// The place without what comes before the operation: `/chat/completions`.
    pub(crate) rest: Box<str>,
    /// What follows the model in Google's places: `generateContent`.
    pub(crate) verb: Box<str>,
    /// Without the caller's key.
    pub(crate) query: Box<str>,
    /// Fields that a provider of the same protocol may see.
    pub(crate) fields: Fields,
    request: OnceCell<Request>,
}

/// What SDKs tell their provider beside the body. Everything else stays here: it may be anybody's secret.
const FIELDS: [&[u8]; 4] = [b"anthropic-version", b"anthropic-beta", b"openai-beta", b"idempotency-key"];

/// Where the operations of OpenAI's family begin in a path.
const OPERATIONS: [&str; 10] = [
    "/chat/completions",
    "/embeddings",
    "/rerank",
    "/images/",
    "/audio/",
    "/moderations",
    "/completions",
    "/files",
    "/batches",
    "/responses",
];

impl Ask {
    pub(crate) fn new(endpoint: Endpoint, head: &RequestHead, body: Bytes) -> Result<Ask, Reject> {
        let content_type = head.fields.get(Known::ContentType).unwrap_or_default();
        let scan = match endpoint.operation.has_json_body() && !content_type.starts_with(b"multipart/") {
            true => scan(&body)?,
            false => scan_form(content_type, &body),
        };
        let path = head.target.path();
        let at = OPERATIONS.iter().find_map(|operation| path.find(operation));
        let query = head.target.query().unwrap_or_default().split('&');
        let query: Vec<&str> = query.filter(|pair| !pair.is_empty() && !pair.starts_with("key=")).collect();
        let mut fields = Fields::new();
        for name in FIELDS {
            head.fields.find_all(name).for_each(|value| fields.push(name, value));
        }
        let ask = Ask {
            stream: endpoint.operation == Operation::Generate && endpoint.stream.unwrap_or(scan.stream),
            rest: path.get(at.unwrap_or(0)..).unwrap_or_default().into(),
            verb: path.rsplit_once(':').map_or("", |(_, verb)| verb).into(),
            query: query.join("&").into(),
            fields,
            method: head.method.clone(),
            body,
            content_type: content_type.into(),
            scan,
            endpoint,
            request: OnceCell::new(),
        };
        let needs_model =
            ask.endpoint.operation.has_json_body() && ask.endpoint.operation != Operation::Moderations;
        if needs_model && ask.model().is_empty() {
            return Err(Reject { param: "model".to_owned(), message: "is missing".to_owned() });
        }
        check_model(ask.model())?;
        Ok(ask)
    }

    /// The model as the client named it; empty where it names none.
    pub(crate) fn model(&self) -> &str {
        self.endpoint.model.as_deref().or(self.scan.model.as_deref()).unwrap_or_default()
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.endpoint.protocol
    }

    /// Whether a streaming client wants to be told the usage: of the chat protocol only if it asks.
    pub(crate) fn request_usage(&self) -> bool {
        self.request.get().is_none_or(|request| request.stream_usage)
    }

    /// Whether Google would stream a JSON array: the client did not ask for server-sent events.
    pub(crate) fn wants_array(&self) -> bool {
        self.protocol() == Protocol::Gemini
            && self.stream
            && !self.query.split('&').any(|pair| pair == "alt=sse")
    }

    /// What it says, for a provider of another protocol.
    pub(crate) fn request(&self) -> Result<&Request, Reject> {
        if self.wants_array() {
            let message = "must be sse for a stream of another provider's model";
            return Err(Reject { param: "alt".to_owned(), message: message.to_owned() });
        }
        if let Some(request) = self.request.get() {
            return Ok(request);
        }
        let mut request = self.protocol().decode_request(&self.body)?;
        request.stream = self.stream;
        Ok(self.request.get_or_init(|| request))
    }
}
