//! Shares and factors, written in percent.

use crate::decode::{Complaint, Json, Kind, Scalar};

/// A whole number of percent from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Percent<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> Scalar for Percent<MIN, MAX> {
    fn kind() -> Kind {
        Kind {
            name: "percentage".into(),
            expected: format!("a percentage from {MIN}% to {MAX}%"),
            json: Json::Text(Some("^[0-9]+%$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let number = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(percent) = number.and_then(|digits| digits.parse::<u32>().ok()) else {
            return Err(hint(text, Self::unlike()));
        };
        if (MIN..=MAX).contains(&percent) { Ok(Percent(percent)) } else { Err(Self::unlike()) }
    }
}

/// A percentage, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PercentOrOff<const MIN: u32, const MAX: u32>(pub(crate) Option<u32>);

impl<const MIN: u32, const MAX: u32> Scalar for PercentOrOff<MIN, MAX> {
    fn kind() -> Kind {
        let kind = Percent::<MIN, MAX>::kind();
        Kind {
            name: format!("{} or off", kind.name),
            expected: format!("{}, or off", kind.expected),
            json: Json::Text(Some("^([0-9]+%|off)$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "off" => Ok(PercentOrOff(None)),
            "none" | "never" | "no" | "false" | "0" | "0%" => Err(Self::unlike().hint("write `off`")),
            _ => match Percent::<MIN, MAX>::parse(text) {
                Ok(Percent(percent)) => Ok(PercentOrOff(Some(percent))),
                Err(complaint) => Err(Complaint { message: Self::unlike().message, ..complaint }),
            },
        }
    }
}

/// People write `50`, `50 %` and `0.5` for 50%.
fn hint(text: &str, complaint: Complaint) -> Complaint {
    let bare = text.strip_suffix('%').unwrap_or(text).trim();
    let Ok(number) = bare.parse::<f64>() else { return complaint };
    let is_fraction = number > 0.0 && number < 1.0 && !text.ends_with('%');
    let percent = if is_fraction { number * 100.0 } else { number };
    if !(0.0..=100_000.0).contains(&percent) {
        return complaint;
    }
    complaint.hint(format!("write `{percent:.0}%`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn percentages() {
        let check =
            |text: &str, expected: &str| check(text, |Percent(n): Percent<10, 100>| n.to_string(), expected);
        check("50%", "= 50");
        let unlike = "! must be a percentage from 10% to 100%";
        check("50", &format!("{unlike} (write `50%`)"));
        check("0.5", &format!("{unlike} (write `50%`)"));
        check("50 %", &format!("{unlike} (write `50%`)"));
        check("5%", unlike);
        check("101%", unlike);
        check("half", unlike);
        check("%", unlike);
        check("-1%", unlike);
    }

    #[test]
    fn percentages_that_can_be_switched_off() {
        let show = |PercentOrOff(percent): PercentOrOff<1, 100>| format!("{percent:?}");
        let check = |text: &str, expected: &str| check(text, show, expected);
        check("30%", "= Some(30)");
        check("off", "= None");
        let unlike = "! must be a percentage from 1% to 100%, or off";
        check("never", &format!("{unlike} (write `off`)"));
        check("30", &format!("{unlike} (write `30%`)"));
    }
}
