//! What the client of an AI call is told when there is no answer: the truth, in the shape of its protocol.

use std::time::Duration;

use ai::protocol::{Speak, Told, error_field};
use ai::{Class, Problem, Protocol, Reject};
use bytes::Bytes;
use model::{Exchange, Fault, Phase, RequestId};
use wire::{Known, ResponseHead};

use super::lanes::Lane;
use crate::answer::{Answer, sentence};
use crate::client::Downstream;
use crate::exchange::{Context, Finish, Scratch, Stop, send_answer};

/// How errors are told to this client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialect {
    pub(crate) protocol: Protocol,
}

/// More than the public sentence of a fault: what was wrong with the request, or the provider's own words.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    pub(crate) message: Box<str>,
    /// Instead of the fault's id.
    pub(crate) code: Option<Box<str>>,
    pub(crate) param: Option<Box<str>>,
}

impl Dialect {
    /// Fills the head and gives the body.
    pub(crate) fn write(self, answer: &Answer, head: &mut ResponseHead, id: RequestId) -> Bytes {
        head.clear();
        head.status = answer.status;
        let id = id.to_string();
        let words = Said::of(answer);
        let body = self.protocol.error_body(&words.told(&id)).to_string();
        let fields = &mut head.fields;
        fields.push_known(Known::ContentType, b"application/json");
        fields.push_known(Known::ContentLength, body.len().to_string().as_bytes());
        fields.push_known(Known::CacheControl, b"no-store");
        fields.push(b"x-clearway-fault", answer.fault.id().as_bytes());
        if let Some((name, value)) = error_field(self.protocol, answer.status) {
            fields.push(name.as_bytes(), value.as_bytes());
        }
        answer.write_extra_fields(fields);
        Bytes::from(body)
    }
}

/// What is said, beside the id of the request.
#[derive(Clone, Debug)]
pub(super) struct Said {
    status: u16,
    code: Box<str>,
    message: Box<str>,
    param: Option<Box<str>>,
}

impl Said {
    fn of(answer: &Answer) -> Said {
        let words = answer.words.as_deref();
        Said {
            status: answer.status,
            code: words.and_then(|words| words.code.clone()).unwrap_or_else(|| answer.fault.id().into()),
            message: words.map_or_else(|| sentence(answer.fault).into(), |words| words.message.clone()),
            param: words.and_then(|words| words.param.clone()),
        }
    }

    pub(super) fn told<'a>(&'a self, request_id: &'a str) -> Told<'a> {
        Told {
            status: self.status,
            code: &self.code,
            message: &self.message,
            param: self.param.as_deref(),
            request_id,
        }
    }
}

/// What a stop is called in a stream that has begun.
pub(super) fn said(stop: &Stop) -> Said {
    match stop {
        Stop::Refused { answer, .. } => Said::of(answer),
        Stop::Upstream(failure) => Said::of(&Answer::new(failure.fault)),
        Stop::Timeout { fault, .. } => Said::of(&Answer::new(*fault)),
        Stop::Client { .. } => Said::of(&Answer::new(Fault::ClientGone)),
    }
}

/// The client's own mistake, with its place.
pub(super) fn malformed(reject: &Reject) -> Stop {
    let Reject { param, message } = reject;
    let text = if param.is_empty() { message.clone() } else { format!("{param} {message}") };
    let words = Words {
        message: text.as_str().into(),
        code: None,
        param: Some(param.as_str()).filter(|param| !param.is_empty()).map(Into::into),
    };
    let answer = Answer { words: Some(Box::new(words)), ..Answer::new(Fault::AiRequestMalformed) };
    Stop::Refused { answer, phase: Phase::ReadRequest, detail: Some(text.into()) }
}

pub(super) fn unknown_model(name: &str, near: Vec<Box<str>>) -> Stop {
    let names: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    let hint = match names.as_slice() {
        [] => "GET /v1/models lists those that there are".to_owned(),
        names => format!("did you mean {}?", names.join(" or ")),
    };
    let name: String = name.chars().take(128).collect();
    let message = match name.is_empty() {
        true => "there is no provider for this kind of request here".to_owned(),
        false => format!("there is no model `{name}` here; {hint}"),
    };
    let words =
        Words { message: message.into(), code: Some("model_not_found".into()), param: Some("model".into()) };
    let answer = Answer { words: Some(Box::new(words)), ..Answer::new(Fault::ModelUnknown) };
    Stop::Refused { answer, phase: Phase::Policy, detail: None }
}

