//! The file shape: every key with its type, default, documentation and example, once. Decoder, JSON Schema and
//! reference page all come from these declarations; what the values mean together is checked in [`crate::check`].

mod ai;
mod balance;
mod consumer;
#[cfg(test)]
mod every_field;
mod health;
mod incidents;
mod limit;
mod listener;
mod policy;
mod root;
mod service;
mod upstream;

pub(crate) use ai::{Ai, Model, Provider, ProviderTimeouts};
pub(crate) use balance::{Balance, Stickiness};
pub(crate) use consumer::Consumer;
pub(crate) use health::{Check, Health};
pub(crate) use incidents::{Incidents, Webhook};
pub(crate) use limit::Limit;
pub(crate) use listener::{Certificate, Listener, ListenerLimits, ListenerTimeouts};
pub(crate) use policy::{ApiKey, Policy};
pub(crate) use root::Root;
pub(crate) use service::{MatchValue, Route, Service};
pub(crate) use upstream::{Queue, RequestBuffering, Retries, Timeouts, Upstream, UpstreamTls};

/// Declares an object of the file: a struct with one field per key, and how it is read and described.
///
/// `key: Type [required] "example";`, `key: Type [optional] "example";` or `key: Type [= "default"] "example";`.
/// Defaults and examples are YAML on one line.
macro_rules! shape {
    (
        $(#[doc = $doc:literal])+
        $name:ident {
            $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty [$($presence:tt)+] $example:literal;)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            $($(#[doc = $field_doc])+ pub(crate) $field: shape!(@type $type, $($presence)+),)+
        }

        impl crate::decode::Shaped for $name {
            const OBJECT: &'static crate::decode::Object = &crate::decode::Object {
                name: stringify!($name),
                doc: &[$($doc),+],
                fields: &[$(crate::decode::FieldShape {
                    ident: stringify!($field),
                    doc: &[$($field_doc),+],
                    shape: <$type as crate::decode::Decode>::shape,
                    presence: shape!(@presence $($presence)+),
                    example: $example,
                }),+],
            };
        }

        impl crate::decode::Decode for $name {
            fn decode(node: &crate::tree::Node, label: &str, ctx: &mut crate::ctx::Ctx) -> Option<Self> {
                let object = <Self as crate::decode::Shaped>::OBJECT;
                let entries = crate::decode::Entries::open(node, label, object, ctx)?;
                Some($name {
                    $($field: shape!(@read entries, ctx, stringify!($field), $($presence)+),)+
                })
            }

            fn shape() -> crate::decode::Shape {
                crate::decode::Shape::Object(<Self as crate::decode::Shaped>::OBJECT)
            }
        }
    };
    (@type $type:ty, required) => { crate::decode::Field<$type> };
    (@type $type:ty, optional) => { crate::decode::Field<$type> };
    (@type $type:ty, = $default:literal) => { crate::decode::At<$type> };
    (@presence required) => { crate::decode::Presence::Required };
    (@presence optional) => { crate::decode::Presence::Optional };
    (@presence = $default:literal) => { crate::decode::Presence::Default($default) };
    (@read $entries:ident, $ctx:ident, $ident:expr, required) => { $entries.required($ident, $ctx) };
    (@read $entries:ident, $ctx:ident, $ident:expr, optional) => { $entries.optional($ident, $ctx) };
    (@read $entries:ident, $ctx:ident, $ident:expr, = $default:literal) => {
        $entries.or_default($ident, $default, $ctx)
    };
}
use shape;
