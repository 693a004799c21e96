//! `api-key`: a request must carry the key of a consumer.

use model::Fault;
use model::gateway::ApiKey;

use crate::{Rejection, Subject};

/// Finds the consumer; takes the key out of the request unless it is to be forwarded.
pub(crate) fn on_request(settings: &ApiKey, subject: &mut Subject<'_>) -> Result<(), Rejection> {
    let name = settings.header.as_bytes();
    let is_authorization = settings.header.eq_ignore_ascii_case("authorization");
    let mut values = subject.head.fields.find_all(name);
    let value = values.next().ok_or_else(|| unauthenticated(settings, "no key"))?;
    if values.next().is_some() {
        return Err(unauthenticated(settings, "more than one key"));
    }
    let key = if is_authorization {
        bearer(value).ok_or_else(|| unauthenticated(settings, "not a bearer credential"))?
    } else {
        value
    };
    let consumer = subject.consumers.by_api_key(key);
    drop(values);
    let consumer = consumer.ok_or_else(|| unauthenticated(settings, "unknown key"))?;
    let may_pass = settings.consumers.is_empty() || settings.consumers.contains(&consumer);
    *subject.consumer = Some(consumer);
    if !may_pass {
        let detail = "the consumer is not among those of the policy";
        return Err(Rejection { fault: Fault::Forbidden, challenge: None, detail });
    }
    if !settings.forward {
        subject.head.fields.remove_named(name);
    }
    Ok(())
}

/// The token of `Bearer TOKEN` (RFC 6750 section 2.1); the scheme's case does not count.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    if scheme.eq_ignore_ascii_case(b"Bearer ") { Some(token.trim_ascii()) } else { None }
}

fn unauthenticated(settings: &ApiKey, detail: &'static str) -> Rejection {
    // A 401 must name a scheme. There is none registered for keys in headers of their own.
    let challenge = if settings.header.eq_ignore_ascii_case("authorization") {
        "Bearer".into()
    } else {
        format!("ApiKey header=\"{}\"", settings.header).into()
    };
    Rejection { fault: Fault::Unauthenticated, challenge: Some(challenge), detail }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::Secret;
    use model::gateway::{ApiKey, Consumer, Policy};
    use wire::RequestHead;

    use crate::{Consumers, Policies, Subject};

    /// Runs one request; tells the outcome and the fields that are left.
    fn check(header: &str, allowed: &[&str], forward: bool, fields: &[(&str, &str)]) -> String {
        let consumers = ["alice", "bob"].map(|name| {
            Arc::new(Consumer {
                name: name.into(),
                api_keys: vec![Secret::new(format!("{name}-key"))],
                team: None,
            })
        });
        let consumers = Consumers::new(&consumers);
        let allowed = allowed.iter().map(|name| Arc::from(*name)).collect();
        let settings = ApiKey { header: header.into(), consumers: allowed, forward };
        let mut head = RequestHead::default();
        for (name, value) in fields {
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        let mut consumer = None;
        let mut subject = Subject {
            head: &mut head,
            consumers: &consumers,
            consumer: &mut consumer,
            verifies_signatures: false,
        };
        let outcome = match Policies::new(&[Policy::ApiKey(settings)]).on_request(&mut subject) {
            Ok(()) => "passed".to_owned(),
            Err(rejection) => {
                format!(
                    "{} ({}) {}",
                    rejection.fault,
                    rejection.detail,
                    rejection.challenge.unwrap_or_default()
                )
            }
        };
        let left: Vec<_> =
            head.fields.iter().map(|field| String::from_utf8_lossy(field.name).into_owned()).collect();
        format!("{outcome} consumer={} left={}", consumer.as_deref().unwrap_or("-"), left.join(","))
    }

    #[test]
    fn a_known_key_passes_and_is_not_forwarded() {
        let fields = [("X-Api-Key", "alice-key"), ("Accept", "*/*")];
        assert_eq!(check("x-api-key", &[], false, &fields), "passed consumer=alice left=Accept");
        assert_eq!(check("x-api-key", &[], true, &fields), "passed consumer=alice left=X-Api-Key,Accept");
        assert_eq!(
            check("authorization", &[], false, &[("Authorization", "bearer bob-key")]),
            "passed consumer=bob left="
        );
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let challenge = "ApiKey header=\"x-api-key\"";
        assert_eq!(
            check("x-api-key", &[], false, &[]),
            format!("unauthenticated (no key) {challenge} consumer=- left=")
        );
        assert_eq!(
            check("x-api-key", &[], false, &[("x-api-key", "nobody")]),
            format!("unauthenticated (unknown key) {challenge} consumer=- left=x-api-key")
        );
        assert_eq!(
            check("x-api-key", &[], false, &[("x-api-key", "alice-key"), ("X-API-Key", "bob-key")]),
            format!("unauthenticated (more than one key) {challenge} consumer=- left=x-api-key,X-API-Key")
        );
        assert_eq!(
            check("authorization", &[], false, &[("Authorization", "Basic alice-key")]),
            "unauthenticated (not a bearer credential) Bearer consumer=- left=Authorization"
        );
        assert_eq!(
            check("x-api-key", &["bob"], false, &[("x-api-key", "alice-key")]),
            "forbidden (the consumer is not among those of the policy)  consumer=alice left=x-api-key"
        );
    }
}
