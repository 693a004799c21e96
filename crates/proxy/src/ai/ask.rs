//! What a client asks for: its place, its bytes, and, when somebody needs it, what they say.

use std::cell::OnceCell;

use ai::form::Request;
use ai::scan::{Scan, scan};
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
            false => Scan::of_model(multipart_model(content_type, &body)),
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

    /// What it says, for a provider of another protocol.
    pub(crate) fn request(&self) -> Result<&Request, Reject> {
        if let Some(request) = self.request.get() {
            return Ok(request);
        }
        let mut request = self.protocol().decode_request(&self.body)?;
        request.stream = self.stream;
        Ok(self.request.get_or_init(|| request))
    }
}

/// The value of the part `model` of a form (RFC 7578).
fn multipart_model(content_type: &[u8], body: &[u8]) -> Option<Box<str>> {
    let content_type = std::str::from_utf8(content_type).ok()?;
    let (_, boundary) = content_type.split_once("boundary=")?;
    let boundary = format!("--{}", boundary.split(';').next()?.trim().trim_matches('"'));
    let mut rest = body;
    while let Some(at) = memchr::memmem::find(rest, boundary.as_bytes()) {
        rest = rest.get(at + boundary.len()..)?;
        let head_end = memchr::memmem::find(rest, b"\r\n\r\n")?;
        let (head, value) = rest.split_at(head_end + 4);
        if memchr::memmem::find(head, b"name=\"model\"").is_some() {
            let end = memchr::memmem::find(value, b"\r\n")?;
            let name = std::str::from_utf8(value.get(..end)?).ok()?;
            return (name.len() <= 256).then(|| name.into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_a_form_is_found() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nmodel\r\n\
                     --x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--x--\r\n";
        assert_eq!(multipart_model(b"multipart/form-data; boundary=x", body).as_deref(), Some("whisper-1"));
        assert_eq!(multipart_model(b"multipart/form-data; boundary=y", body), None);
        assert_eq!(multipart_model(b"application/json", body), None);
    }
}
