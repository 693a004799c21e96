//! Requests of the responses protocol. What OpenAI keeps for its clients (`previous_response_id`, `item_reference`) is not ours to
//! know when another provider answers: that is refused with the way out.

use serde_json::{Value, json};

use super::{encrypted, sign};
use crate::Protocol;
use crate::fields::{Fields, Object, Reject};
use crate::form::{
    Block, Effort, Losses, Media, MediaSource, OutputForm, OutputSchema, Request, Role, Sampling, Signature,
    Thinking, Tool, ToolChoice, ToolResult, ToolUse, Turn,
};
use crate::protocol::chat::request::empty_schema;
use crate::protocol::thread;

pub(in crate::protocol) fn decode(body: &[u8]) -> Result<Request, Reject> {
    let mut fields = Fields::parse(body)?;
    let mut request = Request { model: fields.need_text("model")?, stream_usage: true, ..Request::default() };
    for name in ["previous_response_id", "conversation"] {
        if fields.take(name).is_some() {
            return Err(Reject::new(
                name,
                "works only with the provider that keeps the conversation; send the whole input",
            ));
        }
    }
    match fields.take("instructions") {
        None => {}
        Some(Value::String(text)) => request.system.push(Block::text(text)),
        Some(other) => return Err(fields.wrong("instructions", "a string", &other)),
    }
    match fields.take("input") {
        None => return Err(fields.missing("input")),
        Some(Value::String(text)) => {
            request.turns.push(Turn { role: Role::User, blocks: vec![Block::text(text)] });
        }
        Some(Value::Array(items)) => {
            for (index, item) in items.into_iter().enumerate() {
                decode_item(Fields::new(format!("input[{index}]"), item)?, &mut request)?;
            }
        }
        Some(other) => return Err(fields.wrong("input", "a string or a list of items", &other)),
    }
    for tool in fields.objects("tools")? {
        request.tools.push(decode_tool(tool)?);
    }
    request.tool_choice = decode_tool_choice(&mut fields)?;
    request.parallel_tools = fields.flag("parallel_tool_calls")?;
    decode_text(&mut fields, &mut request)?;
    request.sampling = Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        ..Sampling::default()
    };
    request.output_tokens_max = fields.count("max_output_tokens")?;
    if let Some(mut reasoning) = fields.object("reasoning")? {
        request.thinking = match reasoning.text("effort")?.as_deref() {
            Some("none") => Some(Thinking::Off),
            Some(effort) => Effort::by_id(effort).map(Thinking::Effort),
            None => None,
        };
    }
    request.stream = fields.flag("stream")?.unwrap_or(false);
    request.user = fields.text("user")?;
    request.others = fields.rest();
    // What asks for nothing that others do not do anyway.
    request.others.retain(|name, value| {
        !matches!(name.as_str(), "store" | "include" | "stream_options") && !is_empty(value)
    });
    Ok(request)
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

fn decode_item(mut item: Fields, request: &mut Request) -> Result<(), Reject> {
    let kind = item.text("type")?.unwrap_or_else(|| "message".to_owned());
    let (role, block) = match kind.as_str() {
        "message" => return decode_message(item, request),
        "function_call" => (
            Role::Assistant,
            Block::ToolUse(ToolUse {
                id: item.need_text("call_id")?,
                name: item.need_text("name")?,
                input: thread::input_text(item.take("arguments")),
                signature: None,
            }),
        ),
        "function_call_output" => {
            let id = item.need_text("call_id")?;
            let content = match item.take("output") {
                Some(Value::String(text)) => vec![Block::text(text)],
                Some(Value::Array(parts)) => decode_parts(&item.place("output"), parts)?,
                None => Vec::new(),
                Some(other) => vec![Block::text(other.to_string())],
            };
            (Role::User, Block::ToolResult(ToolResult { id, content, is_error: false }))
        }
        "reasoning" => {
            let mut text = Vec::new();
            for mut part in item.objects("summary")? {
                text.push(part.text("text")?.unwrap_or_default());
            }
            let id = item.text("id")?.unwrap_or_default();
            let signature = item.text("encrypted_content")?.map(|encrypted| {
                match Signature::from_client(&encrypted, Protocol::Responses) {
                    Signature { by: Protocol::Responses, value } => sign(&id, &value),
                    foreign => foreign,
                }
            });
            (Role::Assistant, Block::Thinking { text: text.join("\n\n"), signature })
        }
        "item_reference" => {
            let message = "refers to what OpenAI keeps; this model is another provider's. Send the items themselves: \
                           store: false makes the SDKs do that";
            return Err(Reject::new(item.place("type"), message));
        }
        other => {
            let message = format!("\"{other}\" items exist only at OpenAI; this model is another provider's");
            return Err(Reject::new(item.place("type"), message));
        }
    };
    thread::push(&mut request.turns, role, vec![block]);
    Ok(())
}

