//! Requests of the messages protocol.

use serde_json::{Value, json};

use crate::Protocol;
use crate::fields::{Fields, Object, Reject};
use crate::form::{
    Block, Citation, Losses, Media, MediaSource, OutputForm, OutputSchema, Request, Role, Sampling,
    Signature, Thinking, Tool, ToolChoice, ToolResult, ToolUse,
};
use crate::protocol::chat::request::empty_schema;
use crate::protocol::thread;

/// The protocol demands a limit; a client of another one that sets none gets as much as every current model can give.
const OUTPUT_TOKENS_DEFAULT: u64 = 4096;
/// The least that the provider lets a model think.
const THINKING_TOKENS_MIN: u64 = 1024;

pub(in crate::protocol) fn decode(body: &[u8]) -> Result<Request, Reject> {
    let mut fields = Fields::parse(body)?;
    let mut request = Request { model: fields.need_text("model")?, ..Request::default() };
    request.system = decode_content(&mut fields, "system")?;
    for mut message in fields.objects("messages")? {
        let role = message.need_text("role")?;
        let content = decode_content(&mut message, "content")?;
        match role.as_str() {
            "user" => thread::push(&mut request.turns, Role::User, content),
            "assistant" => thread::push(&mut request.turns, Role::Assistant, content),
            "system" => request.system.extend(content),
            other => {
                let message = message.place("role");
                return Err(Reject::new(message, format!("must be user or assistant, not \"{other}\"")));
            }
        }
    }
    if request.turns.is_empty() {
        return Err(fields.missing("messages"));
    }
    for tool in fields.objects("tools")? {
        request.tools.push(decode_tool(tool)?);
    }
    if let Some(mut choice) = fields.object("tool_choice")? {
        request.parallel_tools = choice.flag("disable_parallel_tool_use")?.map(|disabled| !disabled);
        request.tool_choice = Some(match choice.need_text("type")?.as_str() {
            "auto" => ToolChoice::Auto,
            "any" => ToolChoice::Any,
            "none" => ToolChoice::None,
            "tool" => ToolChoice::Tool(choice.need_text("name")?),
            other => {
                let message = format!("must be auto, any, none or tool, not \"{other}\"");
                return Err(Reject::new("tool_choice.type", message));
            }
        });
    }
    request.sampling = Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.count("top_k")?,
        ..Sampling::default()
    };
    request.output_tokens_max = fields.count("max_tokens")?;
    request.stop = fields.texts("stop_sequences")?;
    if let Some(mut thinking) = fields.object("thinking")? {
        let budget = thinking.count("budget_tokens")?;
        request.thinking = match thinking.need_text("type")?.as_str() {
            "disabled" => Some(Thinking::Off),
            _ => Some(Thinking::Budget(budget.unwrap_or(8192))),
        };
    }
    decode_output(&mut fields, &mut request)?;
    request.stream = fields.flag("stream")?.unwrap_or(false);
    request.stream_usage = true;
    if let Some(mut metadata) = fields.object("metadata")? {
        request.user = metadata.text("user_id")?;
    }
    request.others = fields.rest();
    Ok(request)
}

/// `output_config` (and `output_format` before it): a schema, and how much effort is wanted.
fn decode_output(fields: &mut Fields, request: &mut Request) -> Result<(), Reject> {
    let mut format = fields.object("output_format")?;
    if let Some(mut config) = fields.object("output_config")? {
        if let Some(effort) = config.text("effort")?
            && let Some(effort) = crate::form::Effort::by_id(&effort)
            && request.thinking.is_none_or(|thinking| thinking != Thinking::Off)
        {
            request.thinking = Some(Thinking::Effort(effort));
        }
        format = config.object("format")?.or(format);
    }
    let Some(mut format) = format else { return Ok(()) };
    if format.need_text("type")? == "json_schema" {
        let schema = format.take("schema").unwrap_or_else(empty_schema);
        request.output = OutputForm::Schema(OutputSchema {
            name: "answer".to_owned(),
            description: None,
            schema,
            strict: Some(true),
        });
    }
    Ok(())
}

