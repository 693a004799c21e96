//! Numbers, durations and sizes.

use std::time::Duration;

use model::ByteSize;

use crate::decode::{Complaint, Json, Kind, Scalar};

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: i64, const MAX: i64>(pub(crate) i64);

impl<const MIN: i64, const MAX: i64> Whole<MIN, MAX> {
    /// As the type the model has; the range is declared to fit it.
    pub(crate) fn number<T: TryFrom<i64>>(self) -> T {
        T::try_from(self.0).ok().expect("the declared range must fit the type of the model")
    }
}

impl<const MIN: i64, const MAX: i64> Scalar for Whole<MIN, MAX> {
    const UNQUOTED: bool = true;

    fn kind() -> Kind {
        Kind {
            name: "number".into(),
            expected: format!("a whole number from {MIN} to {MAX}"),
            json: Json::Integer { min: MIN, max: MAX },
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let plain: String = text.chars().filter(|c| !matches!(c, '_' | ',' | ' ')).collect();
            let complaint = Self::unlike();
            let is_number = plain != text && !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_digit());
            return Err(if is_number { complaint.hint(format!("write `{plain}`")) } else { complaint });
        }
        let number = text.parse().map_err(|_| Self::unlike())?;
        if (MIN..=MAX).contains(&number) { Ok(Whole(number)) } else { Err(Self::unlike()) }
    }
}

impl Scalar for bool {
    const UNQUOTED: bool = true;

    fn kind() -> Kind {
        Kind { name: "boolean".into(), expected: "true or false".into(), json: Json::Boolean }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" | "1" => Self::unlike().hint("write `true`"),
                "no" | "off" | "n" | "false" | "0" => Self::unlike().hint("write `false`"),
                _ => Self::unlike(),
            }),
        }
    }
}

/// A duration of at least `MIN_MS` milliseconds and at most a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time<const MIN_MS: u64>(pub(crate) Duration);

/// In the order in which they may follow each other.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const TIME_MAX_MS: u64 = 366 * 86_400_000;

