//! Header and trailer fields: an ordered list over one byte buffer that is reused from message to message.
//!
//! Fields are kept as the lines they are sent as (`Name: value CRLF`, case kept), so that encoding a head copies a few long
//! runs instead of many short pieces. Names are not checked here: what comes from the wire is checked by the parser, what
//! comes from elsewhere must be a token and a value without control characters.

use std::fmt;

use crate::known::Known;
use crate::lines::LineError;
use crate::scan::{is_token, list};

/// An ordered list of fields.
#[derive(Clone, Default)]
pub struct Fields {
    /// Whole lines. Lines of removed fields stay until [`Fields::clear`].
    pub(crate) bytes: Vec<u8>,
    pub(crate) entries: Vec<Entry>,
    /// The bits of the names that may be present: a clear bit means absent.
    present: u128,
    /// Whether a name may hold an underscore.
    pub(crate) underscores: bool,
}

/// One line in the buffer: `name_len` bytes, colon, space, `value_len` bytes, CRLF.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) start: u32,
    pub(crate) name_len: u32,
    pub(crate) value_len: u32,
    pub(crate) known: Known,
    /// Marked for removal by a pass that may not yet move entries.
    pub(crate) doomed: bool,
}

/// One field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The id of its name.
    pub known: Known,
    /// Case as sent.
    pub name: &'a [u8],
    /// Without white space at its ends.
    pub value: &'a [u8],
}

const COLON_SPACE: usize = 2;
const CRLF: usize = 2;

impl Entry {
    fn name<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.name_len as usize).unwrap_or_default()
    }

    fn value<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.start as usize + self.name_len as usize + COLON_SPACE;
        bytes.get(start..start + self.value_len as usize).unwrap_or_default()
    }

    fn field<'a>(&self, bytes: &'a [u8]) -> Field<'a> {
        Field { known: self.known, name: self.name(bytes), value: self.value(bytes) }
    }

    /// Where its line ends in the buffer.
    fn end(&self) -> usize {
        self.start as usize + self.name_len as usize + COLON_SPACE + self.value_len as usize + CRLF
    }
}

impl Fields {
    /// An empty list.
    pub fn new() -> Fields {
        Fields::default()
    }

