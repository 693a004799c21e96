//! The key by which requests are hashed, and the weight of a target.

use model::gateway::HashKey;

use super::{CookieName, HeaderName, QueryName, Whole};
use crate::decode::{Complaint, Json, Kind, Scalar};
use crate::suggest::nearest;

/// `client-address`, or `header`, `cookie` or `query` with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BalanceKey(pub(crate) HashKey);

impl Scalar for BalanceKey {
    fn kind() -> Kind {
        Kind {
            name: "key".into(),
            expected: "client-address, header NAME, cookie NAME or query NAME".into(),
            json: Json::Text(Some("^(client-address|(header|cookie|query) [^ ]+)$")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (word, name) = text.split_once(' ').unwrap_or((text, ""));
        let name = name.trim();
        let key = match word {
            "client-address" if name.is_empty() => HashKey::ClientAddress,
            "cookie" => HashKey::Cookie(CookieName::parse(name)?.0),
            "header" => HashKey::Header(HeaderName::parse(name)?.0),
            "query" => HashKey::Query(QueryName::parse(name)?.0),
            _ => return Err(hint(word, name, Self::unlike())),
        };
        Ok(BalanceKey(key))
    }
}

/// How much of the requests a target gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weight(pub(crate) u32);

type WeightNumber = Whole<1, 1000>;

impl Scalar for Weight {
    const UNQUOTED: bool = true;

    fn kind() -> Kind {
        WeightNumber::kind()
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        match WeightNumber::parse(text) {
            Ok(number) => Ok(Weight(number.number())),
            Err(complaint) if text == "0" => {
                Err(complaint.hint("a target that shall get no requests is left out of the list"))
            }
            Err(complaint) => Err(complaint),
        }
    }
}

fn hint(word: &str, name: &str, complaint: Complaint) -> Complaint {
    match (word, nearest(word, ["client-address", "cookie", "header", "query"])) {
        ("ip" | "client-ip" | "source" | "address", _) => complaint.hint("write `client-address`"),
        (_, Some("client-address")) => complaint.hint("did you mean `client-address`?"),
        (_, Some(near)) if !name.is_empty() => complaint.hint(format!("did you mean `{near} {name}`?")),
        _ => complaint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn keys() {
        let check = |text: &str, expected: &str| check(text, |BalanceKey(key)| key.to_string(), expected);
        check("client-address", "= client-address");
        check("header X-Tenant", "= header x-tenant");
        check("cookie session", "= cookie session");
        check("query user", "= query user");
        let unlike = "! must be client-address, header NAME, cookie NAME or query NAME";
        check("source", &format!("{unlike} (write `client-address`)"));
        check("client_address", &format!("{unlike} (did you mean `client-address`?)"));
        check("headers x-tenant", &format!("{unlike} (did you mean `header x-tenant`?)"));
        check("header", "! must be the name of a header such as x-version");
        check("path", unlike);
    }

    #[test]
    fn weights() {
        let check = |text: &str, expected: &str| check(text, |Weight(weight)| weight.to_string(), expected);
        check("5", "= 5");
        let unlike = "! must be a whole number from 1 to 1000";
        check("0", &format!("{unlike} (a target that shall get no requests is left out of the list)"));
        check("1001", unlike);
        check("1_000", &format!("{unlike} (write `1000`)"));
    }
}