impl<const MIN_MS: u64> Scalar for Time<MIN_MS> {
    fn kind() -> Kind {
        Kind {
            name: "duration".into(),
            expected: "a duration such as 500ms, 2s or 1m30s".into(),
            json: Json::Text(Some("^([0-9]+(d|h|m|s|ms))+$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let Some(millis) = milliseconds(text) else {
            return Err(time_hint(text, Self::unlike()));
        };
        if millis < MIN_MS {
            return Err(Complaint::new(format!("must be at least {MIN_MS}ms"))
                .hint("a time limit cannot be switched off; a long one such as 1d comes close"));
        }
        if millis > TIME_MAX_MS {
            return Err(Complaint::new("must be at most 366d"));
        }
        Ok(Time(Duration::from_millis(millis)))
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let mut total: u64 = 0;
    let mut units = TIME_UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let unit_ends = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_ends);
        // Searching on in the same iterator keeps the units in order and single.
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn time_hint(text: &str, complaint: Complaint) -> Complaint {
    let lower = text.trim().to_ascii_lowercase();
    let compact: String = lower.chars().filter(|c| !c.is_whitespace()).collect();
    let (number, unit) =
        compact.split_at(compact.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(compact.len()));
    let unit = match unit {
        "" | "sec" | "secs" | "second" | "seconds" | "s" => "s",
        "msec" | "millis" | "milliseconds" | "ms" => "ms",
        "min" | "mins" | "minute" | "minutes" | "m" => "m",
        "hour" | "hours" | "h" => "h",
        "day" | "days" | "d" => "d",
        _ => return complaint,
    };
    if let Some((whole, fraction)) = number.split_once('.') {
        let factor = TIME_UNITS.iter().find(|(name, _)| *name == unit).map_or(1000, |(_, factor)| *factor);
        return match millis_of_decimal(whole, fraction, factor) {
            Some(millis) => complaint.hint(format!("write `{millis}ms`")),
            None => complaint,
        };
    }
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return complaint;
    }
    complaint.hint(format!("write `{number}{unit}`"))
}

fn millis_of_decimal(whole: &str, fraction: &str, factor: u64) -> Option<u64> {
    let digits = u32::try_from(fraction.len()).ok().filter(|digits| (1..=6).contains(digits))?;
    let scale = 10u64.checked_pow(digits)?;
    let number = whole.parse::<u64>().ok()?.checked_mul(scale)?.checked_add(fraction.parse().ok()?)?;
    Some(number.checked_mul(factor)? / scale)
}

/// A number of bytes from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size<const MIN: u64, const MAX: u64>(pub(crate) ByteSize);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl<const MIN: u64, const MAX: u64> Scalar for Size<MIN, MAX> {
    fn kind() -> Kind {
        Kind {
            name: "size".into(),
            expected: "a size such as 64KiB, 10MB or 1GiB".into(),
            json: Json::Text(Some("^[0-9]+ ?(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (number, unit) = split_number(text);
        let unit = unit.strip_prefix(' ').unwrap_or(unit);
        let known = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
        let (Ok(number), Some((_, factor))) = (number.parse::<u64>(), known) else {
            return Err(size_hint(number, unit, Self::unlike()));
        };
        let bytes = number.saturating_mul(*factor);
        if !(MIN..=MAX).contains(&bytes) {
            let message = format!("must be from {} to {}", written(ByteSize(MIN)), written(ByteSize(MAX)));
            return Err(Complaint::new(message));
        }
        Ok(Size(ByteSize(bytes)))
    }
}

fn size_hint(number: &str, unit: &str, complaint: Complaint) -> Complaint {
    if number.is_empty() {
        return complaint;
    }
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" | "byte" => "B",
        "k" | "kib" | "ki" | "kb" => "KiB",
        "m" | "mib" | "mi" | "mb" => "MiB",
        "g" | "gib" | "gi" | "gb" => "GiB",
        "t" | "tib" | "ti" | "tb" => "TiB",
        _ => return complaint,
    };
    complaint.hint(format!("write `{number}{unit}`"))
}

/// In the form that can be written in a configuration.
fn written(size: ByteSize) -> String {
    size.to_string().replace(' ', "")
}

/// A limit that can be switched off with the word `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited<T>(pub(crate) Option<T>);

impl<T: Scalar> Scalar for Limited<T> {
    fn kind() -> Kind {
        let kind = T::kind();
        let pattern = match kind.json {
            Json::Text(Some("^([0-9]+(d|h|m|s|ms))+$")) => "^(([0-9]+(d|h|m|s|ms))+|unlimited)$",
            _ => "^([0-9]+ ?(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)|unlimited)$",
        };
        Kind {
            name: format!("{} or unlimited", kind.name),
            expected: format!("{}, or unlimited", kind.expected),
            json: Json::Text(Some(pattern)),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "unlimited" => Ok(Limited(None)),
            "none" | "off" | "never" | "0" | "-1" | "infinite" | "infinity" => {
                Err(Self::unlike().hint("write `unlimited`"))
            }
            _ => T::parse(text).map(|value| Limited(Some(value))).map_err(|complaint| {
                let unlike = complaint.message == T::unlike().message;
                let message = if unlike { Self::unlike().message } else { complaint.message };
                // What cannot be switched off elsewhere can be here.
                let hint =
                    if unlike { complaint.hint } else { Some("write `unlimited` for no limit".into()) };
                Complaint { message, hint, ..complaint }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn durations() {
        let check =
            |text: &str, expected: &str| check(text, |Time(time): Time<1>| format!("{time:?}"), expected);
        check("500ms", "= 500ms");
        check("2s", "= 2s");
        check("1m30s", "= 90s");
        check("1d2h3m4s5ms", "= 93784.005s");
        let unlike = "! must be a duration such as 500ms, 2s or 1m30s";
        check("30", &format!("{unlike} (write `30s`)"));
        check("1.5s", &format!("{unlike} (write `1500ms`)"));
        check("0.5", &format!("{unlike} (write `500ms`)"));
        check("5 min", &format!("{unlike} (write `5m`)"));
        check("10S", &format!("{unlike} (write `10s`)"));
        check("30s1m", unlike);
        check("1s1s", unlike);
        check("s", unlike);
        check("-1s", unlike);
        check("", unlike);
        check("soon", unlike);
        check("99999999999999999999s", &format!("{unlike} (write `99999999999999999999s`)"));
        check("367d", "! must be at most 366d");
        check(
            "0s",
            "! must be at least 1ms (a time limit cannot be switched off; a long one such as 1d comes close)",
        );
    }

    #[test]
    fn sizes() {
        let show = |Size(size): Size<1, { 1 << 40 }>| size.0.to_string();
        let check = |text: &str, expected: &str| check(text, show, expected);
        check("64KiB", "= 65536");
        check("10MB", "= 10000000");
        check("1 GiB", "= 1073741824");
        check("17B", "= 17");
        let unlike = "! must be a size such as 64KiB, 10MB or 1GiB";
        check("1024", &format!("{unlike} (write `1024B`)"));
        check("64k", &format!("{unlike} (write `64KiB`)"));
        check("64kb", &format!("{unlike} (write `64KiB`)"));
        check("big", unlike);
        check("0B", "! must be from 1B to 1024GiB");
        check("99999999999999TiB", "! must be from 1B to 1024GiB");
    }

    #[test]
    fn numbers_and_booleans() {
        let number = |text: &str, expected: &str| check(text, |n: Whole<-5, 100>| n.0.to_string(), expected);
        number("7", "= 7");
        number("-5", "= -5");
        number("101", "! must be a whole number from -5 to 100");
        number("1_0", "! must be a whole number from -5 to 100 (write `10`)");
        number("0x1", "! must be a whole number from -5 to 100");
        number("1e3", "! must be a whole number from -5 to 100");
        number("99999999999999999999", "! must be a whole number from -5 to 100");
        let boolean = |text: &str, expected: &str| check(text, |b: bool| b.to_string(), expected);
        boolean("true", "= true");
        boolean("yes", "! must be true or false (write `true`)");
        boolean("Off", "! must be true or false (write `false`)");
        boolean("maybe", "! must be true or false");
    }

    #[test]
    fn limits_that_can_be_switched_off() {
        let show = |limit: Limited<Time<1>>| format!("{:?}", limit.0.map(|time| time.0));
        let check = |text: &str, expected: &str| check(text, show, expected);
        check("unlimited", "= None");
        check("2s", "= Some(2s)");
        check("none", "! must be a duration such as 500ms, 2s or 1m30s, or unlimited (write `unlimited`)");
        check("0s", "! must be at least 1ms (write `unlimited` for no limit)");
        check("30", "! must be a duration such as 500ms, 2s or 1m30s, or unlimited (write `30s`)");
    }
}
