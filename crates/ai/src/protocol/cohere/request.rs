//! Requests of Cohere's protocol.

use serde_json::{Value, json};

use crate::fields::Object;
use crate::form::{Block, Losses, OutputForm, Request, Role, Sampling, Thinking, Tool, ToolChoice, ToolUse};
use crate::protocol::thread;

pub(in crate::protocol) fn encode(request: &Request, losses: &mut Losses) -> Value {
    let mut body = Object::default();
    body.set("model", request.model.as_str()).set("stream", request.stream);
    let mut messages = Vec::new();
    if !request.system.is_empty() {
        messages.push(json!({ "role": "system", "content": thread::texts(&request.system) }));
    }
    for turn in &request.turns {
        match turn.role {
            Role::User => encode_user(&turn.blocks, &mut messages, losses),
            Role::Assistant => messages.push(encode_assistant(&turn.blocks, losses)),
        }
    }
    body.set("messages", messages);
    body.set_list("tools", request.tools.iter().map(encode_tool).collect());
    match &request.tool_choice {
        None | Some(ToolChoice::Auto) => {}
        Some(ToolChoice::Any) => {
            body.set("tool_choice", "REQUIRED");
        }
        Some(ToolChoice::None) => {
            body.set("tool_choice", "NONE");
        }
        Some(ToolChoice::Tool(_)) => {
            body.set("tool_choice", "REQUIRED");
            losses.add_if(request.tools.len() > 1, "tool_choice");
        }
    }
    match &request.output {
        OutputForm::Text => {}
        OutputForm::Json => {
            body.set("response_format", json!({ "type": "json_object" }));
        }
        OutputForm::Schema(schema) => {
            body.set("response_format", json!({ "type": "json_object", "json_schema": schema.schema }));
        }
    }
    let Sampling { temperature, top_p, top_k, seed, frequency_penalty, presence_penalty } = request.sampling;
    losses.add_if(temperature.is_some_and(|temperature| temperature > 1.0), "temperature");
    body.set_some("temperature", temperature.map(|temperature| temperature.min(1.0)));
    body.set_some("p", top_p).set_some("k", top_k).set_some("seed", seed);
    body.set_some("frequency_penalty", frequency_penalty).set_some("presence_penalty", presence_penalty);
    body.set_some("max_tokens", request.output_tokens_max);
    body.set_list("stop_sequences", request.stop.iter().map(|stop| stop.as_str().into()).collect());
    match request.thinking {
        None => {}
        Some(Thinking::Off) => {
            body.set("thinking", json!({ "type": "disabled" }));
        }
        Some(thinking) => {
            body.set("thinking", json!({ "type": "enabled", "token_budget": thinking.budget() }));
        }
    }
    losses.add_if(request.parallel_tools == Some(false), "parallel_tool_calls");
    losses.add_if(request.user.is_some(), "user");
    for name in request.others.keys() {
        losses.add(name);
    }
    body.value()
}

fn encode_user(blocks: &[Block], messages: &mut Vec<Value>, losses: &mut Losses) {
    let mut parts = Vec::new();
    for block in blocks {
        match block {
            Block::Text { text, .. } | Block::Refusal(text) => {
                parts.push(json!({ "type": "text", "text": text }))
            }
            Block::Image(media) => match thread::url_of_media(media) {
                Some(url) => parts.push(json!({ "type": "image_url", "image_url": { "url": url } })),
                None => losses.add("image"),
            },
            Block::ToolResult(result) => {
                let document = json!({ "type": "document", "document": { "data": thread::result_value(result).to_string() } });
                messages.push(json!({ "role": "tool", "tool_call_id": result.id, "content": [document] }));
            }
            Block::Audio(_) => losses.add("audio"),
            Block::File(_) => losses.add("file"),
            Block::CachePoint | Block::Thinking { .. } | Block::ThinkingRedacted(_) | Block::ToolUse(_) => {}
        }
    }
    if !parts.is_empty() {
        messages.push(json!({ "role": "user", "content": parts }));
    }
}

fn encode_assistant(blocks: &[Block], losses: &mut Losses) -> Value {
    let mut message = Object::default();
    message.set("role", "assistant");
    let text = thread::texts(blocks);
    message.set_some("content", Some(text).filter(|text| !text.is_empty()));
    let has_thought = |block: &Block| matches!(block, Block::Thinking { .. } | Block::ThinkingRedacted(_));
    losses.add_if(blocks.iter().any(has_thought), "thinking");
    let calls = blocks.iter().filter_map(|block| match block {
        Block::ToolUse(ToolUse { id, name, input, .. }) => {
            Some(json!({ "id": id, "type": "function", "function": { "name": name, "arguments": input } }))
        }
        _ => None,
    });
    message.set_list("tool_calls", calls.collect());
    message.value()
}

fn encode_tool(tool: &Tool) -> Value {
    let mut function = Object::default();
    function.set("name", tool.name.as_str()).set_some("description", tool.description.as_deref());
    function.set("parameters", tool.schema.clone());
    json!({ "type": "function", "function": function.value() })
}
