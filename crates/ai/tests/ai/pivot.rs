//! Conversations of every kind, made up; and what of one is told apart.

use std::collections::BTreeMap;

use ai::Protocol;
use ai::form::{
    Block, Effort, Event, Media, MediaSource, OutputForm, OutputSchema, Request, Response, Role, Sampling,
    Signature, Stop, Thinking, Tool, ToolChoice, ToolResult, ToolUse, Turn, Usage,
};
use ai::form::{BlockStart, Delta};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Text that JSON, event streams and Base64 must all survive.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,8}[a-z]",
        Just("é\u{2028}😀 \"q\" \\ \r\n\n: x".to_owned()),
        Just("data: [DONE]".to_owned())
    ]
}

fn name() -> impl Strategy<Value = String> {
    "[a-z]{1,4}_[a-z]{1,4}"
}

/// Arguments as every protocol writes them again: an object without spaces.
fn input() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{}".to_owned()),
        text().prop_map(|text| json!({ "city": text, "days": [1, 2.5, null] }).to_string()),
    ]
}

fn schema() -> impl Strategy<Value = Value> {
    name().prop_map(|name| {
        json!({
            "type": "object",
            "properties": { name.clone(): { "type": "string" } },
            "required": [name],
            "additionalProperties": false,
        })
    })
}

fn media(kinds: &'static [&'static str]) -> impl Strategy<Value = Media> {
    prop::sample::select(kinds).prop_map(|kind| Media {
        media_type: kind.to_owned(),
        source: MediaSource::Data("aGVsbG8=".to_owned()),
        name: None,
    })
}

fn user_blocks() -> impl Strategy<Value = Vec<Block>> {
    let block = prop_oneof![
        4 => text().prop_map(Block::text),
        1 => media(&["image/png", "image/jpeg"]).prop_map(Block::Image),
        1 => media(&["audio/wav"]).prop_map(Block::Audio),
        1 => media(&["application/pdf"]).prop_map(Block::File),
    ];
    // With words, so that no turn vanishes whole where a kind has no place.
    (text(), vec(block, 0..3)).prop_map(|(text, mut blocks)| {
        blocks.push(Block::text(text));
        blocks
    })
}

fn thinking(by: Protocol) -> impl Strategy<Value = Block> {
    (text(), option::of("[a-zA-Z0-9]{8}")).prop_map(move |(text, value)| {
        // OpenAI's have the id of their item in front.
        let value =
            value.map(|value| if by == Protocol::Responses { format!("rs_1.{value}") } else { value });
        Block::Thinking { text, signature: value.map(|value| Signature { by, value }) }
    })
}

/// A question, perhaps with tools called and answered before the next one.
fn exchange(by: Protocol) -> impl Strategy<Value = Vec<Turn>> {
    let calls = vec((name(), input(), text(), any::<bool>()), 0..3);
    (user_blocks(), option::of(thinking(by)), option::of(text()), calls).prop_map(
        |(blocks, thought, text, calls)| {
            let mut said: Vec<Block> = thought.into_iter().collect();
            if let Some(text) = text.or_else(|| calls.is_empty().then(|| "ok".to_owned())) {
                said.push(Block::text(text));
            }
            let mut results = Vec::new();
            for (index, (name, input, result, is_error)) in calls.into_iter().enumerate() {
                let id = format!("call_{index}{name}");
                said.push(Block::ToolUse(ToolUse { id: id.clone(), name, input, signature: None }));
                results.push(Block::ToolResult(ToolResult {
                    id,
                    content: vec![Block::text(result)],
                    is_error,
                }));
            }
            let mut turns =
                vec![Turn { role: Role::User, blocks }, Turn { role: Role::Assistant, blocks: said }];
            if !results.is_empty() {
                turns.push(Turn { role: Role::User, blocks: results });
            }
            turns
        },
    )
}

fn tools() -> impl Strategy<Value = Vec<Tool>> {
    let tool = (name(), option::of(text()), schema(), option::of(any::<bool>()));
    vec(tool.prop_map(|(name, description, schema, strict)| Tool { name, description, schema, strict }), 0..3)
}