    /// Forgets all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.present = 0;
        self.underscores = false;
    }

    /// How many fields there are; repeated names count each time.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes that all fields take when they are sent as HTTP/1.1 lines.
    pub fn size_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.end() - entry.start as usize).sum()
    }

    /// Adds a field at the end. The name must be a token and the value free of control characters and of white space at
    /// its ends: nothing else may come from configuration, a policy or another protocol.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_as(Known::lookup(name), name, value);
    }

    /// Adds a field that came by another protocol, or refuses it: name and value must be what HTTP/1.1 can carry.
    pub fn push_checked(&mut self, name: &[u8], value: &[u8]) -> Result<(), LineError> {
        if !is_token(name) {
            return Err(if name.is_empty() { LineError::NameEmpty } else { LineError::NameInvalid });
        }
        if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return Err(LineError::ControlInValue);
        }
        if !is_value(value) {
            return Err(LineError::WhitespaceAroundValue);
        }
        self.push_line(Known::lookup(name), name, value);
        Ok(())
    }

    /// Adds a field with a well-known name, which must not be [`Known::Other`]. See [`Fields::push`].
    pub fn push_known(&mut self, known: Known, value: &[u8]) {
        debug_assert!(known != Known::Other, "a field must have a name");
        self.push_as(known, known.name().as_bytes(), value);
    }

    fn push_as(&mut self, known: Known, name: &[u8], value: &[u8]) {
        debug_assert!(is_token(name), "a field name must be a token");
        debug_assert!(is_value(value), "a field value must be free of control characters");
        self.push_line(known, name, value);
    }

    /// Adds a field that was checked already.
    pub(crate) fn push_line(&mut self, known: Known, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.reserve(name.len() + COLON_SPACE + value.len() + CRLF);
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
        if known == Known::Other && name.contains(&b'_') {
            self.underscores = true;
        }
        self.note(known, start, name.len(), value.len());
    }

    /// Records a line that is, or is about to be, at `start` of the buffer.
    #[inline]
    pub(crate) fn note(&mut self, known: Known, start: usize, name_len: usize, value_len: usize) {
        self.present |= known.bit();
        self.entries.push(Entry {
            start: narrow(start),
            name_len: narrow(name_len),
            value_len: narrow(value_len),
            known,
            doomed: false,
        });
    }

    /// Whether a field of this name may be there; never wrong when it says no. [`Known::Other`] is any other name.
    #[inline]
    pub(crate) fn may_have(&self, known: Known) -> bool {
        self.present & known.bit() != 0
    }

    /// The same for a set of names, as the bits of all of them.
    #[inline]
    pub(crate) fn may_have_any(&self, bits: u128) -> bool {
        self.present & bits != 0
    }

    /// The value of the first field of this name.
    #[inline]
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        self.get_all(known).next()
    }

    /// The values of all fields of this name, in order.
    #[inline]
    pub fn get_all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        let entries = if self.may_have(known) { self.entries.as_slice() } else { &[] };
        entries.iter().filter(move |entry| entry.known == known).map(|entry| entry.value(&self.bytes))
    }

    /// The value of the first field of this name, whatever its case.
    pub fn find(&self, name: &[u8]) -> Option<&[u8]> {
        self.find_all(name).next()
    }

    /// The values of all fields of this name, whatever its case, in order.
    pub fn find_all(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        let known = Known::lookup(name);
        let entries = if self.may_have(known) { self.entries.as_slice() } else { &[] };
        entries
            .iter()
            .filter(move |entry| {
                entry.known == known
                    && (known != Known::Other || entry.name(&self.bytes).eq_ignore_ascii_case(name))
            })
            .map(|entry| entry.value(&self.bytes))
    }

    /// Removes all fields of this name; says whether there were any.
    pub fn remove(&mut self, known: Known) -> bool {
        if !self.may_have(known) {
            return false;
        }
        let before = self.entries.len();
        self.entries.retain(|entry| entry.known != known);
        self.present &= !known.bit();
        before != self.entries.len()
    }

    /// Removes all fields of this name, whatever its case; says whether there were any.
    pub fn remove_named(&mut self, name: &[u8]) -> bool {
        let known = Known::lookup(name);
        if known != Known::Other {
            return self.remove(known);
        }
        let before = self.entries.len();
        self.retain(|field| field.known != Known::Other || !field.name.eq_ignore_ascii_case(name));
        before != self.entries.len()
    }

    /// Makes `value` the only value of this name. It takes the place of the first one, or the end.
    pub fn set(&mut self, known: Known, value: &[u8]) {
        let first = if self.may_have(known) {
            self.entries.iter().position(|entry| entry.known == known)
        } else {
            None
        };
        let Some(first) = first else { return self.push_known(known, value) };
        self.push_known(known, value);
        let Some(last) = self.entries.pop() else { return };
        self.entries.retain(|entry| entry.known != known);
        self.entries.insert(first, last);
    }

    /// Adds all fields of another list at the end, in one copy.
    pub fn append(&mut self, other: &Fields) {
        let offset = narrow(self.bytes.len());
        self.bytes.extend_from_slice(&other.bytes);
        self.entries
            .extend(other.entries.iter().map(|entry| Entry { start: entry.start + offset, ..*entry }));
        self.present |= other.present;
        self.underscores |= other.underscores;
    }

    /// Keeps the fields for which `keep` says yes.
    pub fn retain(&mut self, mut keep: impl FnMut(&Field<'_>) -> bool) {
        let bytes = &self.bytes;
        self.entries.retain(|entry| keep(&entry.field(bytes)));
    }

    /// All fields in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Field<'_>> {
        self.entries.iter().map(|entry| entry.field(&self.bytes))
    }

    /// Joins several `Cookie` fields into one: HTTP/2 lets clients split them, HTTP/1.1 does not (RFC 9113 section 8.2.3).
    pub fn join_cookies(&mut self) {
        if !self.may_have(Known::Cookie) || self.get_all(Known::Cookie).nth(1).is_none() {
            return;
        }
        let start = self.bytes.len();
        let name = Known::Cookie.name().as_bytes();
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(b": ");
        let value_start = self.bytes.len();
        for entry in self.entries.iter().filter(|entry| entry.known == Known::Cookie) {
            if self.bytes.len() > value_start {
                self.bytes.extend_from_slice(b"; ");
            }
            let from = entry.start as usize + entry.name_len as usize + COLON_SPACE;
            self.bytes.extend_from_within(from..from + entry.value_len as usize);
        }
        let value_len = self.bytes.len() - value_start;
        self.bytes.extend_from_slice(b"\r\n");
        self.entries.retain(|entry| entry.known != Known::Cookie);
        self.note(Known::Cookie, start, name.len(), value_len);
    }

    /// Removes every entry that `doomed` was set on, and those for which `drop` says yes.
    pub(crate) fn remove_doomed(&mut self, drop: impl Fn(Known) -> bool) {
        self.entries.retain(|entry| !entry.doomed && !drop(entry.known));
    }

    /// Marks every field that a field called `lister` names; `spare` can save one.
    pub(crate) fn doom_named_by(&mut self, lister: Known, spare: impl Fn(&Field<'_>) -> bool) {
        if !self.may_have(lister) {
            return;
        }
        for index in 0..self.entries.len() {
            let Some(entry) = self.entries.get(index).copied().filter(|entry| entry.known == lister) else {
                continue;
            };
            for token in list(entry.value(&self.bytes)) {
                let known = Known::lookup(token);
                let candidates =
                    if self.present & known.bit() == 0 { &mut [] } else { self.entries.as_mut_slice() };
                for candidate in candidates.iter_mut().filter(|candidate| candidate.known == known) {
                    let field = candidate.field(&self.bytes);
                    if (known != Known::Other || field.name.eq_ignore_ascii_case(token)) && !spare(&field) {
                        candidate.doomed = true;
                    }
                }
            }
        }
    }

    /// Appends all lines. Neighbours in the list are mostly neighbours in the buffer and are copied together.
    #[inline]
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut run = 0..0;
        for entry in &self.entries {
            let start = entry.start as usize;
            if start != run.end {
                out.extend_from_slice(self.bytes.get(run).unwrap_or_default());
                run = start..start;
            }
            run.end = entry.end();
        }
        out.extend_from_slice(self.bytes.get(run).unwrap_or_default());
    }
}