fn decode_message(mut item: Fields, request: &mut Request) -> Result<(), Reject> {
    let role = item.need_text("role")?;
    let blocks = match item.take("content") {
        Some(Value::String(text)) => vec![Block::text(text)],
        Some(Value::Array(parts)) => decode_parts(&item.place("content"), parts)?,
        None => return Err(item.missing("content")),
        Some(other) => return Err(item.wrong("content", "a string or a list of parts", &other)),
    };
    match role.as_str() {
        "user" => thread::push(&mut request.turns, Role::User, blocks),
        "assistant" => thread::push(&mut request.turns, Role::Assistant, blocks),
        "system" | "developer" => request.system.extend(blocks),
        other => {
            let message = format!("must be user, assistant, system or developer, not \"{other}\"");
            return Err(Reject::new(item.place("role"), message));
        }
    }
    Ok(())
}

fn decode_parts(place: &str, parts: Vec<Value>) -> Result<Vec<Block>, Reject> {
    let parts = parts.into_iter().enumerate();
    parts.map(|(index, part)| decode_part(Fields::new(format!("{place}[{index}]"), part)?)).collect()
}

fn decode_part(mut part: Fields) -> Result<Block, Reject> {
    let kind = part.need_text("type")?;
    Ok(match kind.as_str() {
        "input_text" | "output_text" | "text" => Block::text(part.need_text("text")?),
        "refusal" => Block::Refusal(part.need_text("refusal")?),
        "input_image" => match (part.text("image_url")?, part.text("file_id")?) {
            (Some(url), _) => Block::Image(thread::media_of_url(url)),
            (None, Some(id)) => {
                Block::Image(Media { media_type: String::new(), source: MediaSource::Id(id), name: None })
            }
            (None, None) => return Err(part.missing("image_url")),
        },
        "input_file" => {
            let name = part.text("filename")?;
            let media = match (part.text("file_data")?, part.text("file_url")?, part.text("file_id")?) {
                (Some(data), _, _) | (None, Some(data), _) => thread::media_of_url(data),
                (None, None, Some(id)) => {
                    Media { media_type: String::new(), source: MediaSource::Id(id), name: None }
                }
                (None, None, None) => return Err(part.missing("file_data")),
            };
            Block::File(Media { name, ..media })
        }
        "input_audio" => {
            let mut audio = part.object("input_audio")?.ok_or_else(|| part.missing("input_audio"))?;
            let format = audio.text("format")?.unwrap_or_else(|| "wav".to_owned());
            let source = MediaSource::Data(audio.need_text("data")?);
            Block::Audio(Media { media_type: thread::audio_type(&format), source, name: None })
        }
        other => {
            let message =
                format!("must be input_text, input_image, input_file or output_text, not \"{other}\"");
            return Err(Reject::new(part.place("type"), message));
        }
    })
}

fn decode_tool(mut tool: Fields) -> Result<Tool, Reject> {
    let kind = tool.text("type")?.unwrap_or_else(|| "function".to_owned());
    if kind != "function" {
        let message = format!("\"{kind}\" tools exist only at OpenAI; this model is another provider's");
        return Err(Reject::new(tool.place("type"), message));
    }
    Ok(Tool {
        name: tool.need_text("name")?,
        description: tool.text("description")?,
        schema: tool.take("parameters").unwrap_or_else(empty_schema),
        strict: tool.flag("strict")?,
    })
}