fn decode_content(fields: &mut Fields, name: &str) -> Result<Vec<Block>, Reject> {
    match fields.take(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Block::text(text)]),
        Some(Value::Array(parts)) => {
            let place = fields.place(name);
            let mut blocks = Vec::new();
            for (index, part) in parts.into_iter().enumerate() {
                decode_block(Fields::new(format!("{place}[{index}]"), part)?, &mut blocks)?;
            }
            Ok(blocks)
        }
        Some(other) => Err(fields.wrong(name, "a string or a list of blocks", &other)),
    }
}

fn decode_block(mut part: Fields, blocks: &mut Vec<Block>) -> Result<(), Reject> {
    let kind = part.need_text("type")?;
    let sign = |text: String| Signature::from_client(&text, Protocol::Anthropic);
    let block = match kind.as_str() {
        "text" => {
            let citations = part.objects("citations")?.into_iter().map(decode_citation);
            Block::Text { text: part.need_text("text")?, citations: citations.collect::<Result<_, _>>()? }
        }
        "image" => Block::Image(decode_source(&mut part)?),
        "document" => {
            let media = decode_source(&mut part)?;
            Block::File(Media { name: part.text("title")?, ..media })
        }
        "thinking" => Block::Thinking {
            text: part.text("thinking")?.unwrap_or_default(),
            signature: part.text("signature")?.filter(|text| !text.is_empty()).map(sign),
        },
        "redacted_thinking" => Block::ThinkingRedacted(sign(part.need_text("data")?)),
        "tool_use" => Block::ToolUse(ToolUse {
            id: part.need_text("id")?,
            name: part.need_text("name")?,
            input: thread::input_text(part.take("input")),
            signature: None,
        }),
        "tool_result" => Block::ToolResult(ToolResult {
            id: part.need_text("tool_use_id")?,
            content: decode_content(&mut part, "content")?,
            is_error: part.flag("is_error")?.unwrap_or(false),
        }),
        other => {
            let message =
                format!("\"{other}\" blocks exist only at Anthropic; this model is another provider's");
            return Err(Reject::new(part.place("type"), message));
        }
    };
    // A signature without a thought belongs to the call after it (see the encoder of streams).
    blocks.push(block);
    if part.take("cache_control").is_some() {
        blocks.push(Block::CachePoint);
    }
    Ok(())
}

fn decode_citation(mut citation: Fields) -> Result<Citation, Reject> {
    let title = citation.text("document_title")?;
    Ok(Citation {
        title: citation.text("title")?.or(title),
        url: citation.text("url")?,
        quote: citation.text("cited_text")?,
        document: citation.count("document_index")?,
    })
}

fn decode_source(part: &mut Fields) -> Result<Media, Reject> {
    let mut source = part.object("source")?.ok_or_else(|| part.missing("source"))?;
    let media_type = source.text("media_type")?.unwrap_or_default();
    let kind = source.need_text("type")?;
    let source = match kind.as_str() {
        "base64" => MediaSource::Data(source.need_text("data")?),
        "url" => MediaSource::Url(source.need_text("url")?),
        "file" => MediaSource::Id(source.need_text("file_id")?),
        "text" => MediaSource::Text(source.need_text("data")?),
        other => {
            let message = format!("must be base64, url, file or text, not \"{other}\"");
            return Err(Reject::new(source.place("type"), message));
        }
    };
    Ok(Media { media_type, source, name: None })
}

fn decode_tool(mut tool: Fields) -> Result<Tool, Reject> {
    let kind = tool.text("type")?.unwrap_or_else(|| "custom".to_owned());
    if kind != "custom" {
        let message = format!("\"{kind}\" tools exist only at Anthropic; this model is another provider's");
        return Err(Reject::new(tool.place("type"), message));
    }
    Ok(Tool {
        name: tool.need_text("name")?,
        description: tool.text("description")?,
        schema: tool.take("input_schema").unwrap_or_else(empty_schema),
        strict: tool.flag("strict")?,
    })
}

