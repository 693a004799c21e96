//! Bodies: where they end, what is data, what is refused.

use model::Fault;
use wire::{BodyDecoder, BodyError, CHUNK_END, Fields, Framing, LineError, chunk_head, last_chunk};

/// Everything a decoder says about an input given in these pieces: data, bytes of the input that it left, trailers.
pub(crate) fn decode<'a>(
    framing: Framing,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<(Vec<u8>, usize, String), BodyError> {
    let mut decoder = BodyDecoder::new(framing);
    let (mut data, mut left) = (Vec::new(), 0);
    for mut piece in pieces {
        while !piece.is_empty() && !decoder.is_done() {
            let step = decoder.decode(piece)?;
            assert!(step.consumed > 0 || step.done, "a step must make progress");
            assert_eq!(step.done, decoder.is_done());
            data.extend_from_slice(step.data);
            piece = &piece[step.consumed..];
        }
        left += piece.len();
    }
    decoder.on_eof()?;
    Ok((data, left, format!("{:?}", decoder.trailers())))
}

fn check(framing: Framing, input: &str, expect: Result<(&str, usize, &str), BodyError>) {
    let expect = expect.map(|(data, left, trailers)| (data.as_bytes().to_vec(), left, trailers.to_owned()));
    let whole = decode(framing, [input.as_bytes()]);
    assert_eq!(whole, expect, "{framing:?} {input:?}");
    assert_eq!(decode(framing, input.as_bytes().chunks(1)), expect, "{framing:?} {input:?} byte by byte");
}

#[test]
fn bodies_end_where_they_should() {
    use Framing::*;
    check(None, "next", Ok(("", 4, "[]")));
    check(Length(0), "next", Ok(("", 4, "[]")));
    check(Length(4), "body", Ok(("body", 0, "[]")));
    check(Length(4), "bodynext", Ok(("body", 4, "[]")));
    check(Length(5), "body", Err(BodyError::Truncated));
    check(Close, "any\r\n0\r\n\r\n", Ok(("any\r\n0\r\n\r\n", 0, "[]")));
    check(Chunked, "0\r\n\r\nnext", Ok(("", 4, "[]")));
    check(Chunked, "4\r\nbody\r\n0\r\n\r\nnext", Ok(("body", 4, "[]")));
    check(Chunked, "1\r\na\r\n00A\r\n0\r\n\r\n67890\r\n000\r\n\r\n", Ok(("a0\r\n\r\n67890", 0, "[]")));
    check(Chunked, "1;a=\"b;\t\u{e9}\"\r\nx\r\n0;z\r\n\r\n", Ok(("x", 0, "[]")));
    check(Chunked, &format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(255)), Ok(("x", 0, "[]")));
    check(Chunked, "0000000000000001\r\nx\r\n0\r\n\r\n", Ok(("x", 0, "[]")));
    check(Chunked, "0\r\nA:1\r\nb: 2 \r\n\r\nnext", Ok(("", 4, "[A: 1, b: 2]")));
    for end in [
        "",
        "4",
        "4\r",
        "4\r\n",
        "4\r\nbod",
        "4\r\nbody",
        "4\r\nbody\r\n",
        "0\r\n",
        "0\r\n\r",
        "0\r\nA: b\r\n",
    ] {
        check(Chunked, end, Err(BodyError::Truncated));
    }
}

