//! `ai-key`: a request must carry a key of a consumer where the SDK of its protocol puts the provider's key.
//!
//! `Authorization: Bearer` (OpenAI, Anthropic's own SDKs, Mistral, Cohere, Bedrock), `x-api-key` (Anthropic), `x-goog-api-key` and
//! `?key=` (Google), `api-key` (Azure); AWS's signature with a key of a consumer. All of them are taken out of the request: none is ever for a provider.

use std::sync::Arc;

use model::Fault;
use wire::Known;

use crate::{Rejection, Subject, aws_signature};

/// Fields that carry a key and nothing else.
const FIELDS: [&[u8]; 3] = [b"x-api-key", b"x-goog-api-key", b"api-key"];

pub(crate) fn on_request(subject: &mut Subject<'_>) -> Result<(), Rejection> {
    // What AWS's SDKs sign is verified when the body is there, and its field stays until then.
    let signed_by = aws_signature::claimed(subject.head).filter(|_| subject.verifies_signatures);
    if let Some((consumer, _)) = signed_by.and_then(|name| subject.consumers.keys_of(name)) {
        *subject.consumer = Some(consumer);
        return Ok(());
    }
    let found = find(subject);
    for name in FIELDS {
        subject.head.fields.remove_named(name);
    }
    subject.head.fields.remove(Known::Authorization);
    let consumer = found?;
    *subject.consumer = Some(consumer);
    Ok(())
}

/// SDKs may send more than one, for example a placeholder beside the real key: one that is known suffices.
fn find(subject: &Subject<'_>) -> Result<Arc<str>, Rejection> {
    let fields = &subject.head.fields;
    let bearer = fields.get_all(Known::Authorization).filter_map(bearer);
    let plain = FIELDS.iter().flat_map(|name| fields.find_all(name));
    let query = subject.head.target.query().unwrap_or_default();
    let of_query = query.split('&').filter_map(|pair| pair.strip_prefix("key=")).map(str::as_bytes);
    let mut any = false;
    for key in bearer.chain(plain).chain(of_query) {
        any = true;
        if let Some(consumer) = subject.consumers.by_api_key(key) {
            return Ok(consumer);
        }
    }
    let detail = if any { "unknown key" } else { "no key" };
    Err(Rejection { fault: Fault::Unauthenticated, challenge: Some("Bearer".into()), detail })
}

/// The token of `Bearer TOKEN` (RFC 6750 section 2.1); the scheme's case does not count.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    if scheme.eq_ignore_ascii_case(b"Bearer ") { Some(token.trim_ascii()) } else { None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::Secret;
    use model::gateway::{Consumer, Policy};
    use wire::RequestHead;

    use crate::{Consumers, Policies, Subject};

    fn check(path: &str, fields: &[(&str, &str)]) -> String {
        let alice = Consumer { name: "alice".into(), api_keys: vec![Secret::new("alice-key")], team: None };
        let consumers = Consumers::new(&[Arc::new(alice)]);
        let mut head = RequestHead::default();
        for (name, value) in fields {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        head.set_target(path.as_bytes(), Some(b"localhost")).unwrap();
        let mut consumer = None;
        let mut subject = Subject {
            head: &mut head,
            consumers: &consumers,
            consumer: &mut consumer,
            verifies_signatures: false,
        };
        let outcome = match Policies::new(&[Policy::AiKey]).on_request(&mut subject) {
            Ok(()) => "passed".to_owned(),
            Err(rejection) => format!("{} ({})", rejection.fault, rejection.detail),
        };
        let left: Vec<_> =
            head.fields.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect();
        format!("{outcome} {} left={}", consumer.as_deref().unwrap_or("-"), left.join(","))
    }

    #[test]
    fn every_sdk_finds_its_place_and_no_key_is_left() {
        for (name, value) in [
            ("Authorization", "Bearer alice-key"),
            ("authorization", "bearer alice-key"),
            ("X-Api-Key", "alice-key"),
            ("x-goog-api-key", "alice-key"),
            ("api-key", "alice-key"),
        ] {
            assert_eq!(check("/v1/x", &[(name, value), ("Accept", "*/*")]), "passed alice left=Accept");
        }
        assert_eq!(check("/v1/x?alt=sse&key=alice-key", &[]), "passed alice left=");
        let both = [("Authorization", "Bearer placeholder"), ("x-api-key", "alice-key")];
        assert_eq!(check("/v1/x", &both), "passed alice left=");
    }

    #[test]
    fn others_are_refused() {
        assert_eq!(check("/v1/x", &[]), "unauthenticated (no key) - left=");
        assert_eq!(check("/v1/x?key=other", &[]), "unauthenticated (unknown key) - left=");
        assert_eq!(check("/v1/x", &[("x-api-key", "other")]), "unauthenticated (unknown key) - left=");
        assert_eq!(
            check("/v1/x", &[("Authorization", "Basic alice-key")]),
            "unauthenticated (no key) - left="
        );
    }
}
