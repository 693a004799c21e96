//! What the client sees when Clearway itself answers: a problem document (RFC 9457), or a plain page for browsers.
//!
//! The public sentence says what happened and what the client can do. Nothing about the inside is in it: no names of
//! targets, no addresses, no library's reasons.

use std::time::Duration;

use bytes::Bytes;
use model::gateway::Service;
use model::{Fault, Method, RequestId};
use wire::{Fields, Known, ResponseHead};

use crate::ai::Words;

/// An answer of our own.
#[derive(Debug)]
pub(crate) struct Answer {
    pub fault: Fault,
    pub status: u16,
    /// The methods that would have been right, for a 405.
    pub allow: Vec<Method>,
    pub challenge: Option<Box<str>>,
    /// Beside the public sentence, for clients of AI protocols.
    pub words: Option<Box<Words>>,
    /// For a 503 and a 429: when it is worth while to ask again, at least a second.
    pub retry_after: Duration,
}

impl Answer {
    pub(crate) fn new(fault: Fault) -> Answer {
        // What is full now is usually not full a second later.
        let retry_after = Duration::from_secs(1);
        Answer { fault, status: fault.status(), allow: Vec::new(), challenge: None, words: None, retry_after }
    }

    /// Fills the head and gives the body. Content-Length is in the head.
    pub(crate) fn write(
        &self,
        head: &mut ResponseHead,
        request: &Fields,
        id: RequestId,
        service: Option<&Service>,
    ) -> Bytes {
        head.clear();
        if request.get(Known::ContentType).is_some_and(|kind| kind.starts_with(b"application/grpc")) {
            self.write_grpc(&mut head.fields);
            head.status = 200;
            return Bytes::new();
        }
        head.status = self.status;
        let accept = request.get(Known::Accept);
        let (content_type, body) = self.body(accept, id, service);
        let fields = &mut head.fields;
        fields.push_known(Known::ContentType, content_type.as_bytes());
        fields.push_known(Known::ContentLength, body.len().to_string().as_bytes());
        fields.push_known(Known::CacheControl, b"no-store");
        self.write_extra_fields(fields);
        Bytes::from(body)
    }

    /// A gRPC client reads only a status of its own protocol: 200 and `grpc-status` in the head ("trailers-only" in the
    /// protocol's description).
    fn write_grpc(&self, fields: &mut Fields) {
        fields.push_known(Known::ContentType, b"application/grpc");
        fields.push_known(Known::GrpcStatus, grpc_status(self.status).as_bytes());
        fields.push_known(Known::GrpcMessage, sentence(self.fault).as_bytes());
    }

    pub(crate) fn write_extra_fields(&self, fields: &mut Fields) {
        if !self.allow.is_empty() {
            let allow: Vec<&str> = self.allow.iter().map(Method::as_str).collect();
            fields.push_known(Known::Allow, allow.join(", ").as_bytes());
        }
        if let Some(challenge) = &self.challenge {
            fields.push_known(Known::WwwAuthenticate, challenge.as_bytes());
        }
        // Of a provider's limit only what the provider says.
        if self.status == 503 || (self.status == 429 && !self.retry_after.is_zero()) {
            let seconds = self.retry_after.as_secs_f64().ceil().max(1.0) as u64;
            fields.push_known(Known::RetryAfter, seconds.to_string().as_bytes());
        }
    }