/// Everything rests and is being tried by others.
pub(super) fn resting(for_: Duration) -> Stop {
    let answer = Answer { retry_after: for_.max(Duration::from_secs(1)), ..Answer::new(Fault::LanesResting) };
    Stop::Refused { answer, phase: Phase::Queue, detail: None }
}

/// What becomes of a provider's error: a mistake of the client's stays what it is, and so does the provider's limit; a refused key is
/// not the caller's.
pub(super) fn of_problem(problem: Problem, lane: &Lane, phase: Phase) -> Stop {
    let fault = match problem.class {
        Class::Client | Class::ContextTooLong | Class::ModelUnknown => Fault::AiRequestMalformed,
        Class::Credentials | Class::NoMoney => Fault::UpstreamCredentials,
        Class::Overloaded => Fault::ProviderOverloaded,
        Class::RateLimited => Fault::ProviderRateLimited,
        Class::Server => Fault::ProviderFailed,
        Class::Unreadable if problem.code.as_ref() == "unfinished" => Fault::StreamUnfinished,
        Class::Unreadable => Fault::ProviderUnreadable,
    };
    let scrubbed = scrub(&problem.message, lane);
    let is_clients = fault == Fault::AiRequestMalformed;
    let status = if is_clients { problem.status.clamp(400, 499) } else { fault.status() };
    let words = Words {
        message: match is_clients || problem.class == Class::RateLimited {
            true => scrubbed.clone().into(),
            false => format!("{} ({})", sentence(fault), scrubbed).into(),
        },
        code: is_clients.then(|| problem.code.clone()).filter(|code| !code.is_empty()),
        param: problem.param,
    };
    let code = if problem.code.is_empty() { String::new() } else { format!(" {}", problem.code) };
    let detail = format!("{} answered {}{code}: {scrubbed}", lane.provider.name, problem.status);
    let retry_after = problem.retry_after.unwrap_or(match fault {
        Fault::ProviderOverloaded => Duration::from_secs(1),
        _ => Duration::ZERO,
    });
    let answer = Answer { status, retry_after, words: Some(Box::new(words)), ..Answer::new(fault) };
    Stop::Refused { answer, phase, detail: Some(detail.into()) }
}

/// Providers name keys in their messages, whole or in part.
fn scrub(text: &str, lane: &Lane) -> String {
    let mut out = text.to_owned();
    for key in &lane.provider.keys {
        let secret = key.secret.expose();
        if secret.len() >= 4 {
            out = out.replace(secret, "***");
        }
    }
    let is_key = |word: &str| {
        word.len() >= 8 && (word.starts_with("sk-") || word.starts_with("AIza") || word.starts_with("AKIA"))
            || word.contains("****")
    };
    let words: Vec<&str> = out
        .split(' ')
        .map(|word| if is_key(word.trim_matches(['\'', '"', '`', '.', ',', ':'])) { "***" } else { word })
        .collect();
    words.join(" ")
}

/// Answers, and notes how it ended.
pub(super) async fn send<D: Downstream>(
    ctx: Context<'_>,
    client: &mut D,
    scratch: &mut Scratch,
    record: &mut Exchange,
    answer: Answer,
    detail: Option<Box<str>>,
) -> Result<Finish, Stop> {
    let Some(dialect) = scratch.dialect.filter(|_| answer.fault == Fault::AiRequestMalformed) else {
        return Err(Stop::Refused { answer, phase: Phase::AwaitHead, detail });
    };
    // The provider has answered: what it says of the request is its answer.
    record.status = answer.status;
    record.detail = detail;
    let body = dialect.write(&answer, &mut scratch.response, record.id);
    let fields = &mut scratch.response.fields;
    fields.remove_named(b"x-clearway-fault");
    Ok(send_answer(ctx, client, &mut scratch.response, body, false, record).await)
}
