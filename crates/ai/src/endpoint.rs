//! What a path means: which protocol is spoken, and what is asked for.

use crate::Protocol;

/// An AI request's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub operation: Operation,
    /// Where errors and lists are told in, too.
    pub protocol: Protocol,
    /// The model, where the path names it, decoded.
    pub model: Option<Box<str>>,
    /// The path asks for a stream, or for none; otherwise the body says.
    pub stream: Option<bool>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Batches,
    /// OpenAI's older completions of a text.
    Completions,
    CountTokens,
    Embeddings,
    Files,
    Generate,
    Images,
    Model,
    Models,
    Moderations,
    Rerank,
    Speech,
    /// What was answered before, at the provider that keeps it.
    StoredResponses,
    Transcription,
    Translation,
}

impl Operation {
    pub fn id(self) -> &'static str {
        match self {
            Operation::Batches => "batches",
            Operation::Completions => "completions",
            Operation::CountTokens => "count-tokens",
            Operation::Embeddings => "embeddings",
            Operation::Files => "files",
            Operation::Generate => "generate",
            Operation::Images => "images",
            Operation::Model => "model",
            Operation::Models => "models",
            Operation::Moderations => "moderations",
            Operation::Rerank => "rerank",
            Operation::Speech => "speech",
            Operation::StoredResponses => "stored-responses",
            Operation::Transcription => "transcription",
            Operation::Translation => "translation",
        }
    }

    /// Whether asking again does no harm beyond its price: what is made is the answer, and nothing stays behind.
    pub fn may_repeat(self) -> bool {
        !matches!(self, Operation::Batches | Operation::Files | Operation::StoredResponses)
    }

    /// Whether the model stands in a JSON body.
    pub fn has_json_body(self) -> bool {
        matches!(
            self,
            Operation::Completions
                | Operation::CountTokens
                | Operation::Embeddings
                | Operation::Generate
                | Operation::Images
                | Operation::Moderations
                | Operation::Rerank
                | Operation::Speech
        )
    }
}

/// Who lists models in which words is told by the headers that only one kind of SDK sends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hints {
    pub anthropic_version: bool,
    pub google_client: bool,
}

impl Endpoint {
    /// `None` for a path that is no place of any protocol.
    pub fn find(path: &str, hints: Hints) -> Option<Endpoint> {
        gemini(path, hints)
            .or_else(|| bedrock(path))
            .or_else(|| anthropic(path, hints))
            .or_else(|| openai(path, hints))
    }

    fn new(operation: Operation, protocol: Protocol) -> Endpoint {
        Endpoint { operation, protocol, model: None, stream: None }
    }
}

/// `/v1beta/models/{model}:generateContent`; SDKs write the version as `v1`, `v1beta` or `v1alpha`.
fn gemini(path: &str, hints: Hints) -> Option<Endpoint> {
    let path = path.strip_prefix("/gemini").unwrap_or(path);
    let versions = ["/v1beta1/", "/v1beta/", "/v1alpha/", "/v1/"];
    let (version, rest) =
        versions.iter().find_map(|version| Some((*version, path.strip_prefix(version)?)))?;
    // Vertex AI's places: `projects/p/locations/l/publishers/google/models/m:generateContent`.
    let rest = match rest.find("publishers/") {
        Some(at) => rest.get(at..)?.splitn(3, '/').nth(2)?,
        None => rest,
    };
    let is_theirs = version != "/v1/" || hints.google_client;
    if rest == "models" {
        return is_theirs.then(|| Endpoint::new(Operation::Models, Protocol::Gemini));
    }
    let rest = rest.strip_prefix("models/")?;
    let Some((model, verb)) = rest.rsplit_once(':') else {
        let model = Some(decoded(rest));
        return is_theirs.then(|| Endpoint { model, ..Endpoint::new(Operation::Model, Protocol::Gemini) });
    };
    let (operation, stream) = match verb {
        "generateContent" => (Operation::Generate, Some(false)),
        "streamGenerateContent" => (Operation::Generate, Some(true)),
        "countTokens" => (Operation::CountTokens, None),
        "embedContent" | "batchEmbedContents" | "predict" => (Operation::Embeddings, None),
        _ => return None,
    };
    Some(Endpoint { model: Some(decoded(model)), stream, ..Endpoint::new(operation, Protocol::Gemini) })
}

/// `/model/{modelId}/converse`; ids with colons and slashes come encoded.
fn bedrock(path: &str) -> Option<Endpoint> {
    let path = path.strip_prefix("/bedrock").unwrap_or(path);
    let (model, verb) = path.strip_prefix("/model/")?.rsplit_once('/')?;
    let stream = match verb {
        "converse" => false,
        "converse-stream" => true,
        _ => return None,
    };
    let model = Some(decoded(model));
    Some(Endpoint { model, stream: Some(stream), ..Endpoint::new(Operation::Generate, Protocol::Bedrock) })
}

fn anthropic(path: &str, hints: Hints) -> Option<Endpoint> {
    let (path, is_theirs) = match path.strip_prefix("/anthropic") {
        Some(path) => (path, true),
        None => (path, hints.anthropic_version),
    };
    let rest = path.strip_prefix("/v1/")?;
    let operation = match rest {
        "messages" => Operation::Generate,
        "messages/count_tokens" => Operation::CountTokens,
        "models" if is_theirs => Operation::Models,
        _ => {
            let model = rest.strip_prefix("models/").filter(|_| is_theirs)?;
            let model = Some(decoded(model));
            return Some(Endpoint { model, ..Endpoint::new(Operation::Model, Protocol::Anthropic) });
        }
    };
    Some(Endpoint::new(operation, Protocol::Anthropic))
}

