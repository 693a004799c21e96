//! How many requests a target is given at once.

use model::gateway::Concurrency;

use super::amount::Whole;
use crate::decode::{Complaint, Json, Kind, Scalar};
use crate::suggest::nearest;

/// A number, or one of two words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConcurrencyText(pub(crate) Concurrency);

type Number = Whole<1, 1_000_000>;

impl Scalar for ConcurrencyText {
    const UNQUOTED: bool = true;

    fn kind() -> Kind {
        Kind {
            name: "number, adaptive or unlimited".into(),
            expected: "adaptive, unlimited, or a whole number from 1 to 1000000".into(),
            json: Json::Text(Some("^([1-9][0-9]*|adaptive|unlimited)$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match text {
            "adaptive" => Ok(ConcurrencyText(Concurrency::Adaptive)),
            "unlimited" => Ok(ConcurrencyText(Concurrency::Unlimited)),
            "0" => Err(Self::unlike().hint("write `unlimited` for no limit")),
            _ => match Number::parse(text) {
                Ok(number) => Ok(ConcurrencyText(Concurrency::Fixed(number.number()))),
                Err(_) => Err(match nearest(text, ["adaptive", "unlimited"]) {
                    Some(near) => Self::unlike().hint(format!("did you mean `{near}`?")),
                    None => Self::unlike(),
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn a_number_or_a_word() {
        let check = |text: &str, expected: &str| {
            check(text, |ConcurrencyText(concurrency)| format!("{concurrency:?}"), expected);
        };
        check("adaptive", "= Adaptive");
        check("unlimited", "= Unlimited");
        check("8", "= Fixed(8)");
        let unlike = "! must be adaptive, unlimited, or a whole number from 1 to 1000000";
        check("0", &format!("{unlike} (write `unlimited` for no limit)"));
        check("adaptiv", &format!("{unlike} (did you mean `adaptive`?)"));
        check("-1", unlike);
        check("many", unlike);
    }
}
