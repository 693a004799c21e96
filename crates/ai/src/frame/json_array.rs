//! A JSON array whose objects arrive one by one, as Gemini streams without `alt=sse`.

use super::{Broken, FRAME_BYTES_MAX, Frame};

#[derive(Debug, Default)]
pub struct JsonArray {
    begun: Vec<u8>,
    depth: usize,
    in_string: bool,
    escaped: bool,
    position: Position,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Position {
    #[default]
    Start,
    InArray,
    /// One object without an array around it.
    Alone,
    Done,
}

impl JsonArray {
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<Frame>) -> Result<(), Broken> {
        for byte in bytes.iter().copied() {
            if self.depth > 0 {
                self.inside(byte, out)?;
                continue;
            }
            match (self.position, byte) {
                (_, b' ' | b'\t' | b'\r' | b'\n') | (Position::InArray, b',') => {}
                (Position::Start, b'[') => self.position = Position::InArray,
                (Position::Start | Position::InArray, b'{') => {
                    if self.position == Position::Start {
                        self.position = Position::Alone;
                    }
                    self.begun.push(byte);
                    self.depth = 1;
                }
                (Position::InArray, b']') => self.position = Position::Done,
                _ => return Err(Broken("not an array of JSON objects")),
            }
        }
        Ok(())
    }

    fn inside(&mut self, byte: u8, out: &mut Vec<Frame>) -> Result<(), Broken> {
        if self.begun.len() >= FRAME_BYTES_MAX {
            return Err(Broken("an object is larger than 16 MiB"));
        }
        self.begun.push(byte);
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_string => self.escaped = true,
            b'"' => self.in_string = !self.in_string,
            b'{' | b'[' if !self.in_string => self.depth += 1,
            b'}' | b']' if !self.in_string => self.depth -= 1,
            _ => {}
        }
        if self.depth == 0 {
            out.push(Frame { data: std::mem::take(&mut self.begun), ..Frame::default() });
            if self.position == Position::Alone {
                self.position = Position::Done;
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), Broken> {
        match self.position {
            Position::Done => Ok(()),
            Position::Start => Err(Broken("the stream is empty")),
            Position::InArray | Position::Alone => Err(Broken("the array has no end")),
        }
    }
}
