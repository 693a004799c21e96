//! Message bodies: finds the end of a body and takes the chunked coding off (RFC 9112 sections 6 and 7).
//!
//! Data is never copied: each step gives a piece of the input. Chunk sizes are hex digits and nothing else, because servers
//! that read them with a general number parser (`0x5`, `+5`, `5_0`, ` 5`) are what chunked smuggling lives on.

use model::Fault;

use crate::fields::Fields;
use crate::head::Framing;
use crate::lines::{self, LineError};
use crate::path::hex;
use crate::rules::rules;

/// The trailer section of a body.
const TRAILER_BYTES_MAX: usize = 8 * 1024;
const TRAILER_FIELDS_MAX: usize = 32;
/// The extensions of one chunk, which nobody needs but AWS signatures (about 90 bytes).
const EXTENSION_BYTES_MAX: u16 = 256;
/// 16 digits are all that fits in 64 bits; leading zeros count.
const SIZE_DIGITS_MAX: u8 = 16;

/// Finds the end of one body. Kept and set to the next body by [`BodyDecoder::reset`].
#[derive(Clone, Debug, Default)]
pub struct BodyDecoder {
    state: State,
    trailers: Fields,
    /// A trailer section that has not arrived whole.
    partial: Vec<u8>,
}

/// What one step of decoding found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Input bytes that need not be shown again.
    pub consumed: usize,
    /// Body bytes, a part of the input; may be empty.
    pub data: &'a [u8],
    /// The body ended with the consumed bytes.
    pub done: bool,
}

rules! {
    /// Why a body cannot be believed.
    BodyError {
        ChunkEndInvalid "the data of a chunk must be followed by CRLF (RFC 9112 7.1)",
        ChunkExtensionInvalid "a chunk extension must not hold control characters and must end with CRLF (RFC 9112 7.1.1)",
        ChunkExtensionTooLong "a chunk extension is longer than 256 bytes",
        ChunkSizeInvalid "a chunk size must be 1 to 16 hex digits (RFC 9112 7.1)",
        TrailersTooLarge "the trailer section is larger than 8 KiB",
        Truncated "the connection ended before the body did",
        ..Trailer(LineError) "A rule of lines, in the trailer section."
    }
}

impl BodyError {
    /// The fault when it is the body of a request.
    pub fn request_fault(self) -> Fault {
        match self {
            BodyError::Truncated => Fault::ClientGone,
            BodyError::ChunkEndInvalid
            | BodyError::ChunkExtensionInvalid
            | BodyError::ChunkExtensionTooLong
            | BodyError::ChunkSizeInvalid
            | BodyError::Trailer(_)
            | BodyError::TrailersTooLarge => Fault::RequestMalformed,
        }
    }

    /// The fault when it is the body of a response.
    pub fn response_fault(self) -> Fault {
        match self {
            BodyError::Truncated => Fault::BodyTruncated,
            BodyError::ChunkEndInvalid
            | BodyError::ChunkExtensionInvalid
            | BodyError::ChunkExtensionTooLong
            | BodyError::ChunkSizeInvalid
            | BodyError::Trailer(_)
            | BodyError::TrailersTooLarge => Fault::BodyMalformed,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Done,
    Length(u64),
    Close,
    /// In a chunk size, after this many digits.
    Size {
        size: u64,
        digits: u8,
    },
    /// In the extensions, after this many bytes of them.
    Extension {
        size: u64,
        bytes: u16,
    },
    /// After the CR of a chunk size line.
    SizeLineFeed {
        size: u64,
    },
    /// In the data of a chunk, with this much to come.
    Data(u64),
    DataCarriageReturn,
    DataLineFeed,
    Trailers,
}

const SIZE_START: State = State::Size { size: 0, digits: 0 };

impl BodyDecoder {
    /// A decoder for a body that is framed so.
    pub fn new(framing: Framing) -> BodyDecoder {
        let mut decoder = BodyDecoder::default();
        decoder.reset(framing);
        decoder
    }

    /// Begins another body and keeps the memory.
    pub fn reset(&mut self, framing: Framing) {
        self.trailers.clear();
        self.partial.clear();
        self.state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => SIZE_START,
            Framing::Close => State::Close,
        };
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The fields after a chunked body; empty until it is done. Those that may not stand there are dropped
    /// (RFC 9110 section 6.5.1).
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// How much is to come; `None` if the framing does not tell.
    pub fn remaining_length(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(remaining) => Some(remaining),
            _ => None,
        }
    }

    /// Takes up to one piece of data from the input. To be called again until all is consumed or the body is done; what is left
    /// then belongs to the next message. An error is final.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<Step<'a>, BodyError> {
        let mut at = 0;
        loop {
            match self.state {
                State::Done => return Ok(Step { consumed: at, data: &[], done: true }),
                State::Close => return Ok(Step { consumed: input.len(), data: input, done: false }),
                State::Length(remaining) => {
                    let data = up_to(input, at, remaining);
                    let remaining = remaining - data.len() as u64;
                    self.state = if remaining == 0 { State::Done } else { State::Length(remaining) };
                    return Ok(Step { consumed: data.len(), data, done: remaining == 0 });
                }
                State::Data(remaining) => {
                    let data = up_to(input, at, remaining);
                    let remaining = remaining - data.len() as u64;
                    self.state =
                        if remaining == 0 { State::DataCarriageReturn } else { State::Data(remaining) };
                    at += data.len();
                    if !data.is_empty() || at == input.len() {
                        return Ok(Step { consumed: at, data, done: false });
                    }
                }
                State::Trailers => {
                    let consumed = at + self.read_trailers(input.get(at..).unwrap_or_default())?;
                    return Ok(Step { consumed, data: &[], done: self.is_done() });
                }
                framing => {
                    let Some(byte) = input.get(at) else {
                        return Ok(Step { consumed: at, data: &[], done: false });
                    };
                    self.state = between_data(framing, *byte)?;
                    at += 1;
                }
            }
        }
    }