fn output() -> impl Strategy<Value = OutputForm> {
    prop_oneof![
        3 => Just(OutputForm::Text),
        1 => Just(OutputForm::Json),
        1 => schema().prop_map(|schema| OutputForm::Schema(OutputSchema {
            name: "answer".to_owned(), description: None, schema, strict: Some(true),
        })),
    ]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let tenth = |max: u32| option::of((0..=max).prop_map(|tenths| f64::from(tenths) / 10.0));
    let counts = (option::of(1..50u64), option::of(0..1000i64));
    (tenth(20), tenth(10), counts, tenth(10), tenth(10)).prop_map(
        |(temperature, top_p, (top_k, seed), frequency_penalty, presence_penalty)| Sampling {
            temperature,
            top_p,
            top_k,
            seed,
            frequency_penalty,
            presence_penalty,
        },
    )
}

fn thinking_wish() -> impl Strategy<Value = Option<Thinking>> {
    prop_oneof![
        3 => Just(None),
        1 => Just(Some(Thinking::Off)),
        1 => Just(Some(Thinking::Budget(8192))),
        1 => Just(Some(Thinking::Effort(Effort::High))),
    ]
}

/// What `by` may have thought before.
pub(crate) fn request(by: Protocol) -> impl Strategy<Value = Request> {
    let conversation = (option::of(text()), vec(exchange(by), 1..3), user_blocks());
    let tools = (tools(), 0..4usize, option::of(any::<bool>()));
    let limits = (option::of(1..9000u64), vec("[a-z]{1,5}", 0..3), option::of("[a-z]{3}"));
    (conversation, tools, output(), sampling(), limits, thinking_wish()).prop_map(
        |(
            (system, before, last),
            (tools, choice, parallel),
            output,
            sampling,
            (max, stop, user),
            thinking,
        )| {
            let mut turns: Vec<Turn> = Vec::new();
            let last = Turn { role: Role::User, blocks: last };
            for turn in before.into_iter().flatten().chain([last]) {
                match turns.last_mut() {
                    Some(before) if before.role == turn.role => before.blocks.extend(turn.blocks),
                    _ => turns.push(turn),
                }
            }
            let tool_choice = match (tools.first(), choice) {
                (None, _) | (_, 0) => None,
                (Some(_), 1) => Some(ToolChoice::Auto),
                (Some(_), 2) => Some(ToolChoice::Any),
                (Some(tool), _) => Some(ToolChoice::Tool(tool.name.clone())),
            };
            Request {
                model: "anthropic.model".to_owned(),
                system: system.map(Block::text).into_iter().collect(),
                turns,
                parallel_tools: parallel.filter(|_| !tools.is_empty()),
                tools,
                tool_choice,
                output,
                sampling,
                output_tokens_max: max,
                stop,
                thinking,
                user,
                ..Request::default()
            }
        },
    )
}

pub(crate) fn response(by: Protocol) -> impl Strategy<Value = Response> {
    let calls = vec((name(), input()), 0..3);
    let usage = (1..1000u64, 0..100u64, 1..500u64, 0..50u64);
    let stop = prop::sample::select(&[Stop::End, Stop::Length, Stop::Filtered]);
    (option::of(thinking(by)), option::of(text()), calls, usage, stop).prop_map(
        |(thought, text, calls, (input, cache_read, output, reasoning), stop)| {
            let mut blocks: Vec<Block> = thought.into_iter().collect();
            blocks.extend(text.map(Block::text));
            let has_calls = !calls.is_empty();
            for (index, (name, input)) in calls.into_iter().enumerate() {
                let id = format!("call_{index}");
                blocks.push(Block::ToolUse(ToolUse { id, name, input, signature: None }));
            }
            let output = output + reasoning;
            Response {
                id: "id-1".to_owned(),
                model: "m".to_owned(),
                blocks,
                stop: if has_calls { Stop::ToolUse } else { stop },
                stop_sequence: None,
                usage: Usage { input, cache_read, output, reasoning, ..Usage::default() },
            }
        },
    )
}

