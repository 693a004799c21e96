//! Times and sizes as products write them, to seconds and bytes as evidence writes them.

/// The units of one product.
type Units = &'static [(&'static str, f64)];

const NGINX_TIME: Units = &[
    ("ms", 0.001),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86400.0),
    ("w", 604_800.0),
    ("M", 2_592_000.0),
    ("y", 31_536_000.0),
];
const HAPROXY_TIME: Units =
    &[("us", 0.000_001), ("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];
const APACHE_TIME: Units = &[("ms", 0.001), ("s", 1.0), ("mi", 60.0), ("h", 3600.0)];
const GO_TIME: Units = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("\u{b5}s", 1e-6),
    ("ms", 0.001),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86400.0),
];
const SYSTEMD_TIME: Units = &[
    ("us", 1e-6),
    ("usec", 1e-6),
    ("ms", 0.001),
    ("msec", 0.001),
    ("s", 1.0),
    ("sec", 1.0),
    ("second", 1.0),
    ("seconds", 1.0),
    ("m", 60.0),
    ("min", 60.0),
    ("minute", 60.0),
    ("minutes", 60.0),
    ("h", 3600.0),
    ("hr", 3600.0),
    ("hour", 3600.0),
    ("hours", 3600.0),
    ("d", 86400.0),
    ("day", 86400.0),
    ("days", 86400.0),
    ("w", 604_800.0),
    ("week", 604_800.0),
];
const BYTES: Units = &[
    ("b", 1.0),
    ("k", 1024.0),
    ("kb", 1024.0),
    ("kib", 1024.0),
    ("ki", 1024.0),
    ("m", 1_048_576.0),
    ("mb", 1_048_576.0),
    ("mib", 1_048_576.0),
    ("mi", 1_048_576.0),
    ("g", 1_073_741_824.0),
    ("gb", 1_073_741_824.0),
    ("gib", 1_073_741_824.0),
    ("gi", 1_073_741_824.0),
];

/// nginx: seconds where no unit is written; `1m30s`.
pub(crate) fn nginx_time(text: &str) -> Option<String> {
    sum(text, NGINX_TIME, 1.0).map(number)
}

/// HAProxy: milliseconds where no unit is written.
pub(crate) fn haproxy_time(text: &str) -> Option<String> {
    sum(text, HAPROXY_TIME, 0.001).map(number)
}

/// Apache: seconds where no unit is written, `mi` for minutes.
pub(crate) fn apache_time(text: &str) -> Option<String> {
    sum(&text.to_lowercase(), APACHE_TIME, 1.0).map(number)
}

/// Go, and the JSON form of protobuf durations (`15s`, `0.25s`).
pub(crate) fn go_time(text: &str) -> Option<String> {
    sum(text, GO_TIME, 1e-9).map(number)
}

/// systemd and Compose: seconds where no unit is written; `1min 30s`.
pub(crate) fn systemd_time(text: &str) -> Option<String> {
    if text == "infinity" {
        return Some("0".to_owned());
    }
    sum(text, SYSTEMD_TIME, 1.0).map(number)
}

pub(crate) fn bytes(text: &str) -> Option<String> {
    sum(&text.to_lowercase(), BYTES, 1.0).map(number)
}

/// A number as evidence writes it: no trailing zeros, no exponent.
pub(crate) fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The sum of numbers with units; without a unit it is one of `unit`.
fn sum(text: &str, units: Units, unit: f64) -> Option<f64> {
    let mut rest = text.trim();
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (value, after) = rest.split_at(digits);
        let value: f64 = value.parse().ok()?;
        let after = after.trim_start();
        let end =
            after.find(|c: char| c.is_ascii_digit() || c.is_whitespace() || c == '.').unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        let scale = match name {
            "" => unit,
            name => units.iter().find(|(known, _)| *known == name).map(|(_, scale)| *scale)?,
        };
        total += value * scale;
        rest = after.trim_start();
    }
    total.is_finite().then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_product_has_its_units() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(nginx_time("60"), some("60"));
        assert_eq!(nginx_time("1m30s"), some("90"));
        assert_eq!(nginx_time("500ms"), some("0.5"));
        assert_eq!(nginx_time("1m 30s"), some("90"));
        assert_eq!(nginx_time("$x"), None);
        assert_eq!(haproxy_time("5000"), some("5"));
        assert_eq!(haproxy_time("30s"), some("30"));
        assert_eq!(apache_time("5"), some("5"));
        assert_eq!(apache_time("500ms"), some("0.5"));
        assert_eq!(go_time("1m30s"), some("90"));
        assert_eq!(go_time("0.25s"), some("0.25"));
        assert_eq!(systemd_time("1min 30s"), some("90"));
        assert_eq!(systemd_time("90"), some("90"));
        assert_eq!(bytes("8k"), some("8192"));
        assert_eq!(bytes("1Mi"), some("1048576"));
        assert_eq!(bytes(""), None);
        assert_eq!(bytes("1.2.3"), None);
    }
}
