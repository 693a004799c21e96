//! Words of a fixed list.

use model::gateway::{ClientGone, Criticality, LogFormat, PathForm, ProxyProtocol, ProxyProtocolVersion};

use crate::decode::{Complaint, Json, Kind, Scalar};
use crate::suggest::nearest;

macro_rules! words {
    ($type:ty { $($word:literal => $value:expr, $doc:literal;)+ }) => {
        impl Scalar for $type {
            fn kind() -> Kind {
                let words = [$($word),+];
                let (last, before) = words.split_last().expect("the list must have a word");
                let expected = match before {
                    [] => (*last).to_owned(),
                    before => format!("{} or {last}", before.join(", ")),
                };
                Kind { name: "word".into(), expected, json: Json::Words(vec![$(($word, $doc)),+]) }
            }

            fn parse(text: &str) -> Result<Self, Complaint> {
                match text {
                    $($word => Ok($value),)+
                    _ => {
                        let complaint = Self::unlike();
                        Err(match nearest(text, [$($word),+]) {
                            Some(near) => complaint.hint(format!("did you mean `{near}`?")),
                            None => complaint,
                        })
                    }
                }
            }
        }
    };
}

/// How an upstream chooses, without what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BalanceBy {
    Hash,
    LeastRequests,
    PeakEwma,
    Random,
    RoundRobin,
}

words! { BalanceBy {
    "peak-ewma" => BalanceBy::PeakEwma, "the better of two picked by chance, by average latency times requests in flight";
    "least-requests" => BalanceBy::LeastRequests, "the fewest requests in flight for its weight";
    "round-robin" => BalanceBy::RoundRobin, "in turn, by weight";
    "random" => BalanceBy::Random, "by chance, by weight";
    "hash" => BalanceBy::Hash, "requests with the same `key` go to the same target";
} }

words! { ClientGone {
    "cancel" => ClientGone::Cancel, "close the upstream connection";
    "finish" => ClientGone::Finish, "read the response to its end and drop it";
} }

words! { Criticality {
    "critical" => Criticality::Critical, "goes first, and is turned away last";
    "normal" => Criticality::Normal, "in between";
    "sheddable" => Criticality::Sheddable, "goes last, and is turned away first";
} }

words! { LogFormat {
    "human" => LogFormat::Human, "one readable line per exchange";
    "json" => LogFormat::Json, "one JSON object per line";
    "off" => LogFormat::Off, "no log lines; records and metrics go on";
} }

words! { PathForm {
    "canonical" => PathForm::Canonical, "the form that routes and policies saw";
    "as-sent" => PathForm::AsSent, "the bytes of the client; refused where access depends on the path";
} }

words! { ProxyProtocol {
    "off" => ProxyProtocol::Off, "connections begin with HTTP or TLS";
    "require" => ProxyProtocol::Require, "every connection must begin with the header, from a trusted proxy";
} }

words! { ProxyProtocolVersion {
    "v1" => ProxyProtocolVersion::V1, "the text form";
    "v2" => ProxyProtocolVersion::V2, "the binary form";
} }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn a_word_of_the_list_or_the_nearest_one() {
        let check = |text: &str, expected: &str| check(text, |form: PathForm| format!("{form:?}"), expected);
        check("as-sent", "= AsSent");
        check("as_sent", "! must be canonical or as-sent (did you mean `as-sent`?)");
        check("raw", "! must be canonical or as-sent");
    }
}