/// A request by its aspects: what differs between two is what a translation changed.
pub(crate) fn aspects(request: &Request) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |key: &str, value: String| {
        all.insert(key.to_owned(), value);
    };
    put("system", texts(&request.system));
    // Not every protocol has ids for calls; what counts is which result belongs to which call.
    let mut ids: Vec<&str> = Vec::new();
    let mut kinds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (index, turn) in request.turns.iter().enumerate() {
        put(&format!("text {index}"), format!("{:?} {}", turn.role, texts(&turn.blocks)));
        for block in &turn.blocks {
            let (kind, mut value) = of_block(block);
            if let Block::ToolUse(ToolUse { id, .. }) | Block::ToolResult(ToolResult { id, .. }) = block {
                if matches!(block, Block::ToolUse(_)) {
                    ids.push(id);
                }
                let call = ids.iter().rposition(|known| known == id);
                value = format!("{call:?} {}", value.split_once(' ').unwrap_or_default().1);
            }
            if !kind.is_empty() {
                kinds.entry(kind).or_default().push(value);
            }
        }
    }
    for kind in ["audio", "file", "image", "thought", "tool_result", "tool_use"] {
        put(kind, format!("{:#?}", kinds.get(kind)));
    }
    put(
        "tools",
        format!(
            "{:?}",
            request
                .tools
                .iter()
                .map(|tool| (&tool.name, &tool.description, &tool.schema))
                .collect::<Vec<_>>()
        ),
    );
    put("tool_choice", format!("{:?}", request.tool_choice.as_ref().unwrap_or(&ToolChoice::Auto)));
    put("parallel_tool_calls", format!("{:?}", request.parallel_tools.unwrap_or(true)));
    put(
        "response_format",
        match &request.output {
            OutputForm::Schema(schema) => schema.schema.to_string(),
            other => format!("{other:?}"),
        },
    );
    let sampling = &request.sampling;
    put("temperature", format!("{:?}", sampling.temperature));
    put("top_p", format!("{:?}", sampling.top_p));
    put("top_k", format!("{:?}", sampling.top_k));
    put("seed", format!("{:?}", sampling.seed));
    put("frequency_penalty", format!("{:?}", sampling.frequency_penalty));
    put("presence_penalty", format!("{:?}", sampling.presence_penalty));
    put("stop", format!("{:?}", request.stop));
    put("thinking", format!("{:?}", request.thinking.and_then(Thinking::effort)));
    put("user", format!("{:?}", request.user));
    all
}

fn of_block(block: &Block) -> (&'static str, String) {
    match block {
        Block::Audio(media) => ("audio", format!("{} {:?}", media.media_type, media.source)),
        Block::File(media) => ("file", format!("{} {:?}", media.media_type, media.source)),
        Block::Image(media) => ("image", format!("{} {:?}", media.media_type, media.source)),
        Block::Thinking { text, signature } => ("thought", format!("{text} {signature:?}")),
        Block::ThinkingRedacted(data) => ("thought", format!("{data:?}")),
        Block::ToolResult(result) => ("tool_result", format!("{} {}", result.id, texts(&result.content))),
        Block::ToolUse(call) => {
            let input: Value = serde_json::from_str(&call.input).unwrap_or_default();
            ("tool_use", format!("{} {} {input}", call.id, call.name))
        }
        Block::CachePoint | Block::Refusal(_) | Block::Text { .. } => ("", String::new()),
    }
}

