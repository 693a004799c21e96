//! Requests of the chat protocol.

use serde_json::{Value, json};

use crate::Protocol;
use crate::fields::{Fields, Object, Reject};
use crate::form::{
    Block, Effort, Losses, Media, MediaSource, OutputForm, OutputSchema, Request, Role, Sampling, Signature,
    Thinking, Tool, ToolChoice, ToolResult, ToolUse, Turn,
};
use crate::protocol::thread;

pub(in crate::protocol) fn decode(body: &[u8]) -> Result<Request, Reject> {
    let mut fields = Fields::parse(body)?;
    let mut request = Request { model: fields.need_text("model")?, ..Request::default() };
    let messages = fields.objects("messages")?;
    if messages.is_empty() {
        return Err(fields.missing("messages"));
    }
    for message in messages {
        decode_message(message, &mut request)?;
    }
    request.tools = fields.objects("tools")?.into_iter().map(decode_tool).collect::<Result<_, _>>()?;
    request.tool_choice = decode_tool_choice(&mut fields)?;
    request.parallel_tools = fields.flag("parallel_tool_calls")?;
    request.output = decode_output(&mut fields)?;
    request.sampling = Sampling {
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.count("top_k")?,
        seed: fields.integer("seed")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        presence_penalty: fields.number("presence_penalty")?,
    };
    let older = fields.count("max_tokens")?;
    request.output_tokens_max = fields.count("max_completion_tokens")?.or(older);
    request.stop = fields.texts("stop")?;
    if let Some(effort) = fields.text("reasoning_effort")? {
        request.thinking = match effort.as_str() {
            "none" => Some(Thinking::Off),
            other => Effort::by_id(other).map(Thinking::Effort),
        };
    }
    request.stream = fields.flag("stream")?.unwrap_or(false);
    if let Some(mut options) = fields.object("stream_options")? {
        request.stream_usage = options.flag("include_usage")?.unwrap_or(false);
    }
    request.user = fields.text("user")?;
    request.others = fields.rest();
    // What says nothing is no loss: one answer, and no probabilities.
    request.others.retain(|name, value| {
        !(name == "n" && *value == 1
            || name == "logprobs" && *value == false
            || name == "store" && *value == false)
    });
    Ok(request)
}

fn decode_message(mut message: Fields, request: &mut Request) -> Result<(), Reject> {
    let role = message.need_text("role")?;
    match role.as_str() {
        "system" | "developer" => request.system.extend(decode_content(&mut message)?),
        "user" => thread::push(&mut request.turns, Role::User, decode_content(&mut message)?),
        "assistant" => {
            let blocks = decode_assistant(&mut message)?;
            thread::push(&mut request.turns, Role::Assistant, blocks);
        }
        "tool" | "function" => {
            let id = match message.text("tool_call_id")? {
                Some(id) => id,
                None => message.need_text("name")?,
            };
            let content = decode_content(&mut message)?;
            let result = Block::ToolResult(ToolResult { id, content, is_error: false });
            thread::push(&mut request.turns, Role::User, vec![result]);
        }
        other => {
            return Err(Reject::new(
                message.place("role"),
                format!("must be system, developer, user, assistant or tool, not \"{other}\""),
            ));
        }
    }
    Ok(())
}

fn decode_assistant(message: &mut Fields) -> Result<Vec<Block>, Reject> {
    let mut blocks = Vec::new();
    // Thoughts come back as they were given: with their signature where there is one.
    let thoughts = message.objects("thinking_blocks")?;
    let plain = message.text("reasoning_content")?;
    if thoughts.is_empty()
        && let Some(text) = plain.filter(|text| !text.is_empty())
    {
        blocks.push(Block::Thinking { text, signature: None });
    }
    for mut thought in thoughts {
        let signature = thought.text("signature")?.map(|text| Signature::from_client(&text, Protocol::Chat));
        let redacted = thought.text("data")?.map(|text| Signature::from_client(&text, Protocol::Chat));
        let text = thought.text("thinking")?.unwrap_or_default();
        blocks.push(match redacted {
            Some(redacted) => Block::ThinkingRedacted(redacted),
            None => Block::Thinking { text, signature },
        });
    }
    blocks.extend(decode_content(message)?);
    if let Some(refusal) = message.text("refusal")?.filter(|text| !text.is_empty()) {
        blocks.push(Block::Refusal(refusal));
    }
    for mut call in message.objects("tool_calls")? {
        let id = call.need_text("id")?;
        let signature = call.text("signature")?.map(|text| Signature::from_client(&text, Protocol::Chat));
        let mut function = call.object("function")?.ok_or_else(|| call.missing("function"))?;
        let name = function.need_text("name")?;
        let input = thread::input_text(function.take("arguments"));
        blocks.push(Block::ToolUse(ToolUse { id, name, input, signature }));
    }
    if let Some(mut call) = message.object("function_call")? {
        let name = call.need_text("name")?;
        let input = thread::input_text(call.take("arguments"));
        blocks.push(Block::ToolUse(ToolUse { id: name.clone(), name, input, signature: None }));
    }
    Ok(blocks)
}

