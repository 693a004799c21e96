//! The request as a lane's provider gets it: its place, its fields, its bytes.
//!
//! Nothing of the client's head goes on but what stands in a short list; the provider's credential is added here and nowhere else.

use std::time::{SystemTime, UNIX_EPOCH};

use ai::form::Losses;
use ai::sigv4::{self, Signed};
use ai::{Operation, Protocol, Reject, Speak, quirks};
use bytes::Bytes;
use model::gateway::{ProviderAuth, ProviderEndpoint};
use model::{Method, Secret};
use wire::{Known, RequestHead};

use super::ask::Ask;
use super::lanes::Lane;

/// What is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) head: RequestHead,
    /// Path and query.
    pub(super) target: String,
    pub(super) body: Bytes,
    pub(super) losses: Losses,
}

const USER_AGENT: &str = concat!("clearway/", env!("CARGO_PKG_VERSION"));
/// What a client of another protocol cannot have said.
const ANTHROPIC_VERSION: &[u8] = b"2023-06-01";

pub(super) fn build(ask: &Ask, lane: &Lane) -> Result<Outgoing, Reject> {
    let mut losses = Losses::default();
    let is_own = lane.protocol == ask.protocol();
    let body = match is_own {
        true => as_it_is(ask, lane),
        false => translated(ask, lane, &mut losses)?,
    };
    let endpoint = lane.provider.endpoints.iter().find(|endpoint| endpoint.protocol == lane.protocol);
    let target = target(ask, lane, endpoint, is_own);
    let mut head = RequestHead { method: ask.method.clone(), ..RequestHead::default() };
    if !is_own {
        head.method = Method::Post;
    }
    let fields = &mut head.fields;
    let content_type = if is_own { &*ask.content_type } else { &b"application/json"[..] };
    if !body.is_empty() {
        let content_type = if content_type.is_empty() { &b"application/json"[..] } else { content_type };
        fields.push_known(Known::ContentType, content_type);
    }
    let accept = if ask.stream { lane.protocol.stream_media_type() } else { "*/*" };
    fields.push_known(Known::Accept, accept.as_bytes());
    // What is compressed cannot be listened to.
    fields.push_known(Known::AcceptEncoding, b"identity");
    fields.push_known(Known::UserAgent, USER_AGENT.as_bytes());
    if is_own {
        fields.append(&ask.fields);
    }
    for (name, value) in &lane.provider.headers {
        fields.remove_named(name.as_bytes());
        fields.push(name.as_bytes(), value.expose().as_bytes());
    }
    if lane.protocol == Protocol::Anthropic && fields.find(b"anthropic-version").is_none() {
        fields.push(b"anthropic-version", ANTHROPIC_VERSION);
    }
    prove(&mut head, lane, &target, &body);
    Ok(Outgoing { head, target, body, losses })
}

/// The client's bytes, with the provider's own name of the model, and what its row of quirks changes.
fn as_it_is(ask: &Ask, lane: &Lane) -> Bytes {
    // Where the path has it, the provider's own path has it, too; Azure's clients are the exception.
    let is_in_path = matches!(lane.protocol, Protocol::Bedrock | Protocol::Gemini);
    let is_named = ask.scan.model.as_deref().is_some_and(|asked| *asked == *lane.model);
    let is_wanted = !is_in_path && !is_named && !ask.model().is_empty();
    let renamed = if is_wanted { ask.scan.with_model(&ask.body, &lane.model) } else { None };
    let body = renamed.map_or_else(|| ask.body.clone(), Bytes::from);
    if ask.endpoint.operation != Operation::Generate {
        return body;
    }
    quirks::fit(&body, &lane.provider.quirks).map_or(body, Bytes::from)
}

fn translated(ask: &Ask, lane: &Lane, losses: &mut Losses) -> Result<Bytes, Reject> {
    let mut request = ask.request()?.clone();
    request.model = lane.model.to_string();
    let mut value = lane.protocol.encode_request(&request, losses);
    if lane.protocol == Protocol::Chat {
        quirks::fit_value(&mut value, &lane.provider.quirks);
    }
    Ok(value.to_string().into())
}

