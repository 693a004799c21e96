//! What a provider says when it does not answer, in one classification, and what is told to the client instead.

use serde_json::Value;
use std::time::Duration;

/// What kind of problem it is: this decides on what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request itself: it goes back to the client as the provider said it.
    Client,
    /// The conversation has no room in this model; a larger one may take it.
    ContextTooLong,
    /// The provider does not take the key, or not for this.
    Credentials,
    /// The account has no money or quota left: waiting does not help.
    NoMoney,
    /// The provider does not have this model (any more).
    ModelUnknown,
    /// It is at its limit as a whole.
    Overloaded,
    /// This key, or this account, has asked too often.
    RateLimited,
    /// It failed.
    Server,
    /// What came is no answer of an AI provider: a page, nothing, or broken JSON.
    Unreadable,
}

/// A provider's error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub class: Class,
    /// The provider's status; that of an error inside of a 200 is made from its code.
    pub status: u16,
    /// Its own name for it.
    pub code: Box<str>,
    pub message: Box<str>,
    /// The parameter that is wrong.
    pub param: Option<Box<str>>,
    pub retry_after: Option<Duration>,
}

/// What of an answer's head counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorHead<'a> {
    pub status: u16,
    /// `x-amzn-errortype`: Bedrock's name of the error.
    pub error_type: Option<&'a str>,
    pub retry_after: Option<Duration>,
}

/// So much of a provider's words is kept.
const MESSAGE_BYTES_MAX: usize = 2000;

impl Problem {
    pub fn new(class: Class, status: u16, code: &str, message: &str) -> Problem {
        Problem { class, status, code: code.into(), message: cut(message), param: None, retry_after: None }
    }

    /// An answer that is none.
    pub fn unreadable(status: u16, message: &str) -> Problem {
        Problem::new(Class::Unreadable, status, "unreadable", message)
    }

    /// Reads an answer whose status says that it is an error.
    pub fn of_answer(head: ErrorHead<'_>, body: &[u8]) -> Problem {
        let value: Option<Value> = serde_json::from_slice(body).ok();
        let mut problem = match value.as_ref().and_then(|value| of_value(value, head.status)) {
            Some(problem) => problem,
            None => {
                let class = class(head.status, "", "");
                let message = without_object(head.status, body);
                Problem { class, ..Problem::new(class, head.status, "", &message) }
            }
        };
        if let Some(kind) = head.error_type {
            // `ThrottlingException:http://internal...`: what follows the name is not for the world.
            let kind = kind.split([':', '#']).next().unwrap_or(kind);
            problem.code = kind.into();
            problem.class = class(head.status, kind, &problem.message);
        }
        problem.retry_after = head.retry_after.or(problem.retry_after);
        problem
    }

    /// Finds an error in an answer or a frame whose status says that all is well.
    pub fn inside(value: &Value) -> Option<Problem> {
        let is_error = match value {
            Value::Object(map) => {
                map.get("error").is_some_and(|error| !error.is_null() && *error != Value::Bool(false))
                    || map.get("type").is_some_and(|kind| kind == "error")
            }
            Value::Array(items) => return items.first().and_then(Problem::inside),
            _ => false,
        };
        if is_error { of_value(value, 200) } else { None }
    }
}

/// The status that an error inside of a stream or a 200 stands for.
pub fn status_of(class: Class) -> u16 {
    match class {
        Class::Client | Class::ContextTooLong => 400,
        Class::Credentials => 401,
        Class::NoMoney => 402,
        Class::ModelUnknown => 404,
        Class::RateLimited => 429,
        Class::Server | Class::Unreadable => 502,
        Class::Overloaded => 503,
    }
}

/// Reads the shapes of all protocols: they differ in where things stand, not in what there is.
fn of_value(value: &Value, status: u16) -> Option<Problem> {
    // Gemini's shim for OpenAI clients wraps its errors into an array.
    if let Value::Array(items) = value {
        return items.first().and_then(|first| of_value(first, status));
    }
    let map = value.as_object()?;
    let error = map.get("error").filter(|error| !error.is_null()).unwrap_or(value);
    let text = |key: &str| error.get(key).and_then(Value::as_str);
    let message = error
        .as_str()
        .or_else(|| text("message"))
        .or_else(|| text("Message"))
        .or_else(|| text("detail"))
        .or_else(|| value.get("message").and_then(Value::as_str))
        .unwrap_or("the provider gave no reason");
    let number = error.get("code").and_then(Value::as_u64);
    let names = [text("code"), text("status"), text("type"), text("__type")];
    let code = names.into_iter().flatten().find(|name| !name.is_empty() && *name != "error");
    let all_names = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let inner = match status {
        200 => {
            number.and_then(|number| u16::try_from(number).ok()).filter(|number| (400..600).contains(number))
        }
        _ => None,
    };
    let number_text = number.map(|number| number.to_string());
    let class = class(inner.unwrap_or(status), &all_names, message);
    let status = match (status, inner) {
        (200, Some(inner)) => inner,
        (200, None) => status_of(class),
        (status, _) => status,
    };
    let mut problem = Problem::new(class, status, code.or(number_text.as_deref()).unwrap_or(""), message);
    problem.param = text("param").map(Into::into);
    problem.retry_after = retry_info(error);
    Some(problem)
}

