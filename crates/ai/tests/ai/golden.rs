//! One file per protocol and direction: what a client or a provider says (`*.in.json`, `*.in.txt`), and beside it what becomes of
//! it in every other protocol (`*.out.txt`). `UPDATE_EXPECT=1 cargo test -p ai` writes what is made now; the difference is then
//! read by a person.
//!
//! A new case is a new file. Streams of Bedrock, which are binary, are written as `NAME JSON` lines.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use ai::form::{Event, Losses};
use ai::protocol::{INGRESS, StreamEnd, StreamSettings};
use ai::tap::Reader;
use ai::{Protocol, Speak, frame};

/// The inputs of a folder, with the protocol that begins their names.
pub(crate) fn inputs(folder: &str) -> Vec<(PathBuf, Protocol)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_stem().unwrap().to_string_lossy().ends_with(".in"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            let protocol = name.split(['.', '-']).next().and_then(Protocol::by_id);
            (path.clone(), protocol.expect("the name of a file begins with its protocol"))
        })
        .collect();
    inputs.sort();
    inputs
}

/// Compares with what is written beside the input, or writes it.
fn check(input: &Path, made: &str, wrong: &mut Vec<PathBuf>) {
    let name = input.file_name().unwrap().to_string_lossy();
    let output = input.with_file_name(format!("{}.out.txt", name.split(".in.").next().unwrap()));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&output, made).unwrap();
    } else if std::fs::read_to_string(&output).unwrap_or_default() != made {
        wrong.push(output);
    }
}

fn all(folder: &str, make: impl Fn(&[u8], Protocol, Protocol) -> String, to: &[Protocol]) {
    let inputs = inputs(folder);
    let mut wrong = Vec::new();
    for (path, from) in &inputs {
        let bytes = std::fs::read(path).unwrap();
        let mut made = String::new();
        for to in to.iter().filter(|to| *to != from) {
            write!(made, "== {}\n{}\n", to.id(), make(&bytes, *from, *to).trim_end()).unwrap();
        }
        check(path, &made, &mut wrong);
    }
    let from: std::collections::BTreeSet<&str> = inputs.iter().map(|(_, from)| from.id()).collect();
    let expected = if folder == "requests" { INGRESS.len() } else { Protocol::ALL.len() };
    assert_eq!(from.len(), expected, "every protocol has a case, not only {from:?}");
    assert!(wrong.is_empty(), "not as expected, see UPDATE_EXPECT: {wrong:#?}");
}

#[test]
fn requests() {
    let make = |bytes: &[u8], from: Protocol, to: Protocol| {
        let mut request = from.decode_request(bytes).unwrap();
        if request.model.is_empty() {
            // It stands in the path.
            request.model = "anthropic.claude-m".to_owned();
        }
        let mut losses = Losses::default();
        let body = to.encode_request(&request, &mut losses);
        format!("lost: {}\n{body:#}", losses.names().collect::<Vec<_>>().join(", "))
    };
    all("requests", make, Protocol::ALL);
}

#[test]
fn answers() {
    let make = |bytes: &[u8], from: Protocol, to: Protocol| match from.decode_response(bytes) {
        Ok(response) => format!("{:#}", to.encode_response(&response, 1_700_000_000)),
        Err(problem) => format!("{problem:?}"),
    };
    all("answers", make, INGRESS);
}

#[test]
fn streams() {
    let make = |bytes: &[u8], from: Protocol, to: Protocol| {
        let bytes = if from == Protocol::Bedrock { framed(bytes) } else { bytes.to_vec() };
        let mut reader = Reader::new(from);
        let mut events: Vec<Event> = Vec::new();
        let read = reader.push(&bytes, &mut events).and_then(|()| reader.end(StreamEnd::Eof, &mut events));
        let settings = StreamSettings { unix_seconds: 1_700_000_000, usage: true, whole_tool_calls: false };
        let mut encoder = to.stream_encoder(settings);
        let mut out = Vec::new();
        events.iter().for_each(|event| encoder.event(event, &mut out));
        let text = if to == Protocol::Bedrock { unframed(&out) } else { String::from_utf8(out).unwrap() };
        match read {
            Ok(()) => text,
            Err(problem) => format!("{text}{problem:?}"),
        }
    };
    all("streams", make, INGRESS);
}

pub(crate) fn framed(lines: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in std::str::from_utf8(lines).unwrap().lines() {
        let (name, data) = line.split_once(' ').expect("a name and its data");
        frame::aws::encode(name, data.as_bytes(), &mut out);
    }
    out
}

fn unframed(bytes: &[u8]) -> String {
    let mut frames = Vec::new();
    Protocol::Bedrock.framing().push(bytes, &mut frames).unwrap();
    let line = |frame: &frame::Frame| format!("{} {}\n", frame.name, String::from_utf8_lossy(&frame.data));
    frames.iter().map(line).collect()
}
