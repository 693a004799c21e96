//! Requests of converse. Model and streaming stand in the path.

use serde_json::{Value, json};

use crate::Protocol;
use crate::fields::{Fields, Object, Reject};
use crate::form::{
    Block, Losses, Media, MediaSource, OutputForm, OutputSchema, Request, Role, Sampling, Signature,
    Thinking, Tool, ToolChoice, ToolResult, ToolUse,
};
use crate::protocol::chat::request::empty_schema;
use crate::protocol::thread;

pub(in crate::protocol) fn decode(body: &[u8]) -> Result<Request, Reject> {
    let mut fields = Fields::parse(body)?;
    let mut request = Request { stream_usage: true, ..Request::default() };
    for part in fields.objects("system")? {
        decode_block(part, &mut request.system)?;
    }
    for mut message in fields.objects("messages")? {
        let role = match message.need_text("role")?.as_str() {
            "assistant" => Role::Assistant,
            _ => Role::User,
        };
        let blocks = decode_blocks(&mut message, "content")?;
        thread::push(&mut request.turns, role, blocks);
    }
    if request.turns.is_empty() {
        return Err(fields.missing("messages"));
    }
    if let Some(mut config) = fields.object("inferenceConfig")? {
        request.output_tokens_max = config.count("maxTokens")?;
        request.sampling.temperature = config.number("temperature")?;
        request.sampling.top_p = config.number("topP")?;
        request.stop = config.texts("stopSequences")?;
    }
    if let Some(mut config) = fields.object("toolConfig")? {
        for mut tool in config.objects("tools")? {
            if let Some(spec) = tool.object("toolSpec")? {
                request.tools.push(decode_tool(spec)?);
            }
        }
        if let Some(mut choice) = config.object("toolChoice")? {
            request.tool_choice = if choice.take("any").is_some() {
                Some(ToolChoice::Any)
            } else if let Some(mut tool) = choice.object("tool")? {
                Some(ToolChoice::Tool(tool.need_text("name")?))
            } else {
                Some(ToolChoice::Auto)
            };
        }
    }
    decode_more(&mut fields, &mut request)?;
    request.others = fields.rest();
    Ok(request)
}

/// What AWS hands on to the model as it is, in Anthropic's words; and the form of the answer.
fn decode_more(fields: &mut Fields, request: &mut Request) -> Result<(), Reject> {
    if let Some(mut more) = fields.object("additionalModelRequestFields")? {
        request.sampling.top_k = more.count("top_k")?;
        for name in ["thinking", "reasoning_config"] {
            if let Some(mut thinking) = more.object(name)? {
                request.thinking = match thinking.text("type")?.as_deref() {
                    Some("disabled") => Some(Thinking::Off),
                    _ => Some(Thinking::Budget(thinking.count("budget_tokens")?.unwrap_or(8192))),
                };
            }
        }
        for (name, value) in more.rest() {
            request.others.insert(format!("additionalModelRequestFields.{name}"), value);
        }
    }
    if let Some(mut config) = fields.object("outputConfig")?
        && let Some(mut format) = config.object("textFormat")?
        && let Some(mut structure) = format.object("structure")?
        && let Some(mut schema) = structure.object("jsonSchema")?
    {
        let text = schema.need_text("schema")?;
        let value = serde_json::from_str(&text).map_err(|error| {
            Reject::new("outputConfig.textFormat.structure.jsonSchema.schema", error.to_string())
        })?;
        request.output = OutputForm::Schema(OutputSchema {
            name: schema.text("name")?.unwrap_or_else(|| "answer".to_owned()),
            description: schema.text("description")?,
            schema: value,
            strict: Some(true),
        });
    }
    Ok(())
}

fn decode_blocks(fields: &mut Fields, name: &str) -> Result<Vec<Block>, Reject> {
    let mut blocks = Vec::new();
    for part in fields.objects(name)? {
        decode_block(part, &mut blocks)?;
    }
    Ok(blocks)
}