pub(crate) fn texts(blocks: &[Block]) -> String {
    let texts = blocks.iter().filter_map(|block| match block {
        Block::Text { text, .. } | Block::Refusal(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// The events of a stream that says this, its texts and arguments in pieces of so many characters.
pub(crate) fn events(response: &Response, piece: usize) -> Vec<Event> {
    let mut out = vec![Event::Start { id: response.id.clone(), model: response.model.clone() }];
    for (index, block) in response.blocks.iter().enumerate() {
        let (start, text, is_input, signature) = match block {
            Block::Text { text, .. } => (BlockStart::Text, text.as_str(), false, None),
            Block::Thinking { text, signature } => {
                (BlockStart::Thinking, text.as_str(), false, signature.clone())
            }
            Block::ToolUse(call) => {
                let ToolUse { id, name, signature, .. } = call.clone();
                (BlockStart::ToolUse { id, name, signature }, call.input.as_str(), true, None)
            }
            other => panic!("streams of {other:?} are not made up here"),
        };
        out.push(Event::BlockStart { index, block: start });
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(piece) {
            let piece: String = piece.iter().collect();
            let delta = if is_input { Delta::Input(piece) } else { Delta::Text(piece) };
            out.push(Event::Delta { index, delta });
        }
        if let Some(signature) = signature {
            out.push(Event::Delta { index, delta: Delta::Signature(signature) });
        }
        out.push(Event::BlockStop { index });
    }
    out.push(Event::Usage(response.usage));
    out.push(Event::Stop { stop: response.stop, sequence: None });
    out.push(Event::End);
    out
}

/// What the events of a stream say, as a whole answer.
pub(crate) fn folded(events: &[Event]) -> Response {
    let mut whole = Response {
        id: String::new(),
        model: String::new(),
        blocks: Vec::new(),
        stop: Stop::End,
        stop_sequence: None,
        usage: Usage::default(),
    };
    let mut is_ended = false;
    for event in events {
        assert!(!is_ended, "nothing follows the end: {events:#?}");
        match event {
            Event::Start { id, model } => (whole.id, whole.model) = (id.clone(), model.clone()),
            Event::BlockStart { index, block } => {
                assert_eq!(*index, whole.blocks.len(), "blocks are numbered in their order");
                whole.blocks.push(match block.clone() {
                    BlockStart::Refusal => Block::Refusal(String::new()),
                    BlockStart::Text => Block::text(""),
                    BlockStart::Thinking => Block::Thinking { text: String::new(), signature: None },
                    BlockStart::ThinkingRedacted(data) => Block::ThinkingRedacted(data),
                    BlockStart::ToolUse { id, name, signature } => {
                        Block::ToolUse(ToolUse { id, name, input: String::new(), signature })
                    }
                });
            }
            Event::Delta { index, delta } => match (&mut whole.blocks[*index], delta) {
                (Block::Text { text, .. } | Block::Refusal(text), Delta::Text(more)) => text.push_str(more),
                (Block::Thinking { text, .. }, Delta::Text(more)) => text.push_str(more),
                (Block::Thinking { signature, .. }, Delta::Signature(value)) => {
                    *signature = Some(value.clone())
                }
                (Block::ToolUse(call), Delta::Input(more)) => call.input.push_str(more),
                (Block::Text { citations, .. }, Delta::Citation(citation)) => {
                    citations.push(citation.clone())
                }
                (block, delta) => panic!("{delta:?} is nothing of {block:?}"),
            },
            Event::BlockStop { .. } => {}
            Event::Usage(usage) => whole.usage.update(*usage),
            Event::Stop { stop, sequence } => (whole.stop, whole.stop_sequence) = (*stop, sequence.clone()),
            Event::End => is_ended = true,
        }
    }
    assert!(is_ended, "the end came: {events:#?}");
    whole
}

/// What a client would show of an answer, without what protocols write in their own way.
pub(crate) fn essence(response: &Response) -> Vec<String> {
    let mut out = Vec::new();
    for block in &response.blocks {
        let line = match block {
            Block::Text { text, .. } => format!("text {text}"),
            Block::Refusal(text) => format!("refusal {text}"),
            other => {
                let (kind, value) = of_block(other);
                format!("{kind} {value}")
            }
        };
        if line != "text " {
            out.push(line);
        }
    }
    out.push(format!("{:?}", response.stop));
    let usage = &response.usage;
    out.push(format!(
        "in {} of them cached {}, out {}",
        usage.input_all(),
        usage.cache_read,
        usage.output_all()
    ));
    out
}
