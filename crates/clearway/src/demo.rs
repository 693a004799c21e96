//! The simulator behind `--provider demo`: speaks OpenAI's chat completions, says that it is one, and repeats what it was told.
//!
//! For first steps without a vendor's key. It listens on a socket in the data directory, and only Clearway asks it.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

/// The name that the catalogue has for it.
const SOCKET: &str = "demo.sock";
/// Clearway's own requests; it takes no others.
const REQUEST_BYTES_MAX: usize = 64 << 20;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two words of a stream, so that it can be seen to be one.
const WORD_EVERY: Duration = Duration::from_millis(20);
const REPEATED_CHARS_MAX: usize = 400;

/// Starts to answer. A socket that a process before has left is replaced.
pub(crate) fn start(data: &Path) -> std::io::Result<()> {
    let path = data.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    tokio::spawn(async move {
        // An error here is one of a single connection, or of descriptors that will be free again.
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(timeout(Duration::from_secs(60), answer(stream)));
                }
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    });
    Ok(())
}

async fn answer(mut stream: UnixStream) {
    let request = timeout(REQUEST_TIMEOUT, read(&mut stream)).await;
    let Ok(Some(body)) = request else { return };
    // Whoever asked may have left; there is nobody to tell.
    let _ = respond(&mut stream, &body).await;
    let _ = stream.shutdown().await;
}

/// The body of the one request of a connection.
async fn read(stream: &mut UnixStream) -> Option<Value> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(bytes.get(..at)?).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            if let Some(body) = bytes.get(at + 4..at + 4 + length) {
                return Some(serde_json::from_slice(body).unwrap_or_default());
            }
        }
        if bytes.len() > REQUEST_BYTES_MAX || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn respond(stream: &mut UnixStream, body: &Value) -> std::io::Result<()> {
    let said = text_of(body.pointer("/messages").and_then(Value::as_array).and_then(|all| all.last()));
    let said: String = said.chars().take(REPEATED_CHARS_MAX).collect();
    let text = format!("This is Clearway's built-in simulator, not a model. You said: {said}");
    let model = body.get("model").and_then(Value::as_str).unwrap_or("demo");
    let usage = json!({
        "prompt_tokens": said.split_whitespace().count().max(1),
        "completion_tokens": text.split_whitespace().count(),
        "total_tokens": said.split_whitespace().count().max(1) + text.split_whitespace().count(),
    });
    if body.get("stream") != Some(&Value::Bool(true)) {
        let choice = json!({ "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" });
        let answer = json!({
            "id": "chatcmpl-demo", "object": "chat.completion", "created": 0, "model": model,
            "choices": [choice], "usage": usage,
        });
        let answer = answer.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            answer.len()
        );
        return stream.write_all(format!("{head}{answer}").as_bytes()).await;
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        .await?;
    let chunk = |delta: Value, reason: Value| {
        json!({
            "id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": 0, "model": model,
            "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }],
        })
    };
    let mut events = vec![chunk(json!({ "role": "assistant", "content": "" }), Value::Null)];
    events.extend(text.split_inclusive(' ').map(|word| chunk(json!({ "content": word }), Value::Null)));
    events.push(chunk(json!({}), "stop".into()));
    if body.pointer("/stream_options/include_usage") == Some(&Value::Bool(true)) {
        events.push(json!({
            "id": "chatcmpl-demo", "object": "chat.completion.chunk", "created": 0, "model": model,
            "choices": [], "usage": usage,
        }));
    }
    for event in events {
        stream.write_all(format!("data: {event}\n\n").as_bytes()).await?;
        sleep(WORD_EVERY).await;
    }
    stream.write_all(b"data: [DONE]\n\n").await
}

/// The text of a message: its content, or the texts of its parts.
fn text_of(message: Option<&Value>) -> String {
    match message.and_then(|message| message.get("content")) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> =
                parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
            texts.join(" ")
        }
        _ => String::new(),
    }
}