/// Google's `RetryInfo` (google.rpc): `"retryDelay": "7s"`.
fn retry_info(error: &Value) -> Option<Duration> {
    let details = error.get("details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Names count more than the status: providers use 400 and 429 for many things.
fn class(status: u16, names: &str, message: &str) -> Class {
    let names = names.to_ascii_lowercase();
    let message = message.to_ascii_lowercase();
    let named = |words: &[&str]| words.iter().any(|word| names.contains(word));
    let said = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if named(&["context_length", "context_window", "string_above_max_length"])
        || (matches!(status, 200 | 400 | 413 | 422)
            && said(&[
                "maximum context length",
                "context window",
                "prompt is too long",
                "input is too long",
                "exceeds the maximum number of tokens",
                "input token count",
                "too many tokens",
            ]))
    {
        return Class::ContextTooLong;
    }
    if named(&["insufficient_quota", "billing", "insufficient_balance", "exceeded_current_quota", "1113"])
        || status == 402
        || said(&[
            "credit balance is too low",
            "insufficient balance",
            "exceeded your current quota, please check your plan",
        ])
    {
        return Class::NoMoney;
    }
    if named(&["overloaded", "unavailable", "modelnotready", "capacity"]) || matches!(status, 503 | 529) {
        return Class::Overloaded;
    }
    if named(&[
        "rate_limit",
        "throttling",
        "resource_exhausted",
        "toomanyrequests",
        "too_many_requests",
        "limitexceeded",
    ]) || status == 429
    {
        return Class::RateLimited;
    }
    if named(&[
        "invalid_api_key",
        "authentication",
        "unauthenticated",
        "unrecognizedclient",
        "accessdenied",
        "expiredtoken",
        "api_key_invalid",
    ]) || said(&["api key not valid", "api key expired"])
        || status == 401
    {
        return Class::Credentials;
    }
    if named(&["model_not_found", "not_found_error", "resourcenotfound"])
        || (status == 404 && (named(&["not_found"]) || said(&["model"])))
    {
        return Class::ModelUnknown;
    }
    match status {
        // A key that may not use a model, or a country: nothing that the caller's request could change.
        403 => Class::Credentials,
        404 => Class::ModelUnknown,
        408 => Class::Server,
        400..=499 => Class::Client,
        200 if named(&["invalid_request", "validation", "invalid_argument", "content_filter"]) => {
            Class::Client
        }
        _ => Class::Server,
    }
}

/// What a body is that has no JSON object.
fn without_object(status: u16, body: &[u8]) -> String {
    let start = body.trim_ascii_start();
    if start.is_empty() {
        return format!("the provider answered {status} without a body");
    }
    if start.first() == Some(&b'<') {
        return format!("the provider answered {status} with a page instead of JSON");
    }
    String::from_utf8_lossy(start).chars().take(200).collect()
}

fn cut(text: &str) -> Box<str> {
    let mut end = text.len().min(MESSAGE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expect: &str) {
        let problem = Problem::of_answer(ErrorHead { status, ..ErrorHead::default() }, body.as_bytes());
        let Problem { class, status, code, message, retry_after, .. } = problem;
        let after = retry_after.map(|after| format!(" after {after:?}")).unwrap_or_default();
        assert_eq!(format!("{class:?} {status} {code}: {message}{after}"), expect, "{body}");
    }

    #[test]
    fn the_shapes_of_all_protocols_are_read() {
        check(
            429,
            r#"{"error":{"message":"Slow down","type":"requests","param":null,"code":"rate_limit_exceeded"}}"#,
            "RateLimited 429 rate_limit_exceeded: Slow down",
        );
        check(
            429,
            r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            "NoMoney 429 insufficient_quota: You exceeded your current quota",
        );
        check(
            529,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#,
            "Overloaded 529 overloaded_error: Overloaded",
        );
        check(
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#,
            "ContextTooLong 400 invalid_request_error: prompt is too long: 9 > 8",
        );
        check(
            400,
            r#"[{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}]"#,
            "Credentials 400 INVALID_ARGUMENT: API key not valid.",
        );
        check(
            429,
            r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[{"@type":"x","retryDelay":"7.5s"}]}}"#,
            "RateLimited 429 RESOURCE_EXHAUSTED: quota after 7.5s",
        );
        check(403, r#"{"message":"no"}"#, "Credentials 403 : no");
        check(
            404,
            r#"{"error":{"message":"The model x does not exist","code":"model_not_found"}}"#,
            "ModelUnknown 404 model_not_found: The model x does not exist",
        );
        check(
            422,
            r#"{"message":"bad","type":"invalid_request_error"}"#,
            "Client 422 invalid_request_error: bad",
        );
        check(
            502,
            "<html>nginx</html>",
            "Server 502 : the provider answered 502 with a page instead of JSON",
        );
        check(500, "", "Server 500 : the provider answered 500 without a body");
    }

    #[test]
    fn an_error_inside_of_a_200_is_found_and_nothing_else() {
        let inside = |text: &str| Problem::inside(&serde_json::from_str(text).unwrap());
        let problem = inside(r#"{"error":{"message":"bad gateway","code":502}}"#).unwrap();
        assert_eq!((problem.class, problem.status), (Class::Server, 502));
        let problem =
            inside(r#"{"type":"error","error":{"type":"rate_limit_error","message":"x"}}"#).unwrap();
        assert_eq!((problem.class, problem.status), (Class::RateLimited, 429));
        assert_eq!(inside(r#"{"error":null,"choices":[]}"#), None);
        assert_eq!(inside(r#"{"id":"x","choices":[]}"#), None);
    }
}
