//! Services and their routes.

use model::gateway::{ClientGone, Criticality, PathForm};

use super::{Ai, Policy, Timeouts, shape};
use crate::ctx::Ctx;
use crate::decode::{Decode, List, Map, OneKey, Shape, Shaped};
use crate::scalar::{
    CookieName, FilePath, HeaderName, HostPattern, HostSent, Limited, MethodName, Name, PathPattern,
    PathRewrite, PrefixPath, QueryName, Size, Status, TargetUrl, Text, Whole,
};
use crate::tree::{Node, Value};

shape! {
    /// A published API.
    Service {
        /// Its name in records, metrics and commands.
        name: Name [required] "shop";
        /// The upstream of its routes, where a route names none.
        upstream: Name [optional] "shop";
        /// A target, for an upstream of one: short for an upstream of the service's name. Instead of `upstream`.
        to: TargetUrl [optional] "http://127.0.0.1:8000";
        /// Makes it an AI API, instead of `upstream` and `to`.
        ai: Ai [optional] "{ providers: [openai] }";
        /// Which requests belong to it, and what becomes of them. By default one route that takes everything.
        routes: List<Route, 1> [= "[{}]"] "[{ paths: [/orders/*] }]";
        /// Files that replace the built-in error answers, by status. `{status}`, `{fault}` and `{request_id}` in them
        /// are filled in. The name ends with `.html`, `.json` or `.txt`.
        error_pages: Map<Status, FilePath> [= "{}"] "{ \"502\": errors/502.html }";
        /// Whether error answers name the fault (a public id such as `connect-refused`).
        expose_fault: bool [= "true"] "false";
    }
}

shape! {
    /// Which requests, and what becomes of them. A request must match every one of `hosts`, `paths`, `methods`,
    /// `headers`, `query` and `cookies` that is given; of a list, one entry suffices.
    Route {
        /// Unique in the service. By default its first path.
        name: Text [optional] "orders";
        /// Hosts: exact, or `*.example.com` for every name below it. Without this key, every host.
        hosts: List<HostPattern, 1> [optional] "[shop.example.com, \"*.example.org\"]";
        /// Paths: `/orders` exactly; `/orders/*` with everything below, by whole segments; `/items/{id}` with
        /// parameters of one segment; `/files/{path...}` with the rest; `~ REGEX` for a regular expression that matches
        /// the whole path. Requests are matched in their canonical form. Without this key, every path.
        paths: List<PathPattern, 1> [optional] "[/orders/*, \"/items/{id}\", \"~ ^/v[0-9]+/.*$\"]";
        /// Methods. Without this key, every method. A path that is known only with other methods is answered 405.
        methods: List<MethodName, 1> [optional] "[GET, POST]";
        /// Headers by name, each with its value or `{ present: true }`.
        headers: Map<HeaderName, MatchValue> [= "{}"] "{ x-version: \"2\", x-debug: { present: true } }";
        /// Query parameters by name, each with its decoded value or `{ present: true }`.
        query: Map<QueryName, MatchValue> [= "{}"] "{ format: csv }";
        /// Cookies by name, each with its value or `{ present: true }`.
        cookies: Map<CookieName, MatchValue> [= "{}"] "{ beta: \"1\" }";
        /// Routes with a higher number are asked first; among equal ones, the more specific match.
        priority: Whole<-1_000_000, 1_000_000> [= "0"] "10";
        /// Where its requests go. Without this key, to the upstream of the service.
        upstream: Name [optional] "shop";
        /// A target, for an upstream of one. Instead of `upstream`.
        to: TargetUrl [optional] "http://127.0.0.1:8000";
        /// Which form of the path is forwarded.
        path: PathForm [= "canonical"] "as-sent";
        /// Whole segments that are taken off the path. The target is told with `X-Forwarded-Prefix`, and
        /// `SCRIPT_NAME` on uwsgi.
        strip_prefix: PrefixPath [optional] "/api";
        /// A new path; `{id}` is the parameter of the matched path. Instead of `strip-prefix`.
        rewrite: PathRewrite [optional] "\"/v2/{id}\"";
        /// The Host that the target sees: that of the `client`, that of the `target`, or a fixed one.
        host: HostSent [= "client"] "api.internal";
        /// The largest request body. Above it 413.
        body_max: Limited<Size<1, { 1 << 50 }>> [= "100MiB"] "10MiB";
        /// Overrides those of the upstream, key by key.
        timeouts: Timeouts [= "{}"] "{ await-head: 10s }";
        /// What happens to an attempt when the client leaves.
        when_client_leaves: ClientGone [= "cancel"] "finish";
        /// Which requests go first where they have to wait for a target, and which are turned away first.
        criticality: Criticality [= "normal"] "critical";
        /// Rules for its requests. They apply in a fixed order, whatever the order here.
        policies: List<OneKey<Policy>> [= "[]"] "[{ api-key: {} }]";
    }
}

/// What a header, query parameter or cookie must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MatchValue {
    Exactly(Box<str>),
    Present,
}

shape! {
    /// Instead of a value: whatever the value is.
    Presence {
        /// Always true.
        present: bool [required] "true";
    }
}

impl Decode for MatchValue {
    fn decode(node: &Node, label: &str, ctx: &mut Ctx) -> Option<Self> {
        match &node.value {
            Value::Scalar(_) => Some(MatchValue::Exactly(Text::decode(node, label, ctx)?.0)),
            Value::Map(_) => {
                let presence = Presence::decode(node, label, ctx)?;
                let present = presence.present.given()?;
                if !present.value {
                    ctx.error(present.place, format!("{label}: `present` must be true"));
                }
                Some(MatchValue::Present)
            }
            Value::Null => {
                let message = format!("{label}: must have a value");
                ctx.error_with(
                    node.place,
                    message,
                    "write `{ present: true }` for any value, or \"\" for an empty one",
                );
                None
            }
            Value::List(_) => {
                let message = format!("{label}: must be one value, not a list");
                ctx.error_with(node.place, message, "write a route for each value");
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::Either(Box::new(Text::shape()), Box::new(Shape::Object(Presence::OBJECT)))
    }
}
