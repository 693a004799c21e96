//! Requests of Google's protocol. Model and streaming stand in the path.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::Protocol;
use crate::fields::{Fields, Object, Reject, put};
use crate::form::{
    Block, Effort, Losses, Media, MediaSource, OutputForm, OutputSchema, Request, Role, Sampling, Signature,
    Thinking, Tool, ToolChoice, ToolResult, ToolUse,
};
use crate::protocol::chat::request::empty_schema;
use crate::protocol::gemini::response::from_client;
use crate::protocol::thread;

pub(in crate::protocol) fn decode(body: &[u8]) -> Result<Request, Reject> {
    let mut fields = Fields::parse(body)?.or_snake();
    let mut request = Request { stream_usage: true, ..Request::default() };
    let mut calls = Calls::default();
    if let Some(mut system) = fields.object("systemInstruction")? {
        request.system = decode_parts(&mut system, &mut calls)?;
    }
    for mut content in fields.objects("contents")? {
        let role = match content.text("role")?.as_deref() {
            Some("model") => Role::Assistant,
            _ => Role::User,
        };
        let blocks = decode_parts(&mut content, &mut calls)?;
        thread::push(&mut request.turns, role, blocks);
    }
    if request.turns.is_empty() {
        return Err(fields.missing("contents"));
    }
    for mut tool in fields.objects("tools")? {
        for declaration in tool.objects("functionDeclarations")? {
            request.tools.push(decode_tool(declaration)?);
        }
        for name in tool.rest().keys() {
            request.others.insert(format!("tools.{name}"), Value::Null);
        }
    }
    if let Some(mut config) = fields.object("toolConfig")?
        && let Some(mut calling) = config.object("functionCallingConfig")?
    {
        let names = calling.texts("allowedFunctionNames")?;
        let mode = calling.text("mode")?.unwrap_or_default();
        request.tool_choice = match (mode.to_ascii_uppercase().as_str(), names.as_slice()) {
            ("ANY", [name]) => Some(ToolChoice::Tool(name.clone())),
            ("ANY", _) => Some(ToolChoice::Any),
            ("NONE", _) => Some(ToolChoice::None),
            ("AUTO" | "VALIDATED", _) => Some(ToolChoice::Auto),
            _ => None,
        };
    }
    if let Some(config) = fields.object("generationConfig")? {
        decode_config(config, &mut request)?;
    }
    request.others.extend(fields.rest());
    Ok(request)
}

/// Calls of the conversation so far: clients of this protocol may leave their ids out.
#[derive(Debug, Default)]
struct Calls {
    count: usize,
    /// Id and name of those that have no result yet.
    open: Vec<(String, String)>,
}

impl Calls {
    fn begin(&mut self, id: Option<String>, name: &str) -> String {
        self.count += 1;
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("call_{}", self.count));
        self.open.push((id.clone(), name.to_owned()));
        id
    }

    fn answer(&mut self, id: Option<String>, name: &str) -> String {
        let id = id.filter(|id| !id.is_empty());
        let found = self.open.iter().position(|(open, of)| match &id {
            Some(id) => open == id,
            None => of == name,
        });
        match (found, id) {
            (Some(found), _) => self.open.remove(found).0,
            (None, Some(id)) => id,
            (None, None) => name.to_owned(),
        }
    }
}

fn decode_parts(content: &mut Fields, calls: &mut Calls) -> Result<Vec<Block>, Reject> {
    content.objects("parts")?.into_iter().map(|part| decode_part(part, calls)).collect()
}

