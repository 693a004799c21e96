//! A provider of AI models that does what the name of the model says: it answers in every protocol, streams at a pace, calls tools,
//! thinks, and fails in all the ways that real providers fail ([`fault`]).
//!
//! The path says which protocol is spoken, as with the real ones. Every request is kept, so that a test can count and read them: in
//! this process with [`Provider::seen`], from another one under `/_seen` (`DELETE` forgets them). `POST /_go` lets silent models
//! go on, and `DELETE` holds them again.

mod dialect;
mod fault;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use self::dialect::{Dialect, Events};
use self::fault::Fault;
use crate::message::{Reader, Request};
use crate::wait::Gate;

/// What every model says, where its name does not say otherwise.
const WORDS: [&str; 4] = ["Hello", " from", " the", " provider"];
const THOUGHT: &str = "They greet me.";

/// The server. It serves until its runtime ends.
#[derive(Debug)]
pub struct Provider {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Request>>,
    /// How often each model was asked: some fail only the first time.
    asked: Mutex<HashMap<String, usize>>,
    gate: Mutex<Option<Gate>>,
}

/// What is asked for.
#[derive(Debug)]
struct Asked {
    dialect: Dialect,
    model: String,
    stream: bool,
    /// Names of the functions that may be called.
    tools: Vec<String>,
    /// A result of a function is among what was said last.
    has_result: bool,
    wants_usage: bool,
}

/// What the model says.
#[derive(Debug, Default)]
struct Said {
    thought: Option<&'static str>,
    words: Vec<String>,
    calls: Vec<String>,
}

impl Provider {
    pub async fn start() -> io::Result<Provider> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = serving.clone();
                tokio::spawn(async move { serve(stream, &shared).await });
            }
        });
        Ok(Provider { address, shared })
    }

    /// All requests since the start.
    pub fn seen(&self) -> Vec<Request> {
        self.shared.seen.lock().expect("no test panics in here").clone()
    }
}

impl Shared {
    fn gate(&self) -> Gate {
        self.gate.lock().expect("nobody panics with it").get_or_insert_with(Gate::new).clone()
    }

    /// How often this model was asked before.
    fn count(&self, model: &str) -> usize {
        let mut asked = self.asked.lock().expect("nobody panics with it");
        let count = asked.entry(model.to_owned()).or_default();
        *count += 1;
        *count - 1
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    // Whoever looks into a fault tries TLS (RFC 8446 section 5.1, a handshake's first byte), which providers at a plain port close.
    let mut first = [0];
    if stream.peek(&mut first).await.is_err() || first == [22] {
        return;
    }
    let mut buffer = Vec::new();
    loop {
        let mut reader = Reader { stream: &mut stream, buffer: &mut buffer };
        let Some(request) = reader.request(0).await else { return };
        let is_kept = match request.target.as_str() {
            "/_seen" | "/_go" => control(&mut stream, shared, &request).await,
            _ => {
                shared.seen.lock().expect("nobody panics with it").push(request.clone());
                answer(&mut stream, shared, &request).await
            }
        };
        match is_kept {
            Ok(true) => {}
            // The one who asked may have left, and faults end connections.
            Ok(false) | Err(_) => return,
        }
    }
}

/// What tests ask beside the protocols.
async fn control(stream: &mut TcpStream, shared: &Shared, request: &Request) -> io::Result<bool> {
    let body = match (request.target.as_str(), request.method.as_str()) {
        ("/_seen", "DELETE") => {
            shared.seen.lock().expect("nobody panics with it").clear();
            shared.asked.lock().expect("nobody panics with it").clear();
            json!({})
        }
        ("/_go", "DELETE") => {
            *shared.gate.lock().expect("nobody panics with it") = None;
            json!({})
        }
        ("/_go", _) => {
            shared.gate().open();
            json!({})
        }
        _ => {
            let seen = shared.seen.lock().expect("nobody panics with it");
            seen.iter().map(told).collect()
        }
    };
    whole(stream, 200, "application/json", &[], body.to_string().as_bytes()).await
}

/// A request as a test of another language reads it: names in small letters, the body as its JSON and as Latin-1 text.
fn told(request: &Request) -> Value {
    let headers =
        request.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().into()));
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_else(|_| json!({}));
    json!({
        "method": request.method,
        "path": request.target,
        "headers": headers.collect::<serde_json::Map<_, _>>(),
        "model": model_of(&request.target, &body),
        "body": body,
        "raw": request.body.iter().copied().map(char::from).collect::<String>(),
    })
}

fn model_of(target: &str, body: &Value) -> String {
    let path = target.split('?').next().unwrap_or(target);
    let in_path = path.split_once("/models/").map(|(_, rest)| rest.split(':').next().unwrap_or(rest));
    let in_path = in_path.or_else(|| path.strip_prefix("/model/").and_then(|rest| rest.split('/').next()));
    in_path.or_else(|| body.get("model").and_then(Value::as_str)).unwrap_or_default().to_owned()
}