    fn body(&self, accept: Option<&[u8]>, id: RequestId, service: Option<&Service>) -> (String, String) {
        let status = self.status.to_string();
        let expose = service.is_none_or(|service| service.expose_fault);
        if let Some(page) = service.and_then(|service| service.error_pages.get(&self.status)) {
            let body = page
                .body
                .replace("{request_id}", &id.to_string())
                .replace("{status}", &status)
                .replace("{fault}", if expose { self.fault.id() } else { "" });
            return (page.content_type.to_string(), body);
        }
        let title = wire::reason(self.status);
        let detail = sentence(self.fault);
        if prefers_html(accept) {
            let fault = if expose { format!(" &middot; {}", self.fault.id()) } else { String::new() };
            let body = format!(
                "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{status} {title}</title></head>\n\
                 <body><h1>{status} {title}</h1><p>{detail}</p><p><small>Request {id}{fault}</small></p></body></html>\n"
            );
            return ("text/html; charset=utf-8".to_owned(), body);
        }
        let (kind, fault) = if expose {
            (format!("urn:clearway:fault:{}", self.fault.id()), format!(",\"fault\":\"{}\"", self.fault.id()))
        } else {
            ("about:blank".to_owned(), String::new())
        };
        let body = format!(
            "{{\"type\":\"{kind}\",\"title\":\"{title}\",\"status\":{status},\"detail\":\"{detail}\",\
             \"request_id\":\"{id}\"{fault}}}\n"
        );
        ("application/problem+json".to_owned(), body)
    }
}

/// The gRPC status of an HTTP status, as grpc's own mapping has it; a limit of ours is RESOURCE_EXHAUSTED.
fn grpc_status(status: u16) -> &'static str {
    match status {
        401 => "16",
        403 => "7",
        404 => "12",
        413 | 431 => "8",
        429 | 502 | 503 => "14",
        504 => "4",
        400..=500 => "13",
        _ => "2",
    }
}

/// A browser names `text/html` before anything else; a program that accepts JSON or everything gets JSON.
fn prefers_html(accept: Option<&[u8]>) -> bool {
    let Some(accept) = accept else { return false };
    accept.split(|byte| *byte == b',').next().is_some_and(|first| {
        let media_type = first.split(|byte| *byte == b';').next().unwrap_or(first).trim_ascii();
        media_type.eq_ignore_ascii_case(b"text/html")
            || media_type.eq_ignore_ascii_case(b"application/xhtml+xml")
    })
}