#[test]
fn broken_chunks() {
    use BodyError::*;
    for (input, expect) in [
        ("\r\n", ChunkSizeInvalid),
        (";a\r\n", ChunkSizeInvalid),
        ("x\r\n", ChunkSizeInvalid),
        ("0x1\r\n", ChunkSizeInvalid),
        ("+1\r\n", ChunkSizeInvalid),
        ("-1\r\n", ChunkSizeInvalid),
        ("1_0\r\n", ChunkSizeInvalid),
        (" 1\r\n", ChunkSizeInvalid),
        ("1 \r\n", ChunkSizeInvalid),
        ("1 ;a\r\n", ChunkSizeInvalid),
        ("1\t\r\n", ChunkSizeInvalid),
        ("1,1\r\n", ChunkSizeInvalid),
        ("1\n", ChunkSizeInvalid),
        ("1\rx", ChunkSizeInvalid),
        ("1\r\r\n", ChunkSizeInvalid),
        ("1\0\r\n", ChunkSizeInvalid),
        ("\u{661}\r\n", ChunkSizeInvalid),
        ("00000000000000001\r\n", ChunkSizeInvalid),
        ("fffffffffffffffff\r\n", ChunkSizeInvalid),
        ("1;a\nx\r\n", ChunkExtensionInvalid),
        ("1;a\0\r\n", ChunkExtensionInvalid),
        ("1;a\rb\r\n", ChunkSizeInvalid),
        ("1\r\nx\n", ChunkEndInvalid),
        ("1\r\nxy\r\n", ChunkEndInvalid),
        ("1\r\nx\rz", ChunkEndInvalid),
        ("0\r\nx\r\n\r\n", Trailer(LineError::ColonMissing)),
        ("0\r\nA : b\r\n\r\n", Trailer(LineError::WhitespaceInName)),
        ("0\r\n A: b\r\n\r\n", Trailer(LineError::ObsFold)),
        ("0\r\nA: b\n\r\n", Trailer(LineError::BareLf)),
        ("0\r\n\rx", Trailer(LineError::BareCr)),
    ] {
        check(Framing::Chunked, input, Err(expect));
        assert_eq!(expect.response_fault(), Fault::BodyMalformed);
        assert_eq!(expect.request_fault(), Fault::RequestMalformed);
        assert!(expect.rule().len() > 10);
    }
    check(Framing::Chunked, &format!("1;{}\r\nx\r\n", "e".repeat(256)), Err(ChunkExtensionTooLong));
    check(
        Framing::Chunked,
        &format!("0\r\n{}\r\n", "A: b\r\n".repeat(33)),
        Err(Trailer(LineError::TooManyFields)),
    );
    check(Framing::Chunked, &format!("0\r\nA: {}\r\n\r\n", "b".repeat(8192)), Err(TrailersTooLarge));
    check(
        Framing::Chunked,
        &format!("0\r\nA: {}\r\n\r\n", "b".repeat(8185)),
        Ok(("", 0, &format!("[A: {}]", "b".repeat(8185)))),
    );
    assert_eq!(Truncated.request_fault(), Fault::ClientGone);
    assert_eq!(Truncated.response_fault(), Fault::BodyTruncated);
}

#[test]
fn trailers_that_could_change_the_message_are_dropped() {
    let lines = "Content-Length: 5\r\nHost: evil\r\nAuthorization: x\r\nX-Forwarded-For: 1.2.3.4\r\nX_Forwarded_For: 1\r\n\
        Set-Cookie: a=b\r\ngrpc-status: 0\r\nServer-Timing: x\r\nETag: 1\r\nTransfer-Encoding: chunked\r\n";
    check(
        Framing::Chunked,
        &format!("0\r\n{lines}\r\n"),
        Ok(("", 0, "[grpc-status: 0, Server-Timing: x, ETag: 1]")),
    );
}

#[test]
fn a_decoder_says_how_much_is_to_come_and_is_used_again() {
    let mut decoder = BodyDecoder::new(Framing::Length(10));
    assert_eq!(decoder.remaining_length(), Some(10));
    let step = decoder.decode(b"1234").unwrap();
    assert_eq!((step.consumed, step.data, step.done), (4, &b"1234"[..], false));
    assert_eq!(decoder.remaining_length(), Some(6));
    decoder.reset(Framing::Chunked);
    assert_eq!((decoder.remaining_length(), decoder.is_done()), (None, false));
    let step = decoder.decode(b"3\r\nabcd").unwrap();
    assert_eq!((step.consumed, step.data), (6, &b"abc"[..]));
    decoder.reset(Framing::Close);
    assert!(!decoder.is_done() && decoder.on_eof().is_ok() && decoder.is_done());
    decoder.reset(Framing::None);
    assert_eq!((decoder.is_done(), decoder.remaining_length()), (true, Some(0)));
}

#[test]
fn chunks_as_encoded() {
    let mut out = Vec::new();
    for len in [0, 1, 15, 16, 255, 256, 0xabcdef, usize::MAX] {
        chunk_head(&mut out, len);
    }
    out.extend_from_slice(CHUNK_END);
    last_chunk(&mut out, None);
    let mut trailers = Fields::new();
    trailers.push(b"grpc-status", b"0");
    last_chunk(&mut out, Some(&trailers));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        format!(
            "1\r\nf\r\n10\r\nff\r\n100\r\nabcdef\r\n{:x}\r\n\r\n0\r\n\r\n0\r\ngrpc-status: 0\r\n\r\n",
            usize::MAX
        )
    );
}
