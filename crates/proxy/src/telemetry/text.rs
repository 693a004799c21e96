//! Bytes of log lines: numbers, times and escaped texts, appended to a buffer that is used again and again.
//!
//! Written by hand because a line is written for every exchange: through `fmt` and `serde_json` it costs several times
//! as much.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Decimal digits.
pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// An IP address. IPv6 is written as RFC 5952 wants it, which is the library's business.
pub(super) fn ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                number(out, u64::from(octet));
            }
        }
        // Writing to a vector does not fail.
        IpAddr::V6(address) => drop(write!(out, "{address}")),
    }
}

/// An address and a port, IPv6 in brackets.
pub(super) fn socket(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => ip(out, IpAddr::V4(*address.ip())),
        // With the scope of a link-local address.
        SocketAddr::V6(address) => return drop(write!(out, "{address}")),
    }
    out.push(b':');
    number(out, u64::from(address.port()));
}

/// Decimal digits, with zeros in front up to `width`, at most 8.
fn padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut digits = [b'0'; 8];
    let mut rest = value;
    for digit in digits.iter_mut().rev().take(width) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(digits.get(digits.len().saturating_sub(width)..).unwrap_or_default());
}

/// RFC 3339 in UTC, with microseconds.
pub(super) fn time(out: &mut Vec<u8>, unix_micros: u64) {
    let seconds = unix_micros / 1_000_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    padded(out, year, 4);
    for (separator, value) in
        [(b'-', month), (b'-', day), (b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(separator);
        padded(out, value, 2);
    }
    out.push(b'.');
    padded(out, unix_micros % 1_000_000, 6);
    out.push(b'Z');
}

/// Year, month and day of a number of days since 1970-01-01 in the Gregorian calendar. Years begin in March here, so
/// that the leap day is the last day of a year; the 400 years of a cycle have 146,097 days.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (cycle * 400 + year_of_cycle + u64::from(month <= 2), month, day)
}

/// A JSON string (RFC 8259 section 7), quotes included. DEL and the C1 controls are escaped too: a terminal that shows
/// the line would obey them.
pub(super) fn json(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let bytes = text.as_bytes();
    // Nearly every text is of this kind; without a branch per byte the check is done many bytes at a time.
    let is_plain = |byte: u8| (0x20..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\');
    if bytes.iter().fold(true, |all, byte| all & is_plain(*byte)) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut clean_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escaped_length = match byte {
            0x20..=0x7e if *byte != b'"' && *byte != b'\\' => continue,
            // U+0080 to U+009F in UTF-8.
            0xc2 if bytes.get(at + 1).is_some_and(|next| *next < 0xa0) => 2,
            0x80.. => continue,
            _ => 1,
        };
        out.extend_from_slice(bytes.get(clean_from..at).unwrap_or_default());
        let code = if escaped_length == 2 { bytes.get(at + 1).copied().unwrap_or_default() } else { *byte };
        json_escape(out, code);
        clean_from = at + escaped_length;
    }
    out.extend_from_slice(bytes.get(clean_from..).unwrap_or_default());
    out.push(b'"');
}

fn json_escape(out: &mut Vec<u8>, code: u8) {
    match code {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', code]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend(HEX.get(usize::from(code >> 4)));
            out.extend(HEX.get(usize::from(code & 15)));
        }
    }
}

/// Text for a person's terminal: what would move its cursor, change its colours or reorder what it shows is written as
/// an escape.
pub(super) fn human(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if acts_on_a_terminal(character) {
            // Writing to a string does not fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    out.extend_from_slice(shown.as_bytes());
}

/// A text as a terminal may show it.
pub fn printable(text: &str) -> String {
    let mut out = Vec::new();
    human(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

/// A Unix time as RFC 3339 in UTC, with microseconds.
pub fn time_text(unix_micros: u64) -> String {
    let mut out = Vec::new();
    time(&mut out, unix_micros);
    String::from_utf8_lossy(&out).into_owned()
}

/// Controls, line and paragraph separators, and the marks that change the direction of the text around them.
fn acts_on_a_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Billionths of a US dollar for people, without zeros at the end: `$0.0012`.
pub fn dollars_text(nanos: u64) -> String {
    let text = format!("${}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A duration as a person reads it, in about three digits, without a space.
pub fn duration_text(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}µs"),
        1_000..10_000 => format!("{:.2}ms", micros as f64 / 1e3),
        10_000..100_000 => format!("{:.1}ms", micros as f64 / 1e3),
        100_000..1_000_000 => format!("{}ms", micros / 1000),
        1_000_000..10_000_000 => format!("{:.2}s", micros as f64 / 1e6),
        10_000_000..600_000_000 => format!("{:.1}s", micros as f64 / 1e6),
        _ => format!("{}m{:02}s", micros / 60_000_000, micros / 1_000_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_have_all_their_digits() {
        for value in [0, 7, 10, 99, 100, 18_446_744_073_709_551_615] {
            assert_eq!(written(|out| number(out, value)), value.to_string());
        }
    }

    #[test]
    fn addresses_are_written_as_the_library_does() {
        for text in ["0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "2001:db8::7", "::ffff:192.0.2.1"] {
            assert_eq!(written(|out| ip(out, text.parse().unwrap())), text);
        }
        for text in ["192.0.2.1:80", "[2001:db8::7]:65535", "[fe80::1%3]:1"] {
            assert_eq!(written(|out| socket(out, text.parse().unwrap())), text);
        }
    }

    #[test]
    fn times_follow_rfc_3339() {
        for (unix_micros, expect) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
            (951_868_800_000_001, "2000-03-01T00:00:00.000001Z"),
            (1_764_000_000_123_456, "2025-11-24T16:00:00.123456Z"),
            (4_107_542_400_000_000, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(written(|out| time(out, unix_micros)), expect);
        }
    }

    #[test]
    fn json_strings_escape_what_json_and_terminals_need() {
        for (text, expect) in [
            ("/items/1", r#""/items/1""#),
            ("", r#""""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("\n\r\t\0\u{1b}[31m", r#""\n\r\t\u0000\u001b[31m""#),
            ("\u{7f}\u{9b}31m", r#""\u007f\u009b31m""#),
            ("é\u{a0}ü…🦀", "\"é\u{a0}ü…🦀\""),
        ] {
            assert_eq!(written(|out| json(out, text)), expect);
            assert_eq!(serde_json::from_str::<String>(expect).unwrap(), text);
        }
    }

    #[test]
    fn a_terminal_is_not_moved_by_a_text() {
        for (text, expect) in [
            ("/items/ü", "/items/ü"),
            ("a\u{1b}[2Jb\r\n", "a\\u{1b}[2Jb\\u{d}\\u{a}"),
            ("\u{9b}\u{202e}gpj.exe", "\\u{9b}\\u{202e}gpj.exe"),
        ] {
            assert_eq!(written(|out| human(out, text)), expect);
        }
    }

    #[test]
    fn durations_are_short() {
        for (micros, expect) in [
            (0, "0µs"),
            (999, "999µs"),
            (1_234, "1.23ms"),
            (12_345, "12.3ms"),
            (123_456, "123ms"),
            (1_234_567, "1.23s"),
            (59_900_000, "59.9s"),
            (3_723_000_000, "62m03s"),
        ] {
            assert_eq!(duration_text(micros), expect);
        }
    }
}