/// The public sentence of a fault. Plain text without quotes: it stands in JSON and HTML as it is.
pub(crate) fn sentence(fault: Fault) -> &'static str {
    match fault {
        Fault::RequestMalformed => "The request is not valid HTTP.",
        Fault::RequestHeadTooLarge => "The request header fields are too large.",
        Fault::RequestTargetTooLong => "The request target is too long.",
        Fault::RequestBodyTooLarge => "The request body is larger than this service accepts.",
        Fault::RequestNotImplemented => "This method or transfer coding is not supported.",
        Fault::RequestLengthRequired => "A request body of this size needs a Content-Length here.",
        Fault::RequestVersionUnsupported => "This HTTP version is not supported.",
        Fault::ExpectationUnknown => "The Expect header field asks for something that is not supported.",
        Fault::Misdirected => "This connection was made for another host name.",
        Fault::ClientHeadTimeout => "The request did not arrive in time.",
        Fault::ClientBodyTimeout => "The request body did not arrive in time.",
        Fault::ClientTlsFailed => "The TLS handshake failed.",
        Fault::ClientFlood => "The client sent too many control frames.",
        Fault::ClientGone => "The client closed the connection.",
        Fault::ClientSendTimeout => "The client stopped reading.",
        Fault::NotConfigured => {
            "Nothing is configured yet. Start Clearway in front of an API with: \
             clearway up --to http://127.0.0.1:8000, or with a configuration file: clearway up clearway.yaml"
        }
        Fault::NoRoute => "No route of this gateway matches the host and path.",
        Fault::MethodNotAllowed => "This path exists, but not for this method.",
        Fault::Unauthenticated => "A valid credential is required.",
        Fault::Forbidden => "This credential does not allow this request.",
        Fault::Overloaded => "The gateway is at its limit. Try again shortly.",
        Fault::Draining => "The gateway is shutting down. Try again.",
        Fault::QueueFull => "The service has too many requests at the moment. Try again shortly.",
        Fault::QueueTimeout => "The service had no room for the request in time. Try again shortly.",
        Fault::NoTarget => "The service has no server at the moment. Try again shortly.",
        Fault::Internal => "The gateway failed. This is a bug of the gateway, not of the request.",
        Fault::LimitExceeded => "A limit of this gateway is used up for now. Try again later.",
        Fault::AiRequestMalformed => "The body of the request cannot be read.",
        Fault::ModelUnknown => "There is no model of this name here.",
        Fault::UpstreamCredentials => {
            "The AI provider does not accept the credentials of this gateway. The key of the caller is fine."
        }
        Fault::ProviderFailed => "The AI provider failed.",
        Fault::ProviderOverloaded => "The AI provider has no room at the moment. Try again shortly.",
        Fault::ProviderRateLimited => "The AI provider accepts no more requests for now. Try again later.",
        Fault::ProviderUnreadable => "The AI provider gave an answer that cannot be read.",
        Fault::StreamUnfinished => "The AI provider ended its stream in the middle of the answer.",
        Fault::LanesResting => "All ways to this model are failing at the moment. Try again shortly.",
        Fault::DnsFailed => "The name of the server behind this service could not be resolved.",
        Fault::ConnectRefused => "The server behind this service does not accept connections.",
        Fault::ConnectTimeout => "The server behind this service did not accept the connection in time.",
        Fault::ConnectFailed => "The server behind this service could not be reached.",
        Fault::TlsFailed => "No secure connection to the server behind this service could be made.",
        Fault::TlsTimeout => "The secure connection to the server behind this service took too long.",
        Fault::SendTimeout => "The server behind this service did not take the request in time.",
        Fault::SendFailed => "The server behind this service closed the connection during the request.",
        Fault::AwaitHeadTimeout => "The server behind this service did not answer in time.",
        Fault::EarlyClose => "The server behind this service closed the connection without an answer.",
        Fault::Reset => "The server behind this service reset the connection without an answer.",
        Fault::StreamRefused => "The server behind this service refused the request.",
        Fault::ResponseMalformed => "The server behind this service gave an answer that is not valid HTTP.",
        Fault::ResponseHeadTooLarge => {
            "The server behind this service gave an answer with too large header fields."
        }
        Fault::BodyTruncated | Fault::BodyReset => {
            "The server behind this service closed the connection in the middle of its answer."
        }
        Fault::BodyMalformed => "The server behind this service broke off in the middle of its answer.",
        Fault::BodyIdleTimeout => "The server behind this service stopped in the middle of its answer.",
        Fault::TotalTimeout => "The request took longer than this service allows.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fault: Fault, accept: Option<&str>) -> String {
        let mut head = ResponseHead::default();
        let id = RequestId::first_at(0);
        let mut request = Fields::new();
        if let Some(accept) = accept {
            request.push_known(Known::Accept, accept.as_bytes());
        }
        let body = Answer::new(fault).write(&mut head, &request, id, None);
        let fields: Vec<_> = head
            .fields
            .iter()
            .map(|field| format!("{}: {}", field.name.escape_ascii(), field.value.escape_ascii()))
            .collect();
        format!("{}\n{}\n{}", head.status, fields.join("\n"), String::from_utf8_lossy(&body))
    }

    #[test]
    fn programs_get_a_problem_document_and_browsers_a_page() {
        let problem = check(Fault::EarlyClose, Some("*/*"));
        assert_eq!(
            problem,
            "502\nContent-Type: application/problem+json\nContent-Length: 234\nCache-Control: no-store\n\
             {\"type\":\"urn:clearway:fault:early-close\",\"title\":\"Bad Gateway\",\"status\":502,\"detail\":\"The \
             server behind this service closed the connection without an answer.\",\"request_id\":\
             \"00000000-0000-0000-0000-000000000000\",\"fault\":\"early-close\"}\n"
        );
        let page = check(Fault::NoTarget, Some("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"));
        assert!(page.starts_with("503\nContent-Type: text/html"), "{page}");
        assert!(page.contains("Retry-After: 1"), "{page}");
    }

    #[test]
    fn no_sentence_breaks_json_or_html() {
        for fault in Fault::ALL {
            let text = sentence(*fault);
            assert!(!text.contains(['"', '<', '&', '\\', '\n']), "{fault}: {text}");
        }
    }
}
