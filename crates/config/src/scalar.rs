//! Values that are written as one word: each with its grammar, and a complaint that says what to write instead.

mod address;
mod ai;
mod amount;
mod balance;
mod check;
mod concurrency;
mod hedge;
mod host;
mod limit;
mod name;
mod path;
mod percent;
mod target;
mod webhook;
mod word;

pub(crate) use address::{Listen, ManagementAddress, NetworkText};
pub(crate) use ai::{AiWord, LaneText, ModelName, ProviderSecret};
pub(crate) use amount::{Limited, Size, Time, Whole};
pub(crate) use balance::{BalanceKey, Weight};
pub(crate) use check::{CheckPath, GrpcService, StatusRange};
pub(crate) use concurrency::ConcurrencyText;
pub(crate) use hedge::HedgeText;
pub(crate) use host::{HostAndPort, HostPattern, HostSent, ServerName};
pub(crate) use limit::{MoneyText, RateText};
pub(crate) use name::{
    CookieName, FilePath, HeaderName, MethodName, Name, QueryName, Status, Text, misspelt,
};
pub(crate) use path::{PathPattern, PathRewrite, PrefixPath};
pub(crate) use percent::{Percent, PercentOrOff};
pub(crate) use target::TargetUrl;
pub(crate) use webhook::{HeaderSecret, WebhookUrl};
pub(crate) use word::BalanceBy;

/// Everything that can be asked of a scalar, for tests: `= VALUE` or `! MESSAGE (HINT)`.
#[cfg(test)]
pub(crate) fn check<T: crate::decode::Scalar>(text: &str, show: impl Fn(T) -> String, expected: &str) {
    let outcome = match T::parse(text) {
        Ok(value) => format!("= {}", show(value)),
        Err(complaint) => {
            let hint = complaint.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("! {}{hint}", complaint.message)
        }
    };
    assert_eq!(outcome, expected, "{text:?}");
}
