//! What nginx does where nothing is set, with the module's own documentation as the source of each value.

use super::scope::Scope;
use crate::config::quantity::{bytes, nginx_time};
use crate::config::{Origin, Setting};

/// How a value is written.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Size,
    /// The last argument as a size: `large_client_header_buffers 4 8k`.
    SizeOfMany,
    Switch,
    Time,
    /// All arguments as they are written.
    Words,
}

/// A directive that stands for one setting: our name, nginx's, the form, the default.
pub(super) type Row = (&'static str, &'static str, Form, &'static str);

/// Directives of every module that passes requests on; the name follows the module's prefix.
pub(super) const OF_ROUTE: &[Row] = &[
    ("connect-timeout", "connect_timeout", Form::Time, "60"),
    ("send-timeout", "send_timeout", Form::Time, "60"),
    ("read-timeout", "read_timeout", Form::Time, "60"),
    // One page of memory: 4 KiB on every platform that nginx is packaged for but some ARM64 kernels.
    ("response-header-buffer", "buffer_size", Form::Size, "4096"),
    ("buffering", "buffering", Form::Switch, "yes"),
    ("request-buffering", "request_buffering", Form::Switch, "yes"),
    ("temp-file-max", "max_temp_file_size", Form::Size, "1073741824"),
    ("retry-on", "next_upstream", Form::Words, "error timeout"),
];

/// Directives of routes that speak TLS.
pub(super) const OF_TLS: &[Row] =
    &[("sni", "ssl_server_name", Form::Switch, "no"), ("verify", "ssl_verify", Form::Switch, "no")];

/// Directives of the core module that matter for each request of a route.
pub(super) const OF_REQUEST: &[Row] = &[
    ("request-body-max", "client_max_body_size", Form::Size, "1048576"),
    ("request-header-limit", "large_client_header_buffers", Form::SizeOfMany, "8192"),
];

/// Directives of the core module that are about connections of clients.
pub(super) const OF_SITE: &[Row] = &[("keep-alive", "keepalive_timeout", Form::Time, "75")];

/// The setting of a row in a scope. A default stands where it would have to be added.
pub(super) fn setting(row: &Row, prefix: &str, scope: &Scope<'_>, at: &Origin) -> Option<Setting> {
    let (name, directive, form, default) = *row;
    let full = format!("{prefix}{directive}");
    let Some(found) = scope.get(&full) else {
        return Some(Setting::by_default(name, default, at).more("directive", full));
    };
    let last = found.arguments.last().map_or("", String::as_str);
    let value = match form {
        Form::Size => bytes(found.first())?,
        Form::SizeOfMany => bytes(last)?,
        Form::Switch => switch(found.first()).to_owned(),
        Form::Time => nginx_time(found.first())?,
        Form::Words => found.arguments.join(" "),
    };
    Some(Setting::new(name, value, &found.origin).more("directive", full))
}

pub(super) fn switch(word: &str) -> &str {
    match word {
        "on" => "yes",
        "off" => "no",
        other => other,
    }
}
