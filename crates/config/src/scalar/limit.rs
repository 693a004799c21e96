//! Amounts in a stretch of time: `60/minute`, `5.00/day`.

use model::gateway::{LimitBy, Rate, Window};

use crate::decode::{Complaint, Json, Kind, Scalar};

/// A whole number in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateText(pub(crate) Rate);

/// Dollars in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MoneyText(pub(crate) Rate);

const NANOS: u64 = 1_000_000_000;

fn window(text: &str) -> Option<Window> {
    Window::ALL.iter().copied().find(|window| window.id() == text)
}

impl Scalar for RateText {
    fn kind() -> Kind {
        Kind {
            name: "rate".into(),
            expected: "a whole number per second, minute, hour, day or month such as 60/minute".into(),
            json: Json::Text(Some("^[0-9]+/(second|minute|hour|day|month)$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (amount, per) = text.split_once('/').ok_or_else(Self::unlike)?;
        let is_number = !amount.is_empty() && amount.bytes().all(|byte| byte.is_ascii_digit());
        match (amount.parse(), window(per)) {
            (Ok(amount), Some(per)) if is_number => Ok(RateText(Rate { amount, per })),
            _ => Err(Self::unlike()),
        }
    }
}

impl Scalar for MoneyText {
    fn kind() -> Kind {
        Kind {
            name: "money".into(),
            expected: "US dollars per hour, day or month such as 5.00/day".into(),
            json: Json::Text(Some("^[0-9]+([.][0-9]{1,9})?/(second|minute|hour|day|month)$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (amount, per) = text.split_once('/').ok_or_else(Self::unlike)?;
        let (whole, part) = amount.split_once('.').unwrap_or((amount, "0"));
        let is_number = [whole, part]
            .iter()
            .all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_number || part.len() > 9 {
            return Err(Self::unlike());
        }
        let nanos = format!("{part:0<9}").parse::<u64>().ok();
        let whole = whole.parse::<u64>().ok().and_then(|dollars| dollars.checked_mul(NANOS));
        let amount = whole.zip(nanos).and_then(|(whole, nanos)| whole.checked_add(nanos));
        match (amount, window(per)) {
            (Some(amount), Some(per)) => Ok(MoneyText(Rate { amount, per })),
            _ => Err(Self::unlike()),
        }
    }
}

impl Scalar for LimitBy {
    fn kind() -> Kind {
        let words = vec![
            ("consumer", "each consumer"),
            ("team", "each team of consumers"),
            ("service", "each service"),
            ("model", "each model, as clients name it"),
        ];
        Kind {
            name: "word".into(),
            expected: "consumer, team, service or model".into(),
            json: Json::Words(words),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "consumer" => Ok(LimitBy::Consumer),
            "team" => Ok(LimitBy::Team),
            "service" => Ok(LimitBy::Service),
            "model" => Ok(LimitBy::Model),
            _ => Err(Self::unlike()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn rates() {
        let show = |rate: RateText| format!("{} {}", rate.0.amount, rate.0.per.id());
        check::<RateText>("60/minute", show, "= 60 minute");
        check::<RateText>("0/month", show, "= 0 month");
        for wrong in ["60", "/day", "-1/day", "+1/day", "1.5/day", "1/week", "99999999999999999999/day"] {
            assert!(RateText::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn money() {
        let show = |money: MoneyText| format!("{} {}", money.0.amount, money.0.per.id());
        check::<MoneyText>("5/day", show, "= 5000000000 day");
        check::<MoneyText>("0.50/month", show, "= 500000000 month");
        check::<MoneyText>("1.000000001/hour", show, "= 1000000001 hour");
        for wrong in ["5", "$5/day", ".5/day", "5./day", "1.0000000001/day", "-1/day", "99999999999/day"] {
            assert!(MoneyText::parse(wrong).is_err(), "{wrong}");
        }
    }
}