/// Positions in a head. Heads are limited far below 4 GiB, by [`crate::HeadLimits`] and by every caller.
#[inline]
fn narrow(position: usize) -> u32 {
    u32::try_from(position).expect("the fields of one message must stay below 4 GiB")
}

/// Whether bytes may be a field value: no control character but HTAB, no white space at the ends.
pub(crate) fn is_value(value: &[u8]) -> bool {
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    value.iter().all(|byte| !byte.is_ascii_control() || *byte == b'\t')
        && !space(value.first())
        && !space(value.last())
}

/// Whether the value of a field may be a credential: by its name, because anybody can invent a field.
fn is_secret(field: &Field<'_>) -> bool {
    const WORDS: [&[u8]; 7] = [b"auth", b"cookie", b"key", b"passw", b"secret", b"session", b"token"];
    field.known != Known::SecWebsocketKey
        && WORDS.iter().any(|word| field.name.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word)))
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_secret(self) {
            write!(f, "{}: [{} bytes]", self.name.escape_ascii(), self.value.len())
        } else {
            write!(f, "{}: {}", self.name.escape_ascii(), self.value.escape_ascii())
        }
    }
}

/// Equal when they are sent alike: same names (case counts), same values, same order.
impl PartialEq for Fields {
    fn eq(&self, other: &Fields) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for Fields {}
