//! Mutates the stored corpus of each parser (`fuzz/corpus`) and checks what must hold for any bytes. Always the same mutations, and a
//! bounded number of them; see `fuzz/README.md`.

use std::path::Path;

use crate::invariants;

/// Mutations per parser: about a second each in a debug build.
const ROUNDS: usize = 1_500;

/// What mutations insert: the bytes and words on which parsers disagree.
const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\r\n ",
    b"\r\n\r\n",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Host: a\r\n",
    b"Connection: close, x\r\n",
    b"chunked",
    b"HTTP/1.1",
    b"HTTP/1.0 ",
    b"0\r\n",
    b"0x",
    b"+",
    b"_",
    b"%2e",
    b"%2F",
    b"%00",
    b"%",
    b"../",
    b"//",
    b"?",
    b"#",
    b"@",
    b"http://",
    b"data: ",
    b"PROXY ",
    b"TCP4 ",
    b"99999999999999999999",
];

/// SplitMix64: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    let at = numbers.below(bytes.len() + 1);
    let end = (at + 1 + numbers.below(8)).min(bytes.len());
    match numbers.below(6) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = numbers.next() as u8;
            }
        }
        1 => drop(bytes.drain(at..end)),
        2 => bytes.extend_from_within(at..end),
        3 => {
            let piece: Vec<u8> = other.iter().skip(numbers.below(other.len())).take(32).copied().collect();
            bytes.splice(at..at, piece);
        }
        _ => {
            let word = WORDS[numbers.below(WORDS.len())];
            bytes.splice(at..if numbers.below(2) == 0 { at } else { end }, word.iter().copied());
        }
    }
}

fn run(parser: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(parser);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!seeds.is_empty(), "{parser}");
    seeds.iter().for_each(|seed| check(seed));
    let mut numbers = Numbers(parser.len() as u64);
    for _ in 0..ROUNDS {
        let mut bytes = seeds[numbers.below(seeds.len())].clone();
        for _ in 0..=numbers.below(4) {
            let other = &seeds[numbers.below(seeds.len())];
            mutate(&mut bytes, other, &mut numbers);
        }
        check(&bytes);
    }
}

#[test]
fn request() {
    run("request", invariants::request);
}

#[test]
fn response() {
    run("response", invariants::response);
}

#[test]
fn body() {
    run("body", invariants::body);
}

#[test]
fn path() {
    run("path", invariants::canonical_path);
}

#[test]
fn proxy_protocol() {
    run("proxy-protocol", invariants::proxy_protocol_header);
}

#[test]
fn event_stream() {
    run("event-stream", invariants::event_stream);
}