/// Where the operation is at the provider.
fn target(ask: &Ask, lane: &Lane, endpoint: Option<&ProviderEndpoint>, is_own: bool) -> String {
    let base = endpoint.map_or("", |endpoint| &endpoint.path);
    // A slash of the name is a part of it, and nothing else may change where the request goes.
    let model = sigv4::encode(&lane.model).replace('/', "%2F");
    let operation = ask.endpoint.operation;
    let path = match (operation, lane.protocol) {
        (Operation::Generate, Protocol::Chat) => "/chat/completions".to_owned(),
        (Operation::Generate, Protocol::Responses) => "/responses".to_owned(),
        (Operation::Generate, Protocol::Anthropic) => "/messages".to_owned(),
        (Operation::Generate, Protocol::Cohere) => "/chat".to_owned(),
        (Operation::CountTokens, Protocol::Anthropic) => "/messages/count_tokens".to_owned(),
        (Operation::Generate, Protocol::Bedrock) => {
            format!("/model/{model}/{}", if ask.stream { "converse-stream" } else { "converse" })
        }
        (_, Protocol::Gemini) => {
            let verb = match (is_own, ask.stream) {
                (true, _) => &*ask.verb,
                (false, true) => "streamGenerateContent",
                (false, false) => "generateContent",
            };
            format!("/models/{model}:{verb}")
        }
        _ => ask.rest.to_string(),
    };
    let query = match (is_own, lane.protocol) {
        (true, _) => ask.query.to_string(),
        (false, Protocol::Gemini) if ask.stream => "alt=sse".to_owned(),
        (false, _) => String::new(),
    };
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{base}{path}{mark}{query}")
}

/// Adds the provider's credential.
fn prove(head: &mut RequestHead, lane: &Lane, target: &str, body: &[u8]) {
    let Some(key) = &lane.key else { return };
    let secret = key.secret.expose();
    match &lane.provider.auth {
        ProviderAuth::None => {}
        // Tokens of Google and IBM are made elsewhere, and given as keys.
        ProviderAuth::Bearer | ProviderAuth::GoogleServiceAccount | ProviderAuth::IbmIam => {
            bearer(head, secret)
        }
        ProviderAuth::Header { name, prefix } => {
            let value = if prefix.is_empty() { secret.to_owned() } else { format!("{prefix} {secret}") };
            head.fields.remove_named(name.as_bytes());
            head.fields.push(name.as_bytes(), value.as_bytes());
        }
        ProviderAuth::Sigv4 { region } => match &key.access_key {
            None => bearer(head, secret),
            Some(access_key) => {
                sign(head, lane, target, body, access_key, secret, key.session_token.as_ref(), region);
            }
        },
    }
}

fn bearer(head: &mut RequestHead, token: &str) {
    head.fields.set(Known::Authorization, format!("Bearer {token}").as_bytes());
}

#[expect(clippy::too_many_arguments, reason = "a signature is over all of them")]
fn sign(
    head: &mut RequestHead,
    lane: &Lane,
    target: &str,
    body: &[u8],
    access_key: &str,
    secret: &str,
    session_token: Option<&Secret>,
    region: &str,
) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = sigv4::time(now);
    let host = lane.destination.upstream.targets.first().map(|target| target.authority.to_string());
    let host = host.unwrap_or_default();
    let digest = sigv4::sha256_hex(body);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = vec![("host", host.as_str()), ("x-amz-date", time.as_str())];
    if let Some(token) = session_token {
        headers.push(("x-amz-security-token", token.expose()));
    }
    let signed = Signed {
        method: head.method.as_str(),
        path,
        query,
        headers: &headers,
        payload_sha256: &digest,
        time: &time,
        region,
        service: "bedrock",
    };
    let authorization = signed.authorization(access_key, secret);
    head.fields.push(b"x-amz-date", time.as_bytes());
    if let Some(token) = session_token {
        head.fields.push(b"x-amz-security-token", token.expose().as_bytes());
    }
    head.fields.set(Known::Authorization, authorization.as_bytes());
}
