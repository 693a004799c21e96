//! Numbers as bytes: LEB128 varints, zigzag for differences, and a reader that checks every length it is told.

use std::time::Duration;

/// The bytes are not what an encoder of this version writes: damaged, or written by a newer version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt;

pub(crate) fn put_u64(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_u128(out: &mut Vec<u8>, mut value: u128) {
    while let Err(_) | Ok(0x80..) = u64::try_from(value) {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A value close to another one: small differences either way are short, any difference is exact.
pub(crate) fn put_near(out: &mut Vec<u8>, value: u64, near: u64) {
    let difference = value.wrapping_sub(near) as i64;
    put_u64(out, ((difference << 1) ^ (difference >> 63)) as u64);
}

/// Durations are exact, and a byte shorter where they are whole microseconds: the lowest bit says which.
pub(crate) fn put_duration(out: &mut Vec<u8>, duration: Duration) {
    let nanos = duration.subsec_nanos();
    if duration.as_secs() < 1 << 30 {
        let whole = duration.as_secs() * 1_000_000_000 + u64::from(nanos);
        put_u64(out, if nanos.is_multiple_of(1000) { (whole / 1000) << 1 } else { (whole << 1) | 1 });
    } else {
        put_u128(out, duration.as_nanos() << 1 | 1);
    }
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the functions above wrote.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    /// How many bytes are left; no honest count of things that take a byte each is above it.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Corrupt> {
        let (first, rest) = self.rest.split_first().ok_or(Corrupt)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Corrupt> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Corrupt)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Corrupt)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(Corrupt);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Corrupt)
    }

    fn u128(&mut self) -> Result<u128, Corrupt> {
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            if shift == 126 && byte > 3 {
                return Err(Corrupt);
            }
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Corrupt)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Corrupt> {
        u32::try_from(self.u64()?).map_err(|_| Corrupt)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Corrupt> {
        u16::try_from(self.u64()?).map_err(|_| Corrupt)
    }

    /// A count or length of at most `max`.
    pub(crate) fn len(&mut self, max: usize) -> Result<usize, Corrupt> {
        let len = usize::try_from(self.u64()?).map_err(|_| Corrupt)?;
        if len > max { Err(Corrupt) } else { Ok(len) }
    }

    pub(crate) fn near(&mut self, near: u64) -> Result<u64, Corrupt> {
        let zigzag = self.u64()?;
        Ok(near.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg()))
    }

    pub(crate) fn duration(&mut self) -> Result<Duration, Corrupt> {
        let value = self.u128()?;
        let nanos = if value & 1 == 0 { (value >> 1).checked_mul(1000).ok_or(Corrupt)? } else { value >> 1 };
        let seconds = u64::try_from(nanos / 1_000_000_000).map_err(|_| Corrupt)?;
        Ok(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let len = self.len(self.left())?;
        self.take(len)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Corrupt> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Corrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(value: u64, near: u64, seconds: u64, nanos in 0u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            let whole_micros = Duration::new(seconds, nanos / 1000 * 1000);
            let short = Duration::new(seconds & 0xffff, nanos);
            let mut out = Vec::new();
            put_u64(&mut out, value);
            put_near(&mut out, value, near);
            for duration in [duration, whole_micros, short] {
                put_duration(&mut out, duration);
            }
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.u64(), Ok(value));
            prop_assert_eq!(cursor.near(near), Ok(value));
            for duration in [duration, whole_micros, short] {
                prop_assert_eq!(cursor.duration(), Ok(duration));
            }
            prop_assert_eq!(cursor.left(), 0);
        }
    }

    #[test]
    fn small_numbers_are_short() {
        let len = |put: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            put(&mut out);
            out.len()
        };
        assert_eq!(len(&|out| put_u64(out, 127)), 1);
        assert_eq!(len(&|out| put_near(out, 1_000_000, 1_000_063)), 1);
        assert_eq!(len(&|out| put_duration(out, Duration::from_micros(8_000))), 2);
        assert_eq!(len(&|out| put_duration(out, Duration::from_nanos(8_000_001))), 4);
    }

    #[test]
    fn lengths_and_numbers_that_do_not_fit_are_refused() {
        assert_eq!(Cursor::new(&[0xff; 9]).u64(), Err(Corrupt));
        assert_eq!(Cursor::new(&[0xff; 11]).u64(), Err(Corrupt));
        assert_eq!(Cursor::new(&[0xff; 20]).duration(), Err(Corrupt));
        assert_eq!(Cursor::new(&[5, 1, 2]).bytes(), Err(Corrupt));
        assert_eq!(Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).len(1000), Err(Corrupt));
    }
}