fn decode_part(mut part: Fields, calls: &mut Calls) -> Result<Block, Reject> {
    let signature = part.text("thoughtSignature")?.map(|text| from_client(&text));
    let is_thought = part.flag("thought")?.unwrap_or(false);
    if let Some(text) = part.text("text")? {
        return Ok(match (is_thought, signature) {
            (true, signature) => Block::Thinking { text, signature },
            (false, _) => Block::text(text),
        });
    }
    if let Some(mut data) = part.object("inlineData")? {
        let media_type = data.text("mimeType")?.unwrap_or_default();
        let name = data.text("displayName")?;
        let source = MediaSource::Data(data.need_text("data")?);
        return Ok(media_block(Media { media_type, source, name }));
    }
    if let Some(mut file) = part.object("fileData")? {
        let media_type = file.text("mimeType")?.unwrap_or_default();
        let source = MediaSource::Url(file.need_text("fileUri")?);
        return Ok(media_block(Media { media_type, source, name: None }));
    }
    if let Some(mut call) = part.object("functionCall")? {
        let name = call.need_text("name")?;
        let id = calls.begin(call.text("id")?, &name);
        let input = thread::input_text(call.take("args"));
        return Ok(Block::ToolUse(ToolUse { id, name, input, signature }));
    }
    if let Some(mut response) = part.object("functionResponse")? {
        let name = response.need_text("name")?;
        let id = calls.answer(response.text("id")?, &name);
        let value = response.take("response").unwrap_or_default();
        let is_error = value.get("error").is_some();
        let said = ["result", "output", "error"].iter().find_map(|name| value.get(name));
        let text = match said {
            Some(said) if value.as_object().is_some_and(|map| map.len() == 1) => match said {
                Value::String(text) => text.clone(),
                said => said.to_string(),
            },
            _ => value.to_string(),
        };
        return Ok(Block::ToolResult(ToolResult { id, content: vec![Block::text(text)], is_error }));
    }
    if let Some(signature) = signature {
        return Ok(Block::Thinking { text: String::new(), signature: Some(signature) });
    }
    let names: Vec<String> = part.rest().keys().cloned().collect();
    let message = format!(
        "must have text, inlineData, fileData, functionCall or functionResponse; {} cannot go to another provider",
        names.join(", ")
    );
    Err(Reject::new("contents.parts", message))
}

fn media_block(media: Media) -> Block {
    match media.media_type.split('/').next() {
        Some("image") => Block::Image(media),
        Some("audio") => Block::Audio(media),
        _ => Block::File(media),
    }
}

fn decode_tool(mut tool: Fields) -> Result<Tool, Reject> {
    let schema = tool.take("parametersJsonSchema");
    let openapi = tool.take("parameters");
    Ok(Tool {
        name: tool.need_text("name")?,
        description: tool.text("description")?,
        schema: schema.or_else(|| openapi.map(json_schema)).unwrap_or_else(empty_schema),
        strict: None,
    })
}