fn decode_tool_choice(fields: &mut Fields) -> Result<Option<ToolChoice>, Reject> {
    match fields.take("tool_choice") {
        None => Ok(None),
        Some(Value::String(choice)) => Ok(match choice.as_str() {
            "auto" => Some(ToolChoice::Auto),
            "none" => Some(ToolChoice::None),
            "required" => Some(ToolChoice::Any),
            _ => return Err(Reject::new("tool_choice", "must be auto, none, required or a function")),
        }),
        Some(value) => Ok(Some(ToolChoice::Tool(Fields::new("tool_choice", value)?.need_text("name")?))),
    }
}

fn decode_text(fields: &mut Fields, request: &mut Request) -> Result<(), Reject> {
    let Some(mut text) = fields.object("text")? else { return Ok(()) };
    if let Some(mut format) = text.object("format")? {
        request.output = match format.need_text("type")?.as_str() {
            "json_object" => OutputForm::Json,
            "json_schema" => OutputForm::Schema(OutputSchema {
                name: format.text("name")?.unwrap_or_else(|| "answer".to_owned()),
                description: format.text("description")?,
                schema: format.take("schema").unwrap_or_else(empty_schema),
                strict: format.flag("strict")?,
            }),
            _ => OutputForm::Text,
        };
    }
    for (name, value) in text.rest() {
        request.others.insert(format!("text.{name}"), value);
    }
    Ok(())
}

pub(in crate::protocol) fn encode(request: &Request, losses: &mut Losses) -> Value {
    let mut body = Object::default();
    body.set("model", request.model.as_str());
    let instructions = thread::texts(&request.system);
    body.set_some("instructions", Some(instructions).filter(|text| !text.is_empty()));
    let mut input = Vec::new();
    for turn in &request.turns {
        encode_turn(turn, &mut input, losses);
    }
    body.set("input", input);
    body.set_list("tools", request.tools.iter().map(encode_tool).collect());
    if !request.tools.is_empty() {
        body.set_some(
            "tool_choice",
            request.tool_choice.as_ref().map(|choice| match choice {
                ToolChoice::Auto => Value::from("auto"),
                ToolChoice::Any => "required".into(),
                ToolChoice::None => "none".into(),
                ToolChoice::Tool(name) => json!({ "type": "function", "name": name }),
            }),
        );
        body.set_some("parallel_tool_calls", request.parallel_tools);
    }
    match &request.output {
        OutputForm::Text => {}
        OutputForm::Json => {
            body.set("text", json!({ "format": { "type": "json_object" } }));
        }
        OutputForm::Schema(schema) => {
            let mut format = Object::default();
            format.set("type", "json_schema").set("name", schema.name.as_str());
            format.set_some("description", schema.description.as_deref());
            format.set("schema", schema.schema.clone()).set_some("strict", schema.strict);
            body.set("text", json!({ "format": format.value() }));
        }
    }
    let Sampling { temperature, top_p, top_k, seed, frequency_penalty, presence_penalty } = request.sampling;
    body.set_some("temperature", temperature).set_some("top_p", top_p);
    losses.add_if(top_k.is_some(), "top_k");
    losses.add_if(seed.is_some(), "seed");
    losses.add_if(frequency_penalty.is_some(), "frequency_penalty");
    losses.add_if(presence_penalty.is_some(), "presence_penalty");
    losses.add_if(!request.stop.is_empty(), "stop");
    body.set_some("max_output_tokens", request.output_tokens_max);
    match request.thinking {
        None => {}
        Some(Thinking::Off) => losses.add("thinking"),
        Some(thinking) => {
            let effort = thinking.effort().map(Effort::id);
            body.set("reasoning", json!({ "effort": effort, "summary": "auto" }));
        }
    }
    // Nothing is left at the provider; what must come back with the next turn travels with the conversation.
    body.set("store", false).set("include", json!(["reasoning.encrypted_content"]));
    if request.stream {
        body.set("stream", true);
    }
    body.set_some("user", request.user.as_deref());
    for name in request.others.keys() {
        losses.add(name);
    }
    body.value()
}

