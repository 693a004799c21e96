//! Framings of streams: bytes in, frames out, wherever the bytes are cut.

pub mod aws;
mod json_array;
mod sse;

pub use self::json_array::JsonArray;
pub use self::sse::Sse;

/// The most that one frame may have: a picture in a tool's arguments fits, a stream without an end does not.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// One message of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The event's name; empty where the protocol has none.
    pub name: String,
    /// JSON, as a rule.
    pub data: Vec<u8>,
    /// An exception or error of the framing itself (AWS event streams have such).
    pub is_exception: bool,
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub &'static str);

/// The framing of a stream.
#[derive(Debug)]
pub enum Framing {
    Aws(aws::Decoder),
    JsonArray(JsonArray),
    Sse(Sse),
}

impl Framing {
    /// Reads on; frames that are complete are added to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<Frame>) -> Result<(), Broken> {
        match self {
            Framing::Aws(decoder) => decoder.push(bytes, out),
            Framing::JsonArray(decoder) => decoder.push(bytes, out),
            Framing::Sse(decoder) => decoder.push(bytes, out),
        }
    }

    /// The stream is over; what had no end of its own counts where the framing allows it.
    pub fn end(&mut self, out: &mut Vec<Frame>) -> Result<(), Broken> {
        match self {
            Framing::Aws(decoder) => decoder.end(),
            Framing::JsonArray(decoder) => decoder.end(),
            Framing::Sse(decoder) => {
                decoder.end(out);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of bytes that arrive in pieces of this size.
    fn in_pieces(mut framing: Framing, bytes: &[u8], size: usize) -> String {
        let mut frames = Vec::new();
        let mut result = Ok(());
        for piece in bytes.chunks(size) {
            result = framing.push(piece, &mut frames);
            if result.is_err() {
                break;
            }
        }
        let result = result.and_then(|()| framing.end(&mut frames));
        let texts: Vec<String> = frames
            .iter()
            .map(|frame| {
                let mark = if frame.is_exception { "!" } else { "" };
                format!("{mark}{}={}", frame.name, String::from_utf8_lossy(&frame.data))
            })
            .collect();
        format!("{} {result:?}", texts.join(" | "))
    }

    fn check(framing: fn() -> Framing, bytes: &[u8], expect: &str) {
        for size in 1..=bytes.len().max(1) {
            assert_eq!(in_pieces(framing(), bytes, size), expect, "in pieces of {size}");
        }
    }

    fn sse() -> Framing {
        Framing::Sse(Sse::default())
    }

    #[test]
    fn event_streams_are_read_however_they_are_cut() {
        check(
            sse,
            b"\xef\xbb\xbfdata: {\"a\":1}\n\ndata: x\r\ndata:y\r\rdata: z\n\n",
            "={\"a\":1} | =x\ny | =z Ok(())",
        );
        check(
            sse,
            b": hello\n\nevent: ping\ndata: {}\n\n\n\nid: 7\nretry: 1\n\nevent: end\n\n",
            "ping={} Ok(())",
        );
        // The end of the stream ends an event that has no empty line: clients that drop it lose the usage.
        check(sse, b"data: [DONE]", "=[DONE] Ok(())");
        check(sse, b"data: a\n", "=a Ok(())");
        check(sse, b"data\ndata\n\n", "=\n Ok(())");
    }

    #[test]
    fn arrays_of_objects_are_read_however_they_are_cut() {
        let array = || Framing::JsonArray(JsonArray::default());
        check(
            array,
            b"[{\"a\":\"]}\\\"\"}\n,\r\n{\"b\":[1,{}]}]\n",
            "={\"a\":\"]}\\\"\"} | ={\"b\":[1,{}]} Ok(())",
        );
        check(array, b"[]", " Ok(())");
        check(array, b"[{\"a\":1},", "={\"a\":1} Err(Broken(\"the array has no end\"))");
        // Errors come as one object.
        check(array, b"{\"error\":{\"code\":429}}", "={\"error\":{\"code\":429}} Ok(())");
        check(array, b"<html>", " Err(Broken(\"not an array of JSON objects\"))");
    }

    #[test]
    fn aws_event_streams_are_read_however_they_are_cut() {
        let aws = || Framing::Aws(aws::Decoder::default());
        let mut bytes = Vec::new();
        aws::encode("messageStart", b"{\"role\":\"assistant\"}", &mut bytes);
        aws::encode_exception("throttlingException", b"{\"message\":\"slow\"}", &mut bytes);
        check(
            aws,
            &bytes,
            "messageStart={\"role\":\"assistant\"} | !throttlingException={\"message\":\"slow\"} Ok(())",
        );
        let cut = bytes.get(..bytes.len() - 3).unwrap();
        check(
            aws,
            cut,
            "messageStart={\"role\":\"assistant\"} Err(Broken(\"the stream ends in the middle of a message\"))",
        );
        bytes[20] ^= 1;
        check(aws, &bytes, " Err(Broken(\"a message's checksum is wrong\"))");
    }
}