/// With and without `/v1`, as base URLs are written; Azure's places name a deployment.
fn openai(path: &str, hints: Hints) -> Option<Endpoint> {
    let path = path.strip_prefix("/openai").unwrap_or(path);
    if let Some(rest) = path.strip_prefix("/deployments/") {
        let (model, rest) = rest.split_once('/')?;
        let endpoint = of_openai(rest)?;
        return Some(Endpoint { model: Some(decoded(model)), ..endpoint });
    }
    let rest = ["/v1/", "/v2/", "/"].iter().find_map(|prefix| path.strip_prefix(prefix))?;
    if hints.anthropic_version && rest.starts_with("models") {
        return None;
    }
    of_openai(rest)
}

fn of_openai(rest: &str) -> Option<Endpoint> {
    let chat = |operation| Some(Endpoint::new(operation, Protocol::Chat));
    match rest {
        "chat/completions" => chat(Operation::Generate),
        "responses" => Some(Endpoint::new(Operation::Generate, Protocol::Responses)),
        "completions" => chat(Operation::Completions),
        "embeddings" => chat(Operation::Embeddings),
        "rerank" => chat(Operation::Rerank),
        "images/generations" | "images/edits" | "images/variations" => chat(Operation::Images),
        "audio/speech" => chat(Operation::Speech),
        "audio/transcriptions" => chat(Operation::Transcription),
        "audio/translations" => chat(Operation::Translation),
        "moderations" => chat(Operation::Moderations),
        "models" => chat(Operation::Models),
        _ => {
            if let Some(model) = rest.strip_prefix("models/") {
                let model = Some(decoded(model));
                return Some(Endpoint { model, ..Endpoint::new(Operation::Model, Protocol::Chat) });
            }
            let (first, _) = rest.split_once('/').unwrap_or((rest, ""));
            match first {
                "files" | "uploads" => chat(Operation::Files),
                "batches" => chat(Operation::Batches),
                "responses" => Some(Endpoint::new(Operation::StoredResponses, Protocol::Responses)),
                _ => None,
            }
        }
    }
}

/// A path segment's own characters. What is no UTF-8 stays as it was: no model has such a name.
fn decoded(segment: &str) -> Box<str> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let escaped =
            after.get(..2).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| segment.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, hints: Hints, expect: &str) {
        let found = match Endpoint::find(path, hints) {
            Some(Endpoint { operation, protocol, model, stream }) => {
                let model = model.map(|model| format!(" {model}")).unwrap_or_default();
                let stream = stream.map(|stream| format!(" stream={stream}")).unwrap_or_default();
                format!("{} {}{model}{stream}", protocol.id(), operation.id())
            }
            None => "none".to_owned(),
        };
        assert_eq!(found, expect, "{path}");
    }

    #[test]
    fn the_places_of_all_sdks_are_known() {
        let none = Hints::default();
        check("/v1/chat/completions", none, "chat generate");
        check("/chat/completions", none, "chat generate");
        check("/openai/deployments/gpt-4o/chat/completions", none, "chat generate gpt-4o");
        check("/v1/responses", none, "responses generate");
        check("/v1/responses/resp_1", none, "responses stored-responses");
        check("/v1/messages", none, "anthropic generate");
        check("/anthropic/v1/messages/count_tokens", none, "anthropic count-tokens");
        check(
            "/v1beta/models/gemini-2.5-pro:generateContent",
            none,
            "gemini generate gemini-2.5-pro stream=false",
        );
        check(
            "/v1/models/openai/gpt-5:streamGenerateContent",
            none,
            "gemini generate openai/gpt-5 stream=true",
        );
        check(
            "/v1beta1/projects/p/locations/l/publishers/google/models/g:generateContent",
            none,
            "gemini generate g stream=false",
        );
        check(
            "/model/anthropic.claude-3%3A0/converse-stream",
            none,
            "bedrock generate anthropic.claude-3:0 stream=true",
        );
        check("/model/arn%3Aaws%3Ax%2Fy/converse", none, "bedrock generate arn:aws:x/y stream=false");
        check("/v1/embeddings", none, "chat embeddings");
        check("/v2/rerank", none, "chat rerank");
        check("/v1/files/file-1/content", none, "chat files");
        check("/v1/unknown", none, "none");
        check("/", none, "none");
    }

    #[test]
    fn lists_of_models_are_told_apart_by_headers() {
        let anthropic = Hints { anthropic_version: true, ..Hints::default() };
        let google = Hints { google_client: true, ..Hints::default() };
        check("/v1/models", Hints::default(), "chat models");
        check("/v1/models", anthropic, "anthropic models");
        check("/v1/models", google, "gemini models");
        check("/v1beta/models", Hints::default(), "gemini models");
        check("/v1/models/a/b", Hints::default(), "chat model a/b");
        check("/v1/models/a", anthropic, "anthropic model a");
        check("/v1/models/a", google, "gemini model a");
    }
}
