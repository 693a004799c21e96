//! When a second attempt is made beside the first.

use model::gateway::Hedge;

use super::amount::Time;
use crate::decode::{Complaint, Json, Kind, Scalar};

/// A time, or one of two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HedgeText(pub(crate) Hedge);

impl Scalar for HedgeText {
    fn kind() -> Kind {
        Kind {
            name: "duration, p95 or off".into(),
            expected: "off, p95, or a duration such as 500ms".into(),
            json: Json::Text(Some("^(([0-9]+(d|h|m|s|ms))+|p95|off)$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "off" => Ok(HedgeText(Hedge::Off)),
            "p95" => Ok(HedgeText(Hedge::P95)),
            "none" | "false" | "never" | "0" => Err(Self::unlike().hint("write `off`")),
            _ => match Time::<1>::parse(text) {
                Ok(Time(time)) => Ok(HedgeText(Hedge::After(time))),
                Err(complaint) => Err(Complaint { hint: complaint.hint, ..Self::unlike() }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn a_time_or_a_word() {
        let check =
            |text: &str, expected: &str| check(text, |HedgeText(hedge)| format!("{hedge:?}"), expected);
        check("off", "= Off");
        check("p95", "= P95");
        check("300ms", "= After(300ms)");
        let unlike = "! must be off, p95, or a duration such as 500ms";
        check("p99", unlike);
        check("never", &format!("{unlike} (write `off`)"));
        check("30", &format!("{unlike} (write `30s`)"));
    }
}