pub(in crate::protocol) fn encode(request: &Request, losses: &mut Losses) -> Value {
    let mut body = Object::default();
    body.set("model", request.model.as_str());
    let mut output_max = request.output_tokens_max.unwrap_or(OUTPUT_TOKENS_DEFAULT);
    let is_unthought = thread::is_unthought(&request.turns, |proof| proof.by == Protocol::Anthropic);
    let budget = request.thinking.and_then(Thinking::budget).map(|budget| budget.max(THINKING_TOKENS_MIN));
    losses.add_if(budget.is_some() && is_unthought, "thinking");
    let budget = budget.filter(|_| !is_unthought);
    if let Some(budget) = budget {
        // What is thought counts among what is given out.
        output_max = if output_max > budget { output_max } else { output_max + budget };
        body.set("thinking", json!({ "type": "enabled", "budget_tokens": budget }));
    }
    body.set("max_tokens", output_max);
    body.set_list("system", encode_blocks(&request.system, losses));
    let turns = request.turns.iter().filter_map(|turn| {
        let role = match turn.role {
            Role::Assistant => "assistant",
            Role::User => "user",
        };
        let content = encode_blocks(&turn.blocks, losses);
        (!content.is_empty()).then(|| json!({ "role": role, "content": content }))
    });
    body.set("messages", turns.collect::<Vec<_>>());
    body.set_list("tools", request.tools.iter().map(encode_tool).collect());
    if !request.tools.is_empty()
        && let Some(choice) = encode_tool_choice(request, budget.is_some(), losses)
    {
        body.set("tool_choice", choice);
    }
    match &request.output {
        OutputForm::Text => {}
        OutputForm::Json => losses.add("response_format"),
        OutputForm::Schema(schema) => {
            let format = json!({ "type": "json_schema", "schema": closed(&schema.schema) });
            body.set("output_config", json!({ "format": format }));
        }
    }
    let Sampling { temperature, top_p, top_k, seed, frequency_penalty, presence_penalty } = request.sampling;
    if budget.is_some() {
        // A model that thinks takes no other temperature than 1, and no sampling.
        losses.add_if(temperature.is_some_and(|temperature| temperature != 1.0), "temperature");
        losses.add_if(top_k.is_some(), "top_k");
        losses.add_if(top_p.is_some(), "top_p");
    } else {
        losses.add_if(temperature.is_some_and(|temperature| temperature > 1.0), "temperature");
        body.set_some("temperature", temperature.map(|temperature| temperature.min(1.0)));
        // Current models take one of the two.
        losses.add_if(temperature.is_some() && top_p.is_some(), "top_p");
        body.set_some("top_p", top_p.filter(|_| temperature.is_none())).set_some("top_k", top_k);
    }
    losses.add_if(seed.is_some(), "seed");
    losses.add_if(frequency_penalty.is_some(), "frequency_penalty");
    losses.add_if(presence_penalty.is_some(), "presence_penalty");
    // Sequences of white space alone are refused.
    let stops = request.stop.iter().filter(|stop| !stop.trim().is_empty());
    losses.add_if(stops.clone().count() < request.stop.len(), "stop");
    body.set_list("stop_sequences", stops.map(|stop| stop.as_str().into()).collect());
    if request.stream {
        body.set("stream", true);
    }
    body.set_some("metadata", request.user.as_ref().map(|user| json!({ "user_id": user })));
    for name in request.others.keys() {
        losses.add(name);
    }
    body.value()
}

