//! Requests that AWS's SDKs sign (signature version 4): the access key's id is the name of a consumer, the secret is one of its keys.
//!
//! The signature is over the body, which a policy does not have: [`ai_key`](crate::ai_key) lets such a request pass for now where
//! somebody will [`verify`] it.

use std::sync::Arc;

use ai::sigv4::{Signed, sha256_hex};
use model::Fault;
use sha2::{Digest, Sha256};
use wire::{Known, RequestHead};

use crate::{Consumers, Rejection};

const SCHEME: &str = "AWS4-HMAC-SHA256";
/// How far the client's clock may be off, as at AWS.
const SKEW_SECONDS: u64 = 15 * 60;

/// What `Authorization` says.
struct Claim<'a> {
    consumer: &'a str,
    region: &'a str,
    service: &'a str,
    headers: Vec<&'a str>,
    signature: &'a str,
}

/// Whether the request claims to be signed.
pub fn is_signed(head: &RequestHead) -> bool {
    claim(head).is_some()
}

/// Who signed it, as it says.
pub(crate) fn claimed(head: &RequestHead) -> Option<&str> {
    claim(head).map(|claim| claim.consumer)
}

fn claim(head: &RequestHead) -> Option<Claim<'_>> {
    let value = std::str::from_utf8(head.fields.get(Known::Authorization)?).ok()?;
    let rest = value.strip_prefix(SCHEME)?.strip_prefix(' ')?;
    let part =
        |name: &str| rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
    let mut scope = part("Credential")?.rsplitn(5, '/');
    let (Some("aws4_request"), Some(service), Some(region), Some(_), Some(consumer)) =
        (scope.next(), scope.next(), scope.next(), scope.next(), scope.next())
    else {
        return None;
    };
    let headers = part("SignedHeaders")?.split(';').collect();
    Some(Claim { consumer, region, service, headers, signature: part("Signature")? })
}

/// Checks the signature over the whole request: who it is, or why it is nobody.
pub fn verify(
    head: &RequestHead,
    body: &[u8],
    consumers: &Consumers,
    unix_seconds: u64,
) -> Result<Arc<str>, Rejection> {
    let refused =
        |detail| Rejection { fault: Fault::Unauthenticated, challenge: Some(SCHEME.into()), detail };
    let claim = claim(head).ok_or_else(|| refused("no signature"))?;
    let (consumer, keys) = consumers.keys_of(claim.consumer).ok_or_else(|| refused("unknown access key"))?;
    let time = head.fields.find(b"x-amz-date").and_then(|time| std::str::from_utf8(time).ok());
    let time = time.filter(|time| claim.headers.contains(&"x-amz-date") && time.len() == 16);
    let time = time.ok_or_else(|| refused("x-amz-date is missing or not signed"))?;
    let (earliest, latest) = (unix_seconds.saturating_sub(SKEW_SECONDS), unix_seconds + SKEW_SECONDS);
    // The form has the order of the times that it stands for.
    if *time < *ai::sigv4::time(earliest) || *time > *ai::sigv4::time(latest) {
        return Err(refused("signed more than 15 minutes ago or ahead: check the client's clock"));
    }
    if !claim.headers.contains(&"host") {
        return Err(refused("the host is not signed"));
    }
    let mut headers = Vec::new();
    for name in &claim.headers {
        let value = match *name {
            "host" => head.target.authority().to_owned(),
            name => {
                let values = head.fields.find_all(name.as_bytes()).map(String::from_utf8_lossy);
                values.collect::<Vec<_>>().join(",")
            }
        };
        headers.push((*name, value));
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let signed = Signed {
        method: head.method.as_str(),
        path: head.target.as_sent(),
        query: head.target.query().unwrap_or_default(),
        headers: &headers,
        payload_sha256: &sha256_hex(body),
        time,
        region: claim.region,
        service: claim.service,
    };
    // Digests are compared, so that the time it takes tells nothing of how much was right.
    let presented = Sha256::digest(claim.signature);
    let is_right = |secret: &model::Secret| Sha256::digest(signed.signature(secret.expose())) == presented;
    match keys.iter().any(is_right) {
        true => Ok(consumer),
        false => Err(refused("the signature does not match")),
    }
}

#[cfg(test)]
mod tests {
    use model::Secret;
    use model::gateway::Consumer;

    use super::*;

    const NOW: u64 = 1_795_745_250;
    const BODY: &[u8] = b"{\"messages\":[]}";
    const PATH: &str = "/model/openai%2Fgpt-5/converse";

    fn head(secret: &str, time: u64) -> RequestHead {
        let mut head = RequestHead { method: model::Method::Post, ..RequestHead::default() };
        head.set_target(PATH.as_bytes(), Some(b"localhost:8080")).unwrap();
        let time = ai::sigv4::time(time);
        let headers = [("host", "localhost:8080"), ("x-amz-date", time.as_str())];
        let signed = Signed {
            method: "POST",
            path: PATH,
            query: "",
            headers: &headers,
            payload_sha256: &sha256_hex(BODY),
            time: &time,
            region: "us-east-1",
            service: "bedrock",
        };
        head.fields.push(b"x-amz-date", time.as_bytes());
        head.fields.push(b"authorization", signed.authorization("alice", secret).as_bytes());
        head
    }

    fn check(head: &RequestHead, body: &[u8]) -> Result<Arc<str>, &'static str> {
        let api_keys = vec![Secret::new("old-key"), Secret::new("alice-key")];
        let alice = Consumer { name: "alice".into(), api_keys, team: None };
        let consumers = Consumers::new(&[Arc::new(alice)]);
        verify(head, body, &consumers, NOW).map_err(|rejection| rejection.detail)
    }

    #[test]
    fn a_signature_is_over_all_of_the_request_and_its_time() {
        assert_eq!(check(&head("alice-key", NOW), BODY).as_deref(), Ok("alice"));
        assert_eq!(check(&head("old-key", NOW - 800), BODY).as_deref(), Ok("alice"));
        assert_eq!(check(&head("other-key", NOW), BODY), Err("the signature does not match"));
        assert_eq!(check(&head("alice-key", NOW), b"{}"), Err("the signature does not match"));
        let mut other = head("alice-key", NOW);
        other.set_target(b"/model/openai%2Fgpt-4/converse", Some(b"localhost:8080")).unwrap();
        assert_eq!(check(&other, BODY), Err("the signature does not match"));
        let late = "signed more than 15 minutes ago or ahead: check the client's clock";
        assert_eq!(check(&head("alice-key", NOW - 1000), BODY), Err(late));
        assert_eq!(check(&head("alice-key", NOW + 1000), BODY), Err(late));
        let mut nobody = head("alice-key", NOW);
        nobody.fields.set(
            Known::Authorization,
            b"AWS4-HMAC-SHA256 Credential=bob/2/r/s/aws4_request, SignedHeaders=host, Signature=0",
        );
        assert_eq!(check(&nobody, BODY), Err("unknown access key"));
        nobody.fields.set(Known::Authorization, b"AWS4-HMAC-SHA256 Credential=bob");
        assert_eq!(check(&nobody, BODY), Err("no signature"));
    }
}
