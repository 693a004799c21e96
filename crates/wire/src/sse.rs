//! Server-sent events (the HTML standard, section 9.2): finds where events end in a stream, whatever way it is cut.
//!
//! Nothing is copied and nothing is interpreted: a proxy needs to know where it may cut, and whether a stream that ended
//! was whole.

use memchr::memchr2;

/// The event, with the lines before it that end none, is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLarge;

/// Follows one stream.
#[derive(Clone, Debug)]
pub struct Framer {
    event_bytes_max: usize,
    /// Bytes since the end of the last event.
    event_bytes: usize,
    position: Position,
    /// Whether the block so far has a line, and one that is not a comment.
    has_line: bool,
    has_field: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At the start of the stream, after this many bytes of a byte order mark.
    Start(u8),
    LineStart,
    /// At a line start after a CR: an LF still belongs to it.
    AfterCr,
    InLine,
}

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

impl Framer {
    /// A framer at the start of a stream.
    pub fn new(event_bytes_max: usize) -> Framer {
        Framer {
            event_bytes_max,
            event_bytes: 0,
            position: Position::Start(0),
            has_line: false,
            has_field: false,
        }
    }

    /// Reads on, and gives the position after the next event, or `None` if it does not end in `bytes`. To be called again with
    /// the bytes after that position.
    ///
    /// An event is everything since the one before it: fields, comments, the empty line. A block of comments alone, as servers
    /// send to keep a connection open, counts as one. After an empty line that ends in CR, an LF comes with the next event.
    pub fn next_event(&mut self, bytes: &[u8]) -> Result<Option<usize>, EventTooLarge> {
        let mut start = 0;
        let end = self.find_end(bytes, &mut start);
        self.event_bytes += end.unwrap_or(bytes.len()) - start;
        if self.event_bytes > self.event_bytes_max {
            return Err(EventTooLarge);
        }
        if end.is_some() {
            self.event_bytes = 0;
        }
        Ok(end)
    }

    /// Whether fields of an event have come that no empty line has ended. A client drops such an event.
    pub fn is_inside_event(&self) -> bool {
        self.has_field
    }

    /// `start` moves past empty lines that end no event: servers may send them for ever to keep a connection open.
    fn find_end(&mut self, bytes: &[u8], start: &mut usize) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            match (self.position, byte) {
                (Position::Start(seen), byte) if BYTE_ORDER_MARK.get(usize::from(seen)) == Some(&byte) => {
                    self.position = if seen == 2 { Position::LineStart } else { Position::Start(seen + 1) };
                    at += 1;
                }
                (Position::Start(0), _) => self.position = Position::LineStart,
                // A part of a byte order mark is text.
                (Position::Start(_), _) => self.begin_line(0),
                (Position::AfterCr, b'\n') => {
                    self.position = Position::LineStart;
                    at += 1;
                }
                (Position::AfterCr | Position::LineStart, b'\r' | b'\n') => {
                    at += 1;
                    self.end_line(byte);
                    if self.has_line {
                        (self.has_line, self.has_field) = (false, false);
                        return Some(at);
                    }
                    self.event_bytes = 0;
                    *start = at;
                }
                (Position::AfterCr | Position::LineStart, byte) => self.begin_line(byte),
                (Position::InLine, _) => match memchr2(b'\r', b'\n', bytes.get(at..).unwrap_or_default()) {
                    Some(offset) => {
                        at += offset;
                        self.end_line(bytes.get(at).copied().unwrap_or(b'\n'));
                        at += 1;
                    }
                    None => return None,
                },
            }
        }
        None
    }

    fn begin_line(&mut self, first: u8) {
        self.position = Position::InLine;
        self.has_line = true;
        self.has_field |= first != b':';
    }

    fn end_line(&mut self, end: u8) {
        self.position = if end == b'\r' { Position::AfterCr } else { Position::LineStart };
    }
}