async fn answer(stream: &mut TcpStream, shared: &Shared, request: &Request) -> io::Result<bool> {
    let path = request.target.split('?').next().unwrap_or_default();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let model = model_of(&request.target, &body);
    let Some(asked) = Asked::new(path, &body, &model) else {
        return other(stream, path, &model, shared).await;
    };
    let said = asked.said();
    if let Some(fault) = Fault::named(&model, shared.count(&model)) {
        return fault.run(stream, shared, &asked, &said).await;
    }
    if !asked.stream {
        let body = asked.dialect.whole(&asked, &said).to_string();
        return whole(stream, 200, "application/json", &[], body.as_bytes()).await;
    }
    let events = asked.dialect.events(&asked, &said);
    begin(stream, asked.dialect).await?;
    for event in events.all() {
        chunk(stream, event).await?;
        if let Some(pause) = asked.pause() {
            tokio::time::sleep(pause).await;
        }
    }
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(true)
}

/// What is no conversation.
async fn other(stream: &mut TcpStream, path: &str, model: &str, shared: &Shared) -> io::Result<bool> {
    if let Some(fault) = Fault::named(model, shared.count(model)) {
        let asked =
            Asked::new("/v1/chat/completions", &Value::Null, model).expect("a path of the chat protocol");
        return fault.run(stream, shared, &asked, &Said::default()).await;
    }
    let usage = json!({ "prompt_tokens": 2, "total_tokens": 2 });
    let vector = json!([0.5, 0.25]);
    let body = match path.rsplit('/').next().unwrap_or_default() {
        "embeddings" => json!({
            "object": "list", "model": model, "usage": usage,
            "data": [{ "object": "embedding", "index": 0, "embedding": vector }],
        }),
        "count_tokens" => json!({ "input_tokens": 12 }),
        "rerank" => json!({ "id": "r", "results": [{ "index": 0, "relevance_score": 0.5 }] }),
        "moderations" => json!({ "id": "m", "model": model, "results": [{ "flagged": false }] }),
        "generations" => json!({ "created": 1, "data": [{ "b64_json": "aGVsbG8=" }] }),
        "transcriptions" | "translations" => json!({ "text": "heard" }),
        "speech" => return whole(stream, 200, "audio/mpeg", &[], b"\x00\xffsound").await,
        "files" | "batches" => json!({ "id": "f-1", "object": "file", "data": [] }),
        verb if verb.ends_with(":embedContent") => json!({ "embedding": { "values": vector } }),
        verb if verb.ends_with(":batchEmbedContents") => json!({ "embeddings": [{ "values": vector }] }),
        verb if verb.ends_with(":countTokens") => json!({ "totalTokens": 12 }),
        _ => {
            let body = json!({ "error": { "message": format!("no place {path}"), "code": "not_found" } });
            return whole(stream, 404, "application/json", &[], body.to_string().as_bytes()).await;
        }
    };
    whole(stream, 200, "application/json", &[], body.to_string().as_bytes()).await
}

impl Asked {
    fn new(path: &str, body: &Value, model: &str) -> Option<Asked> {
        let (dialect, stream) = Dialect::of(path, body)?;
        let wants_usage = body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true));
        Some(Asked {
            dialect,
            model: model.to_owned(),
            stream,
            tools: dialect.tools(body),
            has_result: dialect.has_result(body),
            wants_usage,
        })
    }

    /// `long-500` says 500 words, `thinks` thinks before, and a model that may call a function calls it: `two-calls` twice.
    fn said(&self) -> Said {
        let thought = self.model.starts_with("thinks").then_some(THOUGHT);
        if !self.tools.is_empty() && !self.has_result {
            let times = if self.model.starts_with("two-calls") { 2 } else { 1 };
            let calls = self.tools.iter().cycle().take(times).cloned().collect();
            return Said { thought, words: Vec::new(), calls };
        }
        let words = match self.number("long-") {
            Some(count) => (0..count).map(|number| format!("word{number} ")).collect(),
            None => WORDS.map(str::to_owned).to_vec(),
        };
        Said { thought, words, calls: Vec::new() }
    }

    /// The number in a part of the model's name: of `long-` in `paced-5-long-100` it is 100.
    fn number(&self, name: &str) -> Option<u64> {
        let rest = self.model.split_once(name)?.1;
        rest.split('-').next()?.parse().ok()
    }

    /// `paced-20` waits 20 ms after each event.
    fn pause(&self) -> Option<Duration> {
        self.number("paced-").map(Duration::from_millis)
    }
}

/// An answer with its length.
async fn whole(
    stream: &mut TcpStream,
    status: u16,
    media_type: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> io::Result<bool> {
    let mut answer = format!("HTTP/1.1 {status} x\r\ncontent-type: {media_type}\r\n").into_bytes();
    for (name, value) in fields {
        answer.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    // What no client of a gateway may see.
    answer.extend_from_slice(b"set-cookie: provider=secret\r\nx-internal: provider-internal\r\n");
    answer.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    answer.extend_from_slice(body);
    stream.write_all(&answer).await?;
    Ok(true)
}

/// The head of a stream.
async fn begin(stream: &mut TcpStream, dialect: Dialect) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\n\r\n",
        dialect.stream_media_type()
    );
    stream.write_all(head.as_bytes()).await
}

async fn chunk(stream: &mut TcpStream, event: &[u8]) -> io::Result<()> {
    let mut chunk = format!("{:x}\r\n", event.len()).into_bytes();
    chunk.extend_from_slice(event);
    chunk.extend_from_slice(b"\r\n");
    stream.write_all(&chunk).await
}

impl Events {
    fn all(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.before.iter().chain(&self.content).chain(&self.end)
    }
}