fn decode_block(mut part: Fields, blocks: &mut Vec<Block>) -> Result<(), Reject> {
    let sign = |text: String| Signature::from_client(&text, Protocol::Bedrock);
    if let Some(text) = part.text("text")? {
        blocks.push(Block::text(text));
    } else if let Some(value) = part.take("json") {
        blocks.push(Block::text(value.to_string()));
    } else if let Some(mut image) = part.object("image")? {
        let media_type = format!("image/{}", image.text("format")?.unwrap_or_else(|| "png".to_owned()));
        blocks.push(Block::Image(Media { media_type, source: decode_source(&mut image)?, name: None }));
    } else if let Some(mut document) = part.object("document")? {
        let format = document.text("format")?.unwrap_or_else(|| "txt".to_owned());
        let (media_type, name) = (thread::document_type(&format), document.text("name")?);
        blocks.push(Block::File(Media { media_type, source: decode_source(&mut document)?, name }));
    } else if let Some(mut call) = part.object("toolUse")? {
        blocks.push(Block::ToolUse(ToolUse {
            id: call.need_text("toolUseId")?,
            name: call.need_text("name")?,
            input: thread::input_text(call.take("input")),
            signature: None,
        }));
    } else if let Some(mut result) = part.object("toolResult")? {
        blocks.push(Block::ToolResult(ToolResult {
            id: result.need_text("toolUseId")?,
            content: decode_blocks(&mut result, "content")?,
            is_error: result.text("status")?.is_some_and(|status| status == "error"),
        }));
    } else if let Some(mut thought) = part.object("reasoningContent")? {
        if let Some(mut text) = thought.object("reasoningText")? {
            let signature = text.text("signature")?.filter(|text| !text.is_empty()).map(sign);
            blocks.push(Block::Thinking { text: text.text("text")?.unwrap_or_default(), signature });
        } else if let Some(data) = thought.text("redactedContent")? {
            blocks.push(Block::ThinkingRedacted(super::response::from_client(&data)));
        }
    } else if part.take("cachePoint").is_some() {
        blocks.push(Block::CachePoint);
    } else {
        let place = part.place("");
        let names: Vec<String> = part.rest().keys().cloned().collect();
        let message = format!("{} cannot go to another provider", names.join(", "));
        return Err(Reject::new(place.trim_end_matches('.'), message));
    }
    Ok(())
}

fn decode_source(part: &mut Fields) -> Result<MediaSource, Reject> {
    let mut source = part.object("source")?.ok_or_else(|| part.missing("source"))?;
    if let Some(data) = source.text("bytes")? {
        return Ok(MediaSource::Data(data));
    }
    if let Some(text) = source.text("text")? {
        return Ok(MediaSource::Text(text));
    }
    Err(Reject::new(source.place("bytes"), "is missing; what lies in S3 cannot go to another provider"))
}

fn decode_tool(mut spec: Fields) -> Result<Tool, Reject> {
    let schema = match spec.object("inputSchema")? {
        Some(mut schema) => schema.take("json"),
        None => None,
    };
    Ok(Tool {
        name: spec.need_text("name")?,
        description: spec.text("description")?,
        schema: schema.unwrap_or_else(empty_schema),
        strict: spec.flag("strict")?,
    })
}

pub(in crate::protocol) fn encode(request: &Request, losses: &mut Losses) -> Value {
    let mut body = Object::default();
    body.set_list("system", encode_blocks(&request.system, losses));
    let messages = request.turns.iter().filter_map(|turn| {
        let role = match turn.role {
            Role::Assistant => "assistant",
            Role::User => "user",
        };
        let content = encode_blocks(&turn.blocks, losses);
        (!content.is_empty()).then(|| json!({ "role": role, "content": content }))
    });
    body.set("messages", messages.collect::<Vec<_>>());
    let Sampling { temperature, top_p, top_k, seed, frequency_penalty, presence_penalty } = request.sampling;
    let mut config = Object::default();
    config.set_some("maxTokens", request.output_tokens_max);
    losses.add_if(temperature.is_some_and(|temperature| temperature > 1.0), "temperature");
    config.set_some("temperature", temperature.map(|temperature| temperature.min(1.0)));
    config.set_some("topP", top_p);
    config.set_list("stopSequences", request.stop.iter().map(|stop| stop.as_str().into()).collect());
    if !config.is_empty() {
        body.set("inferenceConfig", config.value());
    }
    if !request.tools.is_empty() && request.tool_choice != Some(ToolChoice::None) {
        let tools: Vec<Value> = request.tools.iter().map(encode_tool).collect();
        let mut config = Object::default();
        config.set("tools", tools);
        match &request.tool_choice {
            None | Some(ToolChoice::None) => {}
            Some(ToolChoice::Auto) => {
                config.set("toolChoice", json!({ "auto": {} }));
            }
            Some(ToolChoice::Any) => {
                config.set("toolChoice", json!({ "any": {} }));
            }
            Some(ToolChoice::Tool(name)) => {
                config.set("toolChoice", json!({ "tool": { "name": name } }));
            }
        }
        body.set("toolConfig", config.value());
    }
    encode_more(request, top_k, &mut body, losses);
    match &request.output {
        OutputForm::Text => {}
        OutputForm::Json => losses.add("response_format"),
        OutputForm::Schema(schema) => {
            let form = json!({ "schema": schema.schema.to_string(), "name": schema.name });
            let format = json!({ "type": "json_schema", "structure": { "jsonSchema": form } });
            body.set("outputConfig", json!({ "textFormat": format }));
        }
    }
    losses.add_if(seed.is_some(), "seed");
    losses.add_if(frequency_penalty.is_some(), "frequency_penalty");
    losses.add_if(presence_penalty.is_some(), "presence_penalty");
    losses.add_if(request.parallel_tools == Some(false), "parallel_tool_calls");
    losses.add_if(request.user.is_some(), "user");
    for name in request.others.keys() {
        losses.add(name);
    }
    body.value()
}

