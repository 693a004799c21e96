//! What several protocols do alike with the parts of a conversation.

use serde_json::Value;

use crate::form::{Block, Media, MediaSource, Role, Signature, ToolResult, Turn};

/// Adds to the last turn if it is of this role: some protocols forbid two of one role in a row, and none needs them.
pub(super) fn push(turns: &mut Vec<Turn>, role: Role, blocks: Vec<Block>) {
    if blocks.is_empty() {
        return;
    }
    match turns.last_mut() {
        Some(last) if last.role == role => last.blocks.extend(blocks),
        _ => turns.push(Turn { role, blocks }),
    }
}

/// The texts of blocks, a line between them.
pub(super) fn texts(blocks: &[Block]) -> String {
    let texts: Vec<&str> = blocks
        .iter()
        .filter_map(|block| match block {
            Block::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect();
    texts.join("\n")
}

/// What a tool gave, where only text has a place; JSON for what is none.
pub(super) fn result_text(result: &ToolResult) -> String {
    texts(&result.content)
}

/// `data:image/png;base64,AAAA`, or a URL.
pub(super) fn media_of_url(url: String) -> Media {
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match data {
        Some((media_type, data)) => Media {
            media_type: media_type.split(';').next().unwrap_or(media_type).to_owned(),
            source: MediaSource::Data(data.to_owned()),
            name: None,
        },
        None => Media { media_type: String::new(), source: MediaSource::Url(url), name: None },
    }
}

/// The reverse; `None` for what has no URL.
pub(super) fn url_of_media(media: &Media) -> Option<String> {
    match &media.source {
        MediaSource::Data(data) => {
            let media_type =
                if media.media_type.is_empty() { "application/octet-stream" } else { &media.media_type };
            Some(format!("data:{media_type};base64,{data}"))
        }
        MediaSource::Url(url) => Some(url.clone()),
        MediaSource::Id(_) | MediaSource::Text(_) => None,
    }
}

/// Arguments as JSON; what is no JSON object is kept as text under a name, so that nothing is lost and nothing breaks.
pub(super) fn input_value(input: &str) -> Value {
    if input.trim().is_empty() {
        return Value::Object(Default::default());
    }
    match serde_json::from_str::<Value>(input) {
        Ok(value @ Value::Object(_)) => value,
        Ok(value) => serde_json::json!({ "input": value }),
        Err(_) => serde_json::json!({ "input": input }),
    }
}

/// Arguments as text; an empty object where there is nothing.
pub(super) fn input_text(value: Option<Value>) -> String {
    match value {
        None => "{}".to_owned(),
        Some(Value::String(text)) if text.trim().is_empty() => "{}".to_owned(),
        Some(Value::String(text)) => text,
        Some(value) => value.to_string(),
    }
}

/// What a tool gave, as an object: Gemini and Bedrock want one.
pub(super) fn result_value(result: &ToolResult) -> Value {
    let text = result_text(result);
    match serde_json::from_str::<Value>(&text) {
        Ok(value @ Value::Object(_)) if result.is_error => serde_json::json!({ "error": value }),
        Ok(value @ Value::Object(_)) => value,
        _ if result.is_error => serde_json::json!({ "error": text }),
        _ => serde_json::json!({ "result": text }),
    }
}

/// Whether a model that must begin with a thought is in the middle of calling tools, and did not begin with one that it knows as its
/// own: asked to think now, it would refuse.
pub(super) fn is_unthought(turns: &[Turn], is_own: impl Fn(&Signature) -> bool) -> bool {
    let last = turns.iter().rev().find(|turn| turn.role == Role::Assistant);
    let Some(Turn { blocks, .. }) = last else { return false };
    let calls = blocks.iter().any(|block| matches!(block, Block::ToolUse(_)));
    let thought = blocks.iter().find_map(|block| match block {
        Block::Thinking { signature, .. } => Some(signature.as_ref().is_some_and(&is_own)),
        Block::ThinkingRedacted(data) => Some(is_own(data)),
        _ => None,
    });
    calls && thought != Some(true)
}

/// The short form of an audio or document type: `audio/wav` is `wav`.
pub(super) fn format_of(media_type: &str) -> &str {
    match media_type {
        "audio/mpeg" => "mp3",
        "audio/x-wav" | "audio/wave" => "wav",
        "text/plain" => "txt",
        "text/markdown" => "md",
        "text/html" => "html",
        "text/csv" => "csv",
        "application/msword" => "doc",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => "docx",
        "application/vnd.ms-excel" => "xls",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" => "xlsx",
        other => other.rsplit('/').next().unwrap_or(other),
    }
}

/// The reverse.
pub(super) fn audio_type(format: &str) -> String {
    match format {
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    }
}

pub(super) fn document_type(format: &str) -> String {
    match format {
        "txt" => "text/plain",
        "md" => "text/markdown",
        "html" => "text/html",
        "csv" => "text/csv",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls" => "application/vnd.ms-excel",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        other => return format!("application/{other}"),
    }
    .to_owned()
}