fn decode_content(message: &mut Fields) -> Result<Vec<Block>, Reject> {
    match message.take("content") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Block::text(text)]),
        Some(Value::Array(parts)) => {
            let place = message.place("content");
            let mut blocks = Vec::new();
            for (index, part) in parts.into_iter().enumerate() {
                decode_part(Fields::new(format!("{place}[{index}]"), part)?, &mut blocks)?;
            }
            Ok(blocks)
        }
        Some(other) => Err(message.wrong("content", "a string or a list of parts", &other)),
    }
}

fn decode_part(mut part: Fields, blocks: &mut Vec<Block>) -> Result<(), Reject> {
    let kind = part.need_text("type")?;
    let block = match kind.as_str() {
        "text" => Block::text(part.need_text("text")?),
        "refusal" => Block::Refusal(part.need_text("refusal")?),
        "image_url" => {
            let url = match part.take("image_url") {
                Some(Value::String(url)) => url,
                Some(value) => Fields::new(part.place("image_url"), value)?.need_text("url")?,
                None => return Err(part.missing("image_url")),
            };
            Block::Image(thread::media_of_url(url))
        }
        "input_audio" => {
            let mut audio = part.object("input_audio")?.ok_or_else(|| part.missing("input_audio"))?;
            let format = audio.text("format")?.unwrap_or_else(|| "wav".to_owned());
            let source = MediaSource::Data(audio.need_text("data")?);
            Block::Audio(Media { media_type: thread::audio_type(&format), source, name: None })
        }
        "file" => {
            let mut file = part.object("file")?.ok_or_else(|| part.missing("file"))?;
            let name = file.text("filename")?;
            let media = match (file.text("file_data")?, file.text("file_id")?) {
                (Some(data), _) => thread::media_of_url(data),
                (None, Some(id)) => {
                    Media { media_type: String::new(), source: MediaSource::Id(id), name: None }
                }
                (None, None) => return Err(file.missing("file_data")),
            };
            Block::File(Media { name, ..media })
        }
        other => {
            return Err(Reject::new(
                part.place("type"),
                format!("must be text, image_url, input_audio, file or refusal, not \"{other}\""),
            ));
        }
    };
    blocks.push(block);
    if part.take("cache_control").is_some() {
        blocks.push(Block::CachePoint);
    }
    Ok(())
}

fn decode_tool(mut tool: Fields) -> Result<Tool, Reject> {
    let kind = tool.text("type")?.unwrap_or_else(|| "function".to_owned());
    if kind != "function" {
        let message =
            format!("\"{kind}\" tools exist only at the provider whose protocol this is; use function");
        return Err(Reject::new(tool.place("type"), message));
    }
    let mut function = tool.object("function")?.ok_or_else(|| tool.missing("function"))?;
    Ok(Tool {
        name: function.need_text("name")?,
        description: function.text("description")?,
        schema: function.take("parameters").unwrap_or_else(empty_schema),
        strict: function.flag("strict")?,
    })
}

/// The schema of a function without parameters.
pub(in crate::protocol) fn empty_schema() -> Value {
    json!({ "type": "object", "properties": {} })
}