    /// Says whether the body may end where the connection has ended.
    pub fn on_eof(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::Close => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }

    /// Reads the trailer section, in which the whole input may lie; gives how much of the input it took.
    fn read_trailers(&mut self, input: &[u8]) -> Result<usize, BodyError> {
        let before = self.partial.len();
        let window = input.get(..TRAILER_BYTES_MAX - before.min(TRAILER_BYTES_MAX)).unwrap_or(input);
        let parsed = if before == 0 {
            lines::parse(window, 0, TRAILER_FIELDS_MAX, &mut self.trailers)
        } else {
            self.partial.extend_from_slice(window);
            lines::parse(&self.partial, 0, TRAILER_FIELDS_MAX, &mut self.trailers)
        };
        match parsed.map_err(BodyError::Trailer)? {
            Some(end) => {
                crate::hop::filter_trailers(&mut self.trailers);
                self.partial.clear();
                self.state = State::Done;
                Ok(end - before)
            }
            None if before + window.len() >= TRAILER_BYTES_MAX => Err(BodyError::TrailersTooLarge),
            None => {
                if before == 0 {
                    self.partial.extend_from_slice(window);
                }
                Ok(window.len())
            }
        }
    }
}

fn up_to(input: &[u8], at: usize, limit: u64) -> &[u8] {
    let rest = input.get(at..).unwrap_or_default();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    rest.get(..limit).unwrap_or(rest)
}

/// The state after one more byte of chunk framing.
fn between_data(state: State, byte: u8) -> Result<State, BodyError> {
    match (state, byte) {
        (State::Size { size, digits }, byte) => match (hex(byte), byte) {
            (Some(digit), _) if digits < SIZE_DIGITS_MAX => {
                Ok(State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 })
            }
            (None, b'\r') if digits > 0 => Ok(State::SizeLineFeed { size }),
            (None, b';') if digits > 0 => Ok(State::Extension { size, bytes: 1 }),
            _ => Err(BodyError::ChunkSizeInvalid),
        },
        (State::Extension { size, .. }, b'\r') => Ok(State::SizeLineFeed { size }),
        (State::Extension { bytes: EXTENSION_BYTES_MAX.., .. }, _) => Err(BodyError::ChunkExtensionTooLong),
        (State::Extension { .. }, byte) if byte.is_ascii_control() && byte != b'\t' => {
            Err(BodyError::ChunkExtensionInvalid)
        }
        (State::Extension { size, bytes }, _) => Ok(State::Extension { size, bytes: bytes + 1 }),
        (State::SizeLineFeed { size: 0 }, b'\n') => Ok(State::Trailers),
        (State::SizeLineFeed { size }, b'\n') => Ok(State::Data(size)),
        (State::SizeLineFeed { .. }, _) => Err(BodyError::ChunkSizeInvalid),
        (State::DataCarriageReturn, b'\r') => Ok(State::DataLineFeed),
        (State::DataLineFeed, b'\n') => Ok(SIZE_START),
        (State::DataCarriageReturn | State::DataLineFeed, _) => Err(BodyError::ChunkEndInvalid),
        (State::Done | State::Length(_) | State::Close | State::Data(_) | State::Trailers, _) => Ok(state),
    }
}