/// What converse has no field for, and Anthropic's models on Bedrock take all the same.
fn encode_more(request: &Request, top_k: Option<u64>, body: &mut Object, losses: &mut Losses) {
    let is_anthropic = request.model.contains("anthropic");
    let budget = request.thinking.and_then(Thinking::budget);
    losses.add_if(top_k.is_some() && !is_anthropic, "top_k");
    let is_unthought = thread::is_unthought(&request.turns, is_own);
    losses.add_if(budget.is_some() && (!is_anthropic || is_unthought), "thinking");
    let budget = budget.filter(|_| !is_unthought);
    if !is_anthropic {
        return;
    }
    let mut more = Object::default();
    more.set_some("top_k", top_k);
    more.set_some(
        "thinking",
        budget.map(|budget| json!({ "type": "enabled", "budget_tokens": budget.max(1024) })),
    );
    if !more.is_empty() {
        body.set("additionalModelRequestFields", more.value());
    }
}

fn encode_blocks(blocks: &[Block], losses: &mut Losses) -> Vec<Value> {
    let mut out = Vec::new();
    let mut documents = 0;
    for block in blocks {
        let value = match block {
            Block::Text { text, .. } | Block::Refusal(text) if text.trim().is_empty() => continue,
            Block::Text { text, .. } | Block::Refusal(text) => json!({ "text": text }),
            Block::CachePoint => json!({ "cachePoint": { "type": "default" } }),
            Block::Image(Media { media_type, source: MediaSource::Data(data), .. }) => {
                let format = media_type.strip_prefix("image/").unwrap_or("png");
                json!({ "image": { "format": format, "source": { "bytes": data } } })
            }
            Block::File(media) => match encode_document(media, &mut documents) {
                Some(value) => value,
                None => {
                    losses.add("file");
                    continue;
                }
            },
            Block::Image(_) => {
                losses.add("image");
                continue;
            }
            Block::Audio(_) => {
                losses.add("audio");
                continue;
            }
            Block::Thinking { text, signature: Some(signature) } if is_own(signature) => json!({
                "reasoningContent": { "reasoningText": { "text": text, "signature": signature.value } },
            }),
            Block::ThinkingRedacted(data) if is_own(data) => {
                json!({ "reasoningContent": { "redactedContent": data.value } })
            }
            Block::Thinking { .. } | Block::ThinkingRedacted(_) => {
                losses.add("thinking");
                continue;
            }
            Block::ToolUse(ToolUse { id, name, input, .. }) => json!({
                "toolUse": { "toolUseId": tool_id(id), "name": name, "input": thread::input_value(input) },
            }),
            Block::ToolResult(ToolResult { id, content, is_error }) => {
                let status = if *is_error { "error" } else { "success" };
                let content = encode_blocks(content, losses);
                let content = if content.is_empty() { vec![json!({ "text": " " })] } else { content };
                json!({ "toolResult": { "toolUseId": tool_id(id), "content": content, "status": status } })
            }
        };
        out.push(value);
    }
    out
}

/// Anthropic's models sign their thoughts alike, wherever they run.
fn is_own(signature: &Signature) -> bool {
    matches!(signature.by, Protocol::Bedrock | Protocol::Anthropic)
}

/// At most 64 of letters, digits, `_` and `-`.
fn tool_id(id: &str) -> String {
    let fit = |char: char| if char.is_ascii_alphanumeric() || "_-".contains(char) { char } else { '_' };
    id.chars().map(fit).take(64).collect()
}

/// A document needs a name of letters, digits, spaces, hyphens and brackets, other than its neighbours'.
fn encode_document(media: &Media, documents: &mut usize) -> Option<Value> {
    *documents += 1;
    let name: String = match &media.name {
        Some(name) => {
            name.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' }).collect()
        }
        None => format!("document-{documents}"),
    };
    let format = thread::format_of(&media.media_type);
    let (format, source) = match &media.source {
        MediaSource::Data(data) => (format, json!({ "bytes": data })),
        MediaSource::Text(text) => ("txt", json!({ "text": text })),
        MediaSource::Id(_) | MediaSource::Url(_) => return None,
    };
    Some(json!({ "document": { "format": format, "name": name, "source": source } }))
}

fn encode_tool(tool: &Tool) -> Value {
    let mut spec = Object::default();
    spec.set("name", tool.name.as_str());
    spec.set_some("description", tool.description.as_deref().filter(|text| !text.is_empty()));
    spec.set("inputSchema", json!({ "json": tool.schema }));
    json!({ "toolSpec": spec.value() })
}