fn decode_tool_choice(fields: &mut Fields) -> Result<Option<ToolChoice>, Reject> {
    match fields.take("tool_choice") {
        None => Ok(None),
        Some(Value::String(choice)) => match choice.as_str() {
            "auto" => Ok(Some(ToolChoice::Auto)),
            "none" => Ok(Some(ToolChoice::None)),
            "required" | "any" => Ok(Some(ToolChoice::Any)),
            other => Err(Reject::new(
                "tool_choice",
                format!("must be auto, none, required or a function, not \"{other}\""),
            )),
        },
        Some(value) => {
            let mut choice = Fields::new("tool_choice", value)?;
            let mut function = choice.object("function")?.ok_or_else(|| choice.missing("function"))?;
            Ok(Some(ToolChoice::Tool(function.need_text("name")?)))
        }
    }
}

fn decode_output(fields: &mut Fields) -> Result<OutputForm, Reject> {
    let Some(mut format) = fields.object("response_format")? else { return Ok(OutputForm::Text) };
    let kind = format.need_text("type")?;
    match kind.as_str() {
        "text" => Ok(OutputForm::Text),
        "json_object" => Ok(OutputForm::Json),
        "json_schema" => {
            let mut schema = format.object("json_schema")?.ok_or_else(|| format.missing("json_schema"))?;
            Ok(OutputForm::Schema(OutputSchema {
                name: schema.text("name")?.unwrap_or_else(|| "answer".to_owned()),
                description: schema.text("description")?,
                schema: schema.take("schema").unwrap_or_else(empty_schema),
                strict: schema.flag("strict")?,
            }))
        }
        other => Err(Reject::new(
            "response_format.type",
            format!("must be text, json_object or json_schema, not \"{other}\""),
        )),
    }
}

pub(in crate::protocol) fn encode(request: &Request, losses: &mut Losses) -> Value {
    let mut body = Object::default();
    body.set("model", request.model.as_str());
    let mut messages = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({ "role": "system", "content": thread::texts(&request.system) }));
    }
    for turn in &request.turns {
        match turn.role {
            Role::User => encode_user(turn, &mut messages, losses),
            Role::Assistant => messages.push(encode_assistant(turn, losses)),
        }
    }
    body.set("messages", messages);
    body.set_list("tools", request.tools.iter().map(encode_tool).collect());
    if !request.tools.is_empty() {
        body.set_some("tool_choice", request.tool_choice.as_ref().map(encode_tool_choice));
        body.set_some("parallel_tool_calls", request.parallel_tools);
    }
    match &request.output {
        OutputForm::Text => {}
        OutputForm::Json => {
            body.set("response_format", json!({ "type": "json_object" }));
        }
        OutputForm::Schema(OutputSchema { name, description, schema, strict }) => {
            let mut form = Object::default();
            form.set("name", name.as_str()).set_some("description", description.as_deref());
            form.set("schema", schema.clone()).set_some("strict", *strict);
            body.set("response_format", json!({ "type": "json_schema", "json_schema": form.value() }));
        }
    }
    let Sampling { temperature, top_p, top_k, seed, frequency_penalty, presence_penalty } = request.sampling;
    body.set_some("temperature", temperature).set_some("top_p", top_p).set_some("seed", seed);
    body.set_some("frequency_penalty", frequency_penalty).set_some("presence_penalty", presence_penalty);
    losses.add_if(top_k.is_some(), "top_k");
    body.set_some("max_completion_tokens", request.output_tokens_max);
    body.set_list("stop", request.stop.iter().map(|stop| stop.as_str().into()).collect());
    match request.thinking {
        None => {}
        Some(Thinking::Off) => losses.add("thinking"),
        Some(thinking) => {
            body.set_some("reasoning_effort", thinking.effort().map(Effort::id));
        }
    }
    if request.stream {
        body.set("stream", true);
        body.set("stream_options", json!({ "include_usage": true }));
    }
    body.set_some("user", request.user.as_deref());
    for name in request.others.keys() {
        losses.add(name);
    }
    body.value()
}

/// Results of tools are messages of their own, and come before what the user adds.
fn encode_user(turn: &Turn, messages: &mut Vec<Value>, losses: &mut Losses) {
    let mut parts = Vec::new();
    for block in &turn.blocks {
        match block {
            Block::ToolResult(result) => {
                let others = result.content.iter().filter(|block| !matches!(block, Block::Text { .. }));
                let text = thread::result_text(result);
                losses.add_if(result.is_error, "is_error");
                messages.push(json!({ "role": "tool", "tool_call_id": result.id, "content": text }));
                // A picture that a tool gave has a place only in what the user says.
                parts.extend(others.filter_map(|block| encode_part(block, losses)));
            }
            block => parts.extend(encode_part(block, losses)),
        }
    }
    if parts.is_empty() {
        return;
    }
    messages.push(json!({ "role": "user", "content": content_of(parts) }));
}

