//! `${env:NAME}`, `${env:NAME:-DEFAULT}` and `${file:PATH}` inside scalars; `$${` is a literal `${`.
//!
//! An absent variable or file is an error, because a secret that is silently empty opens a door. The default is for
//! what is not secret, such as an address that differs on one machine.

use std::path::Path;

use crate::ctx::Ctx;
use crate::tree::{Place, shown};

pub(crate) struct Expanded {
    pub(crate) text: String,
    /// Whether any of it came from the environment or a file: then the text is not repeated in messages.
    pub(crate) from_outside: bool,
}

/// Fills in every reference of the text; all that fail are noted.
pub(crate) fn expand(written: &str, label: &str, place: Place, ctx: &mut Ctx) -> Option<Expanded> {
    let mut expanded = Expanded { text: String::new(), from_outside: false };
    let mut failed = false;
    let mut rest = written;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(escaped) = before.strip_suffix('$') {
            expanded.text.push_str(escaped);
            expanded.text.push_str("${");
            rest = from.strip_prefix("${").unwrap_or_default();
            continue;
        }
        expanded.text.push_str(before);
        let Some((reference, after)) = from.strip_prefix("${").and_then(|from| from.split_once('}')) else {
            // What follows may be a part of a secret and is not repeated.
            let message = format!("{label}: `${{` must be closed with `}}`");
            ctx.error_with(place, message, "write `$${` for a literal `${`");
            return None;
        };
        match outside(reference, place, ctx) {
            Ok(value) => expanded.text.push_str(&value),
            Err((message, hint)) => {
                ctx.error_with(place, format!("{label}: `${{{}}}` {message}", shown(reference)), hint);
                failed = true;
            }
        }
        expanded.from_outside = true;
        rest = after;
    }
    expanded.text.push_str(rest);
    (!failed).then_some(expanded)
}

fn outside(reference: &str, place: Place, ctx: &mut Ctx) -> Result<String, (String, String)> {
    match reference.split_once(':') {
        Some(("env", name)) => {
            let (name, default) = match name.split_once(":-") {
                Some((name, default)) => (name, Some(default)),
                None => (name, None),
            };
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(is_name) {
                return Err(("must name an environment variable".into(), "write `${env:NAME}`".into()));
            }
            match (ctx.env(name), default) {
                (Some(value), _) => Ok(value),
                (None, Some(default)) => Ok(default.into()),
                (None, None) => {
                    let hint = format!("set {name}, or write `${{env:{name}:-DEFAULT}}` if it is no secret");
                    Err((format!("cannot be filled in: the environment variable {name} is not set"), hint))
                }
            }
        }
        Some(("file", "")) => Err(("must name a file".into(), "write `${file:PATH}`".into())),
        Some(("file", path)) => {
            let resolved = ctx.resolve(place, Path::new(path));
            let text = ctx.read(&resolved).map_err(|reason| {
                let hint = "a relative path is relative to the file that names it";
                (format!("cannot be filled in: {reason}"), hint.to_owned())
            })?;
            // Editors and `echo` end a file with a line end that is not part of the secret.
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
        }
        _ => Err((
            "must be `${env:NAME}` or `${file:PATH}`".into(),
            format!("write `$${{{}}}` if it is meant literally", shown(reference)),
        )),
    }
}