/// What is said becomes messages; calls, results and thoughts are items of their own between them.
fn encode_turn(turn: &Turn, input: &mut Vec<Value>, losses: &mut Losses) {
    let mut parts = Vec::new();
    let flush = |parts: &mut Vec<Value>, input: &mut Vec<Value>| {
        if !parts.is_empty() {
            let role = if turn.role == Role::Assistant { "assistant" } else { "user" };
            input.push(json!({ "type": "message", "role": role, "content": std::mem::take(parts) }));
        }
    };
    for block in &turn.blocks {
        let item = match block {
            Block::ToolUse(ToolUse { id, name, input, .. }) => {
                Some(json!({ "type": "function_call", "call_id": id, "name": name, "arguments": input }))
            }
            Block::ToolResult(result) => {
                let others = result.content.iter().filter(|block| !matches!(block, Block::Text { .. }));
                let output = thread::result_text(result);
                losses.add_if(result.is_error, "is_error");
                flush(&mut parts, input);
                input.push(json!({ "type": "function_call_output", "call_id": result.id, "output": output }));
                parts.extend(others.filter_map(|block| encode_part(block, turn.role, losses)));
                None
            }
            Block::Thinking { text, signature: Some(signature) } if signature.by == Protocol::Responses => {
                let (id, encrypted) = encrypted(signature);
                let mut item = Object::default();
                item.set("type", "reasoning").set_some("id", id);
                let summary = if text.is_empty() {
                    json!([])
                } else {
                    json!([{ "type": "summary_text", "text": text }])
                };
                item.set("summary", summary).set("encrypted_content", encrypted);
                Some(item.value())
            }
            block => {
                parts.extend(encode_part(block, turn.role, losses));
                None
            }
        };
        if let Some(item) = item {
            flush(&mut parts, input);
            input.push(item);
        }
    }
    flush(&mut parts, input);
}

fn encode_part(block: &Block, role: Role, losses: &mut Losses) -> Option<Value> {
    match block {
        Block::Text { text, .. } if role == Role::Assistant => {
            Some(json!({ "type": "output_text", "text": text, "annotations": [] }))
        }
        Block::Text { text, .. } => Some(json!({ "type": "input_text", "text": text })),
        Block::Refusal(text) => Some(json!({ "type": "refusal", "refusal": text })),
        Block::Image(Media { source: MediaSource::Id(id), .. }) => {
            Some(json!({ "type": "input_image", "file_id": id, "detail": "auto" }))
        }
        Block::Image(media) => {
            let url = thread::url_of_media(media)?;
            Some(json!({ "type": "input_image", "image_url": url, "detail": "auto" }))
        }
        Block::File(media) => Some(match &media.source {
            MediaSource::Id(id) => json!({ "type": "input_file", "file_id": id }),
            MediaSource::Url(url) => json!({ "type": "input_file", "file_url": url }),
            MediaSource::Text(text) => json!({ "type": "input_text", "text": text }),
            MediaSource::Data(_) => {
                let name = media.name.as_deref().unwrap_or("document");
                json!({ "type": "input_file", "filename": name, "file_data": thread::url_of_media(media) })
            }
        }),
        Block::Audio(_) => {
            losses.add("audio");
            None
        }
        Block::Thinking { .. } | Block::ThinkingRedacted(_) => {
            losses.add("thinking");
            None
        }
        Block::CachePoint | Block::ToolResult(_) | Block::ToolUse(_) => None,
    }
}

fn encode_tool(tool: &Tool) -> Value {
    let mut out = Object::default();
    out.set("type", "function").set("name", tool.name.as_str());
    out.set_some("description", tool.description.as_deref()).set("parameters", tool.schema.clone());
    out.set("strict", tool.strict.unwrap_or(false));
    out.value()
}