/// Google's dialect of OpenAPI schemas as JSON Schema: types in capitals, `nullable`.
fn json_schema(schema: Value) -> Value {
    match schema {
        Value::Object(map) => {
            let nullable = map.get("nullable").is_some_and(|value| *value == true);
            let mut out = Map::new();
            for (key, value) in map {
                let value = match (key.as_str(), value) {
                    ("type", Value::String(kind)) if nullable => json!([kind.to_ascii_lowercase(), "null"]),
                    ("type", Value::String(kind)) => kind.to_ascii_lowercase().into(),
                    ("nullable" | "propertyOrdering" | "property_ordering", _) => continue,
                    ("properties" | "$defs" | "defs", Value::Object(map)) => Value::Object(
                        map.into_iter().map(|(name, schema)| (name, json_schema(schema))).collect(),
                    ),
                    ("enum" | "required" | "default" | "example", value) => value,
                    (_, value) => json_schema(value),
                };
                let key = match key.as_str() {
                    "any_of" => "anyOf".to_owned(),
                    "min_items" => "minItems".to_owned(),
                    "max_items" => "maxItems".to_owned(),
                    "additional_properties" => "additionalProperties".to_owned(),
                    _ => key,
                };
                out.insert(key, value);
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(json_schema).collect()),
        other => other,
    }
}

fn decode_config(mut config: Fields, request: &mut Request) -> Result<(), Reject> {
    request.sampling = Sampling {
        temperature: config.number("temperature")?,
        top_p: config.number("topP")?,
        // It is a floating-point number here.
        top_k: config.number("topK")?.map(|number| number as u64),
        seed: config.integer("seed")?,
        frequency_penalty: config.number("frequencyPenalty")?,
        presence_penalty: config.number("presencePenalty")?,
    };
    request.output_tokens_max = config.count("maxOutputTokens")?;
    request.stop = config.texts("stopSequences")?;
    let schema = config.take("responseJsonSchema").or(config.take("responseSchema").map(json_schema));
    let is_json = config.text("responseMimeType")?.is_some_and(|kind| kind == "application/json");
    request.output = match (schema, is_json) {
        (Some(schema), _) => OutputForm::Schema(OutputSchema {
            name: "answer".to_owned(),
            description: None,
            schema,
            strict: None,
        }),
        (None, true) => OutputForm::Json,
        (None, false) => OutputForm::Text,
    };
    if let Some(mut thinking) = config.object("thinkingConfig")? {
        let level = thinking.text("thinkingLevel")?.map(|level| level.to_ascii_lowercase());
        request.thinking = match (thinking.integer("thinkingBudget")?, level) {
            (Some(0), _) => Some(Thinking::Off),
            (Some(budget), _) => u64::try_from(budget).ok().map(Thinking::Budget),
            (None, Some(level)) => Effort::by_id(&level).map(Thinking::Effort),
            (None, None) => None,
        };
    }
    let others = config
        .rest()
        .into_iter()
        .filter(|(name, value)| !(name == "candidateCount" && *value == 1 || name == "responseModalities"));
    request.others.extend(others);
    Ok(())
}

pub(in crate::protocol) fn encode(request: &Request, losses: &mut Losses) -> Value {
    let mut body = Object::default();
    if !request.system.is_empty() {
        body.set("systemInstruction", json!({ "parts": [{ "text": thread::texts(&request.system) }] }));
    }
    let mut names = HashMap::new();
    let mut contents = Vec::new();
    for turn in &request.turns {
        let role = match turn.role {
            Role::Assistant => "model",
            Role::User => "user",
        };
        let mut parts = Vec::new();
        for block in &turn.blocks {
            encode_block(block, &mut names, &mut parts, losses);
        }
        if turn.role == Role::Assistant && demands_signatures(&request.model) {
            sign_first_call(&mut parts);
        }
        if !parts.is_empty() {
            contents.push(json!({ "role": role, "parts": parts }));
        }
    }
    body.set("contents", contents);
    if !request.tools.is_empty() {
        let declarations: Vec<Value> = request.tools.iter().map(encode_tool).collect();
        body.set("tools", json!([{ "functionDeclarations": declarations }]));
        if let Some(choice) = &request.tool_choice {
            let config = match choice {
                ToolChoice::Auto => json!({ "mode": "AUTO" }),
                ToolChoice::Any => json!({ "mode": "ANY" }),
                ToolChoice::None => json!({ "mode": "NONE" }),
                ToolChoice::Tool(name) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
            };
            body.set("toolConfig", json!({ "functionCallingConfig": config }));
        }
        losses.add_if(request.parallel_tools == Some(false), "parallel_tool_calls");
    }
    let config = encode_config(request);
    if !config.is_empty() {
        body.set("generationConfig", config.value());
    }
    losses.add_if(request.user.is_some(), "user");
    for name in request.others.keys() {
        losses.add(name);
    }
    body.value()
}

fn encode_config(request: &Request) -> Object {
    let mut config = Object::default();
    let Sampling { temperature, top_p, top_k, seed, frequency_penalty, presence_penalty } = request.sampling;
    config.set_some("temperature", temperature).set_some("topP", top_p).set_some("topK", top_k);
    config.set_some("seed", seed);
    config.set_some("frequencyPenalty", frequency_penalty).set_some("presencePenalty", presence_penalty);
    config.set_some("maxOutputTokens", request.output_tokens_max);
    config.set_list("stopSequences", request.stop.iter().map(|stop| stop.as_str().into()).collect());
    match &request.output {
        OutputForm::Text => {}
        OutputForm::Json => {
            config.set("responseMimeType", "application/json");
        }
        OutputForm::Schema(schema) => {
            config.set("responseMimeType", "application/json");
            config.set("responseJsonSchema", schema.schema.clone());
        }
    }
    match request.thinking {
        None => {}
        Some(Thinking::Off) => {
            config.set("thinkingConfig", json!({ "thinkingBudget": 0 }));
        }
        Some(thinking) => {
            let budget = thinking.budget();
            config.set("thinkingConfig", json!({ "thinkingBudget": budget, "includeThoughts": true }));
        }
    }
    config
}

fn encode_block(
    block: &Block,
    names: &mut HashMap<String, String>,
    parts: &mut Vec<Value>,
    losses: &mut Losses,
) {
    match block {
        Block::Text { text, .. } | Block::Refusal(text) if text.is_empty() => {}
        Block::Text { text, .. } | Block::Refusal(text) => parts.push(json!({ "text": text })),
        Block::Image(media) | Block::Audio(media) | Block::File(media) => match encode_media(media) {
            Some(part) => parts.push(part),
            None => losses.add(match block {
                Block::Image(_) => "image",
                Block::Audio(_) => "audio",
                _ => "file",
            }),
        },
        Block::CachePoint => {}
        Block::Thinking { text, signature: Some(Signature { by: Protocol::Gemini, value }) } => {
            // A proof without a thought is that of the call after it.
            parts.push(match text.is_empty() {
                true => json!({ "thoughtSignature": value }),
                false => json!({ "text": text, "thought": true, "thoughtSignature": value }),
            });
        }
        Block::Thinking { .. } | Block::ThinkingRedacted(_) => losses.add("thinking"),
        Block::ToolUse(ToolUse { id, name, input, signature }) => {
            names.insert(id.clone(), name.clone());
            let mut part = Object::default();
            part.set("functionCall", json!({ "name": name, "args": thread::input_value(input) }));
            let before = parts.last().filter(|part| part.as_object().is_some_and(|map| map.len() == 1));
            let before = before.and_then(|part| part.get("thoughtSignature")).cloned();
            if before.is_some() {
                parts.pop();
            }
            let own = signature.as_ref().filter(|signature| signature.by == Protocol::Gemini);
            part.set_some("thoughtSignature", own.map(|own| own.value.clone().into()).or(before));
            parts.push(part.value());
        }
        Block::ToolResult(result) => {
            let name = names.get(&result.id).map_or(result.id.as_str(), String::as_str);
            let response = thread::result_value(result);
            parts.push(json!({ "functionResponse": { "name": name, "response": response } }));
            for block in result.content.iter().filter(|block| !matches!(block, Block::Text { .. })) {
                encode_block(block, names, parts, losses);
            }
        }
    }
}

/// Models from the third generation on refuse a conversation whose calls have no proof of theirs.
fn demands_signatures(model: &str) -> bool {
    model.contains("gemini") && !model.contains("gemini-1") && !model.contains("gemini-2")
}

/// What Google's guide says for calls that another model made (ai.google.dev/gemini-api/docs/thought-signatures): the first of a turn
/// has this in place of a proof.
fn sign_first_call(parts: &mut [Value]) {
    let first = parts.iter_mut().find(|part| part.get("functionCall").is_some());
    if let Some(part) = first.filter(|part| part.get("thoughtSignature").is_none()) {
        put(part, "thoughtSignature", "skip_thought_signature_validator");
    }
}

fn encode_media(media: &Media) -> Option<Value> {
    let media_type = media.media_type.as_str();
    match &media.source {
        MediaSource::Data(data) => Some(json!({ "inlineData": { "mimeType": media_type, "data": data } })),
        MediaSource::Text(text) => Some(json!({ "text": text })),
        MediaSource::Url(url) => {
            let mut file = Object::default();
            file.set("fileUri", url.as_str());
            file.set_some(
                "mimeType",
                Some(media_type).filter(|kind| !kind.is_empty()).or_else(|| guess(url)),
            );
            Some(json!({ "fileData": file.value() }))
        }
        MediaSource::Id(_) => None,
    }
}

/// The provider wants a type for a file at a URL.
fn guess(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    match path.rsplit('.').next()?.to_ascii_lowercase().as_str() {
        "png" => Some("image/png"),
        "jpg" | "jpeg" => Some("image/jpeg"),
        "webp" => Some("image/webp"),
        "gif" => Some("image/gif"),
        "pdf" => Some("application/pdf"),
        _ => None,
    }
}

fn encode_tool(tool: &Tool) -> Value {
    let mut out = Object::default();
    out.set("name", tool.name.as_str()).set_some("description", tool.description.as_deref());
    // An object without properties is refused as a schema; no schema means the same.
    let is_empty = tool.schema.get("properties").and_then(Value::as_object).is_none_or(Map::is_empty);
    if !is_empty {
        out.set("parametersJsonSchema", tool.schema.clone());
    }
    out.value()
}
