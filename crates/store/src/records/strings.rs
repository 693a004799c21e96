//! The string table of a block: each distinct text once, everything else refers to it by number.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use super::bytes::{Corrupt, Cursor, put_u64};

/// Texts are cut here. The longest that the model allows is a path of 1,024 bytes; details are shorter by habit.
pub(crate) const TEXT_BYTES_MAX: usize = 4096;
/// A table of this many texts is full; one more exchange adds at most some hundred.
const TEXTS_FULL: usize = 16_384;
/// No table has more: bounds what a damaged count can make a reader allocate.
const TEXTS_MAX: usize = 2 * TEXTS_FULL;

/// A text as far as it is stored.
pub(crate) fn cut(text: &str) -> &str {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or("")
}

/// Collects texts while a block is open. No allocation per text: they lie one after the other in one buffer.
#[derive(Debug, Default)]
pub(crate) struct StringsBuilder {
    hasher: ahash::RandomState,
    by_hash: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    spans: Vec<(usize, usize)>,
    text: String,
}

impl StringsBuilder {
    /// The number of a text, which enters the table if it is new.
    pub(crate) fn put(&mut self, text: &str) -> u32 {
        let text = cut(text);
        let hash = self.hasher.hash_one(text);
        let known = self.by_hash.get(&hash).copied();
        if let Some(number) = known
            && self.get(number) == Some(text)
        {
            return number;
        }
        let number = self.spans.len() as u32;
        self.spans.push((self.text.len(), self.text.len() + text.len()));
        self.text.push_str(text);
        // Two texts of one hash: the later one is simply stored each time, which only costs room.
        if known.is_none() {
            self.by_hash.insert(hash, number);
        }
        number
    }

    pub(crate) fn get(&self, number: u32) -> Option<&str> {
        let (start, end) = *self.spans.get(number as usize)?;
        self.text.get(start..end)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.spans.len() >= TEXTS_FULL
    }

    pub(crate) fn size_bytes(&self) -> usize {
        self.text.len() + self.spans.len() * 2
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_u64(out, self.spans.len() as u64);
        for (start, end) in &self.spans {
            put_u64(out, (end - start) as u64);
        }
        out.extend_from_slice(self.text.as_bytes());
    }

    pub(crate) fn clear(&mut self) {
        self.by_hash.clear();
        self.spans.clear();
        self.text.clear();
    }
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Reads the table of a block. Names that many rows share are made once.
#[derive(Debug)]
pub(crate) struct Strings<'a> {
    texts: Vec<&'a str>,
    shared: Vec<Option<Arc<str>>>,
}

impl<'a> Strings<'a> {
    pub(crate) fn read(from: &mut Cursor<'a>) -> Result<Strings<'a>, Corrupt> {
        let count = from.len(from.left().min(TEXTS_MAX))?;
        let lengths = (0..count).map(|_| from.len(TEXT_BYTES_MAX)).collect::<Result<Vec<_>, _>>()?;
        let texts = lengths
            .into_iter()
            .map(|len| std::str::from_utf8(from.take(len)?).map_err(|_| Corrupt))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Strings { shared: vec![None; texts.len()], texts })
    }

    pub(crate) fn text(&self, number: u32) -> Result<&'a str, Corrupt> {
        self.texts.get(number as usize).copied().ok_or(Corrupt)
    }

    pub(crate) fn shared(&mut self, number: u32) -> Result<Arc<str>, Corrupt> {
        let text = self.text(number)?;
        let slot = self.shared.get_mut(number as usize).ok_or(Corrupt)?;
        Ok(slot.get_or_insert_with(|| Arc::from(text)).clone())
    }

    /// Whether any text of the block is like this. What no text is like, no row of the block has.
    pub(crate) fn any(&self, is_like: impl Fn(&str) -> bool) -> bool {
        self.texts.iter().any(|text| is_like(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_enters_once_and_comes_back() {
        let mut builder = StringsBuilder::default();
        let numbers: Vec<u32> = ["orders", "", "/v1", "orders", ""].iter().map(|t| builder.put(t)).collect();
        assert_eq!(numbers, [0, 1, 2, 0, 1]);
        let mut out = Vec::new();
        builder.write(&mut out);
        let mut strings = Strings::read(&mut Cursor::new(&out)).unwrap();
        assert_eq!(strings.text(2), Ok("/v1"));
        assert_eq!(&*strings.shared(0).unwrap(), "orders");
        assert!(Arc::ptr_eq(&strings.shared(0).unwrap(), &strings.shared(0).unwrap()));
        assert_eq!(strings.text(3), Err(Corrupt));
        assert!(strings.any(|text| text.starts_with("/v")));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = format!("{}é", "x".repeat(TEXT_BYTES_MAX - 1));
        assert_eq!(cut(&text).len(), TEXT_BYTES_MAX - 1);
    }
}
