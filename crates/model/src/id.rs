//! Request ids: UUIDs of version 7 (RFC 9562 section 5.7), ordered by the time they were made.

use std::fmt;
use std::str::FromStr;

/// The identity of one exchange, unique and ordered by time: its first 48 bits are Unix milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u128);

/// The text is not a UUID of version 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseRequestIdError;

impl RequestId {
    /// Unix milliseconds at which the id was made.
    pub fn unix_millis(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// The smallest id that can have been made at this Unix millisecond.
    pub fn first_at(unix_millis: u64) -> RequestId {
        RequestId(u128::from(unix_millis) << 80)
    }

    /// The 36 bytes of its text form, without allocating.
    pub fn to_ascii(self) -> [u8; 36] {
        let digits = hex(self.0.to_be_bytes());
        let mut text = [b'-'; 36];
        for (from, to) in [(0..8, 0..8), (8..12, 9..13), (12..16, 14..18), (16..20, 19..23), (20..32, 24..36)]
        {
            if let (Some(to), Some(from)) = (text.get_mut(to), digits.as_flattened().get(from)) {
                to.copy_from_slice(from);
            }
        }
        text
    }
}

/// Two lower-case hexadecimal digits for each byte.
pub fn hex<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    let mut text = [[0; 2]; N];
    for (from, to) in bytes.chunks(4).zip(text.as_flattened_mut().chunks_mut(8)) {
        let word = from.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
        let digits = eight_digits(word << (8 * (4 - from.len() as u32)));
        for (to, digit) in to.iter_mut().zip(digits) {
            *to = digit;
        }
    }
    text
}

/// All digits at once: each id is written twice per request.
fn eight_digits(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // A half byte to each byte.
    let mut halves = u64::from(number);
    halves = (halves | halves << 16) & 0x0000_ffff_0000_ffff;
    halves = (halves | halves << 8) & 0x00ff_00ff_00ff_00ff;
    halves = (halves | halves << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // Six more carry from ten on into the other half.
    let letters = (halves + 6 * ONES) >> 4 & ONES;
    (halves + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ascii().iter().try_for_each(|byte| fmt::Write::write_char(f, *byte as char))
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RequestId {
    type Err = ParseRequestIdError;

    fn from_str(text: &str) -> Result<RequestId, ParseRequestIdError> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return Err(ParseRequestIdError);
        }
        let mut value = 0u128;
        for (at, byte) in bytes.iter().enumerate() {
            match (at, byte) {
                (8 | 13 | 18 | 23, b'-') => {}
                (8 | 13 | 18 | 23, _) => return Err(ParseRequestIdError),
                _ => {
                    let digit = (*byte as char).to_digit(16).ok_or(ParseRequestIdError)?;
                    value = value << 4 | u128::from(digit);
                }
            }
        }
        if (value >> 76) & 15 != 7 { Err(ParseRequestIdError) } else { Ok(RequestId(value)) }
    }
}

/// Makes ids that never go backwards on one thread. The seed keeps threads apart; ids are names, not secrets.
#[derive(Debug)]
pub struct RequestIds {
    random: u64,
    last: u128,
}

impl RequestIds {
    pub fn new(seed: u64) -> RequestIds {
        RequestIds { random: seed | 1, last: 0 }
    }

    /// A number to tell things apart by; not for secrets.
    pub fn random(&mut self) -> u64 {
        // xorshift64*: cheap, and good enough to keep ids of different threads and processes apart.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// The next id for this Unix time in microseconds. The sub-millisecond part fills the 12 bits of `rand_a`, as
    /// RFC 9562 section 6.2 method 3 allows; a clock that stands still or steps back counts upwards from the last id.
    pub fn next(&mut self, unix_micros: u64) -> RequestId {
        let random = self.random() >> 2;
        let (millis, micros) = (unix_micros / 1000, unix_micros % 1000);
        let fraction = micros * 4096 / 1000;
        let id = u128::from(millis) << 80
            | 7 << 76
            | u128::from(fraction) << 64
            | 2 << 62
            | u128::from(random & ((1 << 62) - 1));
        let id = if id > self.last { id } else { self.last + 1 };
        self.last = id;
        RequestId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_digits_are_those_of_the_standard_library() {
        let flat = |digits: &[[u8; 2]]| String::from_utf8(digits.as_flattened().to_vec()).unwrap();
        for byte in 0..=255u8 {
            assert_eq!(flat(&hex([byte])), format!("{byte:02x}"));
        }
        let bytes = [0x01, 0x9a, 0xbc, 0xde, 0xf0, 0xff, 0x90];
        assert_eq!(flat(&hex(bytes)), "019abcdef0ff90");
        assert_eq!(flat(&hex::<0>([])), "");
    }

    #[test]
    fn text_round_trips_and_has_the_version_7_shape() {
        let id = RequestIds::new(42).next(1_764_000_000_123_456);
        let text = id.to_string();
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(text.as_bytes()[14], b'7');
        assert!(b"89ab".contains(&text.as_bytes()[19]), "{text}");
        assert_eq!(id.unix_millis(), 1_764_000_000_123);
        assert!(RequestId::first_at(1_764_000_000_123) <= id);
    }

    #[test]
    fn ids_of_one_thread_only_grow_even_when_the_clock_steps_back() {
        let mut ids = RequestIds::new(7);
        let made: Vec<_> = [5_000, 5_000, 4_000, 6_000].iter().map(|at| ids.next(*at)).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]), "{made:?}");
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in
            ["", "not-an-id", "018f5a3e-0000-4000-8000-000000000000", "018f5a3e00007000800000000000000000000"]
        {
            assert_eq!(text.parse::<RequestId>(), Err(ParseRequestIdError), "{text}");
        }
    }
}