/// The provider wants objects that say that there are no other properties.
fn closed(schema: &Value) -> Value {
    match schema {
        Value::Object(map) => {
            let mut map: serde_json::Map<String, Value> =
                map.iter().map(|(key, value)| (key.clone(), closed(value))).collect();
            if map.get("type").is_some_and(|kind| kind == "object") && map.contains_key("properties") {
                map.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            Value::Object(map)
        }
        Value::Array(items) => Value::Array(items.iter().map(closed).collect()),
        other => other.clone(),
    }
}

fn encode_blocks(blocks: &[Block], losses: &mut Losses) -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for block in blocks {
        let value = match block {
            Block::CachePoint => {
                if let Some(Value::Object(last)) = out.last_mut() {
                    last.insert("cache_control".to_owned(), json!({ "type": "ephemeral" }));
                }
                continue;
            }
            // Empty texts are refused.
            Block::Text { text, .. } | Block::Refusal(text) if text.trim().is_empty() => continue,
            Block::Text { text, .. } | Block::Refusal(text) => json!({ "type": "text", "text": text }),
            Block::Image(media) => json!({ "type": "image", "source": encode_source(media) }),
            Block::File(media) => {
                let mut document = Object::default();
                document.set("type", "document").set("source", encode_source(media));
                document.set_some("title", media.name.as_deref());
                document.value()
            }
            Block::Audio(_) => {
                losses.add("audio");
                continue;
            }
            Block::Thinking { text, signature: Some(signature) } if signature.by == Protocol::Anthropic => {
                json!({ "type": "thinking", "thinking": text, "signature": signature.value })
            }
            Block::ThinkingRedacted(data) if data.by == Protocol::Anthropic => {
                json!({ "type": "redacted_thinking", "data": data.value })
            }
            // Thoughts of others, or without a proof, are refused; the model does without them.
            Block::Thinking { .. } | Block::ThinkingRedacted(_) => {
                losses.add("thinking");
                continue;
            }
            Block::ToolUse(ToolUse { id, name, input, .. }) => json!({
                "type": "tool_use", "id": tool_id(id), "name": name, "input": thread::input_value(input),
            }),
            Block::ToolResult(ToolResult { id, content, is_error }) => {
                let mut result = Object::default();
                result.set("type", "tool_result").set("tool_use_id", tool_id(id));
                result.set("content", encode_blocks(content, losses));
                result.set_some("is_error", is_error.then_some(true));
                result.value()
            }
        };
        out.push(value);
    }
    out
}

/// Ids are letters, digits, `_` and `-` here.
fn tool_id(id: &str) -> String {
    id.chars()
        .map(|char| if char.is_ascii_alphanumeric() || "_-".contains(char) { char } else { '_' })
        .collect()
}

fn encode_source(media: &Media) -> Value {
    match &media.source {
        MediaSource::Data(data) => {
            json!({ "type": "base64", "media_type": media.media_type, "data": data })
        }
        MediaSource::Url(url) => json!({ "type": "url", "url": url }),
        MediaSource::Id(id) => json!({ "type": "file", "file_id": id }),
        MediaSource::Text(text) => json!({ "type": "text", "media_type": "text/plain", "data": text }),
    }
}

fn encode_tool(tool: &Tool) -> Value {
    let mut out = Object::default();
    out.set("name", tool.name.as_str()).set_some("description", tool.description.as_deref());
    let mut schema = tool.schema.clone();
    // A schema must say that it is of an object.
    if let Value::Object(map) = &mut schema
        && !map.contains_key("type")
    {
        map.insert("type".to_owned(), "object".into());
    }
    out.set("input_schema", schema);
    out.value()
}

/// A model that thinks may not be made to call a tool.
fn encode_tool_choice(request: &Request, thinks: bool, losses: &mut Losses) -> Option<Value> {
    let parallel = request.parallel_tools;
    let forced = matches!(request.tool_choice, Some(ToolChoice::Any | ToolChoice::Tool(_)));
    if thinks && forced {
        losses.add("tool_choice");
    }
    let mut choice = Object::default();
    match &request.tool_choice {
        None if parallel.is_none() => return None,
        None | Some(ToolChoice::Auto) => choice.set("type", "auto"),
        Some(ToolChoice::Any | ToolChoice::Tool(_)) if thinks => choice.set("type", "auto"),
        Some(ToolChoice::Any) => choice.set("type", "any"),
        Some(ToolChoice::None) => choice.set("type", "none"),
        Some(ToolChoice::Tool(name)) => choice.set("type", "tool").set("name", name.as_str()),
    };
    if request.tool_choice != Some(ToolChoice::None) {
        choice.set_some("disable_parallel_tool_use", parallel.filter(|parallel| !parallel).map(|_| true));
    }
    Some(choice.value())
}