/// One text is written as a string, which every provider understands.
fn content_of(mut parts: Vec<Value>) -> Value {
    match parts.as_mut_slice() {
        [part] if part.get("type").is_some_and(|kind| kind == "text") => {
            part.get_mut("text").map(Value::take).unwrap_or_default()
        }
        _ => Value::Array(parts),
    }
}

fn encode_part(block: &Block, losses: &mut Losses) -> Option<Value> {
    match block {
        Block::Text { text, .. } | Block::Refusal(text) => Some(json!({ "type": "text", "text": text })),
        Block::Image(media) => match thread::url_of_media(media) {
            Some(url) => Some(json!({ "type": "image_url", "image_url": { "url": url } })),
            None => {
                losses.add("image");
                None
            }
        },
        Block::Audio(media) => match &media.source {
            MediaSource::Data(data) => {
                let format = thread::format_of(&media.media_type);
                Some(json!({ "type": "input_audio", "input_audio": { "data": data, "format": format } }))
            }
            MediaSource::Id(_) | MediaSource::Text(_) | MediaSource::Url(_) => {
                losses.add("audio");
                None
            }
        },
        Block::File(media) => encode_file(media, losses),
        Block::CachePoint => None,
        Block::Thinking { .. } | Block::ThinkingRedacted(_) => None,
        Block::ToolResult(_) | Block::ToolUse(_) => None,
    }
}

fn encode_file(media: &Media, losses: &mut Losses) -> Option<Value> {
    let name = media.name.as_deref();
    match &media.source {
        MediaSource::Text(text) => {
            let text = name.map(|name| format!("{name}:\n{text}")).unwrap_or_else(|| text.clone());
            Some(json!({ "type": "text", "text": text }))
        }
        MediaSource::Id(id) => Some(json!({ "type": "file", "file": { "file_id": id } })),
        MediaSource::Data(_) => {
            let name = name.unwrap_or("document");
            let data = thread::url_of_media(media);
            Some(json!({ "type": "file", "file": { "filename": name, "file_data": data } }))
        }
        MediaSource::Url(_) => {
            losses.add("file");
            None
        }
    }
}

fn encode_assistant(turn: &Turn, losses: &mut Losses) -> Value {
    let mut message = Object::default();
    message.set("role", "assistant");
    let mut calls = Vec::new();
    for block in &turn.blocks {
        match block {
            Block::ToolUse(ToolUse { id, name, input, .. }) => calls.push(
                json!({ "id": id, "type": "function", "function": { "name": name, "arguments": input } }),
            ),
            // Providers of this protocol do not take thoughts back, and need none.
            Block::Thinking { .. } | Block::ThinkingRedacted(_) => losses.add("thinking"),
            Block::CachePoint => {}
            Block::Text { .. } | Block::Refusal(_) => {}
            Block::Audio(_) => losses.add("audio"),
            Block::File(_) => losses.add("file"),
            Block::Image(_) => losses.add("image"),
            Block::ToolResult(_) => losses.add("tool_result"),
        }
    }
    let texts: Vec<&str> = turn
        .blocks
        .iter()
        .filter_map(|block| match block {
            Block::Text { text, .. } | Block::Refusal(text) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    let text = if texts.is_empty() { Value::Null } else { texts.join("").into() };
    message.set("content", text).set_list("tool_calls", calls);
    message.value()
}

fn encode_tool(tool: &Tool) -> Value {
    let mut function = Object::default();
    function.set("name", tool.name.as_str()).set_some("description", tool.description.as_deref());
    function.set("parameters", tool.schema.clone()).set_some("strict", tool.strict);
    json!({ "type": "function", "function": function.value() })
}

fn encode_tool_choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => "auto".into(),
        ToolChoice::Any => "required".into(),
        ToolChoice::None => "none".into(),
        ToolChoice::Tool(name) => json!({ "type": "function", "function": { "name": name } }),
    }
}
