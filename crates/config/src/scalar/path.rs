//! Paths: the patterns that requests are matched by, and what becomes of a matched path.
//!
//! Requests are matched in their canonical form, so a pattern must be written in it: one that is not could never
//! match, and that is said here rather than found out in production.

use model::gateway::{PathMatch, Segment};
use regex::Regex;

use crate::decode::{Complaint, Json, Kind, Scalar};

/// `/exact`, `/prefix/*`, `/items/{id}`, `/files/{path...}` or `~ REGEX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathPattern {
    pub(crate) matched: PathMatch,
    /// As written.
    pub(crate) text: Box<str>,
}

impl PathPattern {
    /// The parameters that the path binds; `None` where the form has none.
    pub(crate) fn parameters(&self) -> Option<Vec<&str>> {
        match &self.matched {
            PathMatch::Template(segments) => Some(segments.iter().filter_map(parameter).collect()),
            PathMatch::Exact(_) | PathMatch::Prefix(_) | PathMatch::Regex(_) => None,
        }
    }

    /// Whether a path that it matches can begin with the prefix, segment by segment.
    pub(crate) fn can_begin_with(&self, prefix: &str) -> bool {
        let wanted = prefix.split('/').skip(1);
        match &self.matched {
            PathMatch::Regex(_) => true,
            PathMatch::Exact(path) => {
                let mut segments = path.split('/').skip(1);
                wanted.into_iter().all(|segment| segments.next() == Some(segment))
            }
            PathMatch::Prefix(path) => {
                let segments = path.split('/').skip(1);
                wanted.zip(segments).all(|(wanted, segment)| wanted == segment)
            }
            PathMatch::Template(segments) => {
                let mut segments = segments.iter();
                for wanted in wanted {
                    match segments.next() {
                        Some(Segment::Literal(literal)) if **literal == *wanted => {}
                        Some(Segment::Parameter(_)) => {}
                        Some(Segment::Rest(_)) => return true,
                        Some(Segment::Literal(_)) | None => return false,
                    }
                }
                true
            }
        }
    }
}

fn parameter(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Literal(_) => None,
        Segment::Parameter(name) | Segment::Rest(name) => Some(name),
    }
}

impl Scalar for PathPattern {
    fn kind() -> Kind {
        Kind {
            name: "path pattern".into(),
            expected: "a path such as /orders, /orders/*, \"/items/{id}\" or \"~ ^/v[0-9]+/.*$\"".into(),
            json: Json::Text(Some(r"^(/|\*$|~ |\$\{)")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let matched = match text {
            "*" | "/*" => PathMatch::Prefix("".into()),
            _ if text.starts_with('~') => regex(text)?,
            _ if !text.starts_with('/') => {
                let complaint = Complaint::new("must begin with `/`, or with `~ ` for a regular expression");
                return Err(complaint.hint(format!("write `/{}`", text.trim_start_matches("./"))));
            }
            _ if text.contains(['{', '}', '<', '>']) => template(text)?,
            _ => literal(text)?,
        };
        Ok(PathPattern { matched, text: text.into() })
    }
}

fn literal(text: &str) -> Result<PathMatch, Complaint> {
    let (path, is_prefix) = match text.strip_suffix("/*") {
        Some(path) => (path, true),
        None => (text, false),
    };
    if path.contains('*') {
        let hint = "`/orders/*` takes everything below /orders, \"/a/{x}/b\" takes any segment in the middle";
        return Err(Complaint::new("must have its only `*` as the last segment").hint(hint));
    }
    check_canonical(path)?;
    Ok(if is_prefix { PathMatch::Prefix(path.into()) } else { PathMatch::Exact(path.into()) })
}

fn regex(text: &str) -> Result<PathMatch, Complaint> {
    let Some(source) = text.strip_prefix("~ ").map(str::trim).filter(|source| !source.is_empty()) else {
        let complaint = Complaint::new("must have a blank and a regular expression after `~`");
        return Err(complaint.hint("for example \"~ ^/v[0-9]+/.*$\""));
    };
    // The data plane compiles the same source, anchored at both ends.
    match Regex::new(&format!("^(?:{source})$")).and_then(|_| Regex::new(source)) {
        Ok(_) => Ok(PathMatch::Regex(source.into())),
        Err(error) => {
            let reason = regex_reason(&error);
            let complaint = Complaint::new(format!("must be a regular expression: {reason}"));
            let by_design = reason.contains("not supported");
            Err(if by_design { complaint.hint("so that matching takes linear time") } else { complaint })
        }
    }
}

/// The last line of the library's drawing of the error.
fn regex_reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim().strip_prefix("error: ").unwrap_or(last.trim()).to_owned()
}

fn template(text: &str) -> Result<PathMatch, Complaint> {
    let mut segments = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let parts: Vec<&str> = text.split('/').skip(1).collect();
    for (index, part) in parts.iter().enumerate() {
        let Some(inner) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
            if part.contains(['{', '}', '<', '>']) {
                return Err(segment_complaint(part));
            }
            if *part == "*" {
                let complaint = Complaint::new("must not mix parameters with `*`");
                return Err(complaint.hint("write `{rest...}` for everything that follows"));
            }
            segments.push(Segment::Literal((*part).into()));
            continue;
        };
        let (name, is_rest) = match inner.strip_suffix("...") {
            Some(name) => (name, true),
            None => (inner, false),
        };
        if !is_parameter_name(name) {
            return Err(parameter_complaint(inner));
        }
        if names.contains(&name) {
            return Err(Complaint::new(format!("must not have the parameter {{{name}}} twice")));
        }
        names.push(name);
        if is_rest && index + 1 < parts.len() {
            return Err(Complaint::new(format!("must have {{{inner}}} at its end")));
        }
        segments.push(if is_rest { Segment::Rest(name.into()) } else { Segment::Parameter(name.into()) });
    }
    let literals: Vec<&str> =
        parts.iter().map(|part| if part.starts_with('{') { "x" } else { part }).collect();
    check_canonical(&format!("/{}", literals.join("/")))?;
    Ok(PathMatch::Template(segments.into()))
}

fn is_parameter_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn segment_complaint(part: &str) -> Complaint {
    let complaint = Complaint::new("must have each parameter as a whole segment");
    // Flask writes <id> and <int:id>.
    if let Some(inner) = part.strip_prefix('<').and_then(|part| part.strip_suffix('>')) {
        let (converter, name) = inner.split_once(':').unwrap_or(("", inner));
        let rest = if converter == "path" { "..." } else { "" };
        return complaint.hint(format!("write `{{{name}{rest}}}`"));
    }
    complaint.hint("a regular expression (`~ ...`) can match inside a segment")
}

fn parameter_complaint(inner: &str) -> Complaint {
    // Starlette writes {name:path} and {id:int}.
    if let Some((name, converter)) = inner.split_once(':')
        && is_parameter_name(name)
    {
        let rest = if converter == "path" { "..." } else { "" };
        return Complaint::new("must not have a converter").hint(format!("write `{{{name}{rest}}}`"));
    }
    Complaint::new(format!("must name the parameter {{{inner}}} with letters, digits and `_`"))
}

/// What the canonical form of a path never has, so that a pattern with it never matches.
fn check_canonical(path: &str) -> Result<(), Complaint> {
    if let Some(at) = path.find(['?', '#']) {
        let (path, _) = path.split_at(at);
        let complaint = Complaint::new("must be a path without `?` and `#`");
        return Err(complaint.hint(format!("write `{path}`, and match parameters with `query`")));
    }
    let canonical = canonical_escapes(path)?;
    if canonical.split('/').any(|segment| segment == "." || segment == "..") {
        return Err(Complaint::new(
            "must not have `.` or `..` as a segment: requests are matched after these are resolved",
        ));
    }
    if canonical != path {
        let complaint = Complaint::new("must be in the form in which requests are matched");
        return Err(complaint.hint(format!("write `{canonical}`")));
    }
    Ok(())
}

/// The path with its escapes as RFC 3986 section 6.2.2 normalizes them.
fn canonical_escapes(path: &str) -> Result<String, Complaint> {
    let mut out = String::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (Some(high), Some(low)) = (hex(bytes.next()), hex(bytes.next())) else {
                    let complaint = Complaint::new("must have two hexadecimal digits after each `%`");
                    return Err(complaint.hint("a literal `%` is written `%25`"));
                };
                let decoded = u8::try_from(high * 16 + low).expect("two hexadecimal digits must fit a byte");
                match decoded {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        out.push(decoded.into())
                    }
                    0..=0x1f | 0x7f => {
                        return Err(Complaint::new("can never match: control characters are refused"));
                    }
                    _ => out.push_str(&format!("%{decoded:02X}")),
                }
            }
            0..=0x20 | 0x7f.. | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'}' | b'|' => {
                out.push_str(&format!("%{byte:02X}"));
            }
            b'\\' => out.push_str("%5C"),
            _ => out.push(byte.into()),
        }
    }
    Ok(out)
}

/// The prefix that is taken off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrefixPath(pub(crate) Box<str>);

impl Scalar for PrefixPath {
    fn kind() -> Kind {
        Kind {
            name: "path prefix".into(),
            expected: "a path of whole segments such as /api".into(),
            json: Json::Text(Some(r"^(/[^/]|\$\{)")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let trimmed = text.trim_end_matches('*').trim_end_matches('/');
        if !trimmed.starts_with('/') {
            let complaint = Self::unlike();
            return Err(match trimmed {
                "" => complaint,
                trimmed => complaint.hint(format!("write `/{trimmed}`")),
            });
        }
        if text.ends_with('*') {
            return Err(Self::unlike().hint(format!("write `{trimmed}`")));
        }
        if trimmed.contains(['{', '*']) {
            return Err(Self::unlike().hint("`rewrite` can use the parameters of the path"));
        }
        check_canonical(trimmed)?;
        Ok(PrefixPath(trimmed.into()))
    }
}

/// The new path; `{name}` takes a parameter of the matched one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathRewrite {
    pub(crate) text: Box<str>,
    pub(crate) parameters: Vec<Box<str>>,
}

impl Scalar for PathRewrite {
    fn kind() -> Kind {
        Kind {
            name: "path".into(),
            expected: "a path such as \"/v2/{id}\"".into(),
            json: Json::Text(Some(r"^(/|\$\{)")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if !text.starts_with('/') {
            return Err(Complaint::new("must begin with `/`"));
        }
        let mut parameters = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, from)) = rest.split_once('{') {
            let Some((name, after)) = from.split_once('}') else {
                return Err(Complaint::new("must close each `{` with `}`"));
            };
            if let Some(name) = name.strip_suffix("...") {
                let complaint =
                    Complaint::new(format!("must name the parameter without dots: {{{name}...}}"));
                return Err(complaint.hint(format!("write `{{{name}}}`")));
            }
            if !is_parameter_name(name) {
                return Err(parameter_complaint(name));
            }
            parameters.push(name.into());
            literal.push_str(before);
            literal.push('x');
            rest = after;
        }
        literal.push_str(rest);
        if literal.contains('*') {
            let hint = "write `paths: [\"/old/{rest...}\"]` and `rewrite: \"/new/{rest}\"`";
            return Err(Complaint::new("must not have a `*`").hint(hint));
        }
        check_canonical(&literal)?;
        Ok(PathRewrite { text: text.into(), parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    fn pattern(text: &str, expected: &str) {
        check(text, |pattern: PathPattern| format!("{:?}", pattern.matched), expected);
    }

    #[test]
    fn each_form() {
        pattern("/orders", "= Exact(\"/orders\")");
        pattern("/", "= Exact(\"/\")");
        pattern("/orders/", "= Exact(\"/orders/\")");
        pattern("/orders/*", "= Prefix(\"/orders\")");
        pattern("/*", "= Prefix(\"\")");
        pattern("*", "= Prefix(\"\")");
        pattern("/items/{id}", "= Template([Literal(\"items\"), Parameter(\"id\")])");
        pattern("/files/{path...}", "= Template([Literal(\"files\"), Rest(\"path\")])");
        pattern("~ ^/v[0-9]+/.*$", "= Regex(\"^/v[0-9]+/.*$\")");
        pattern("/a%2Fb/;x//y", "= Exact(\"/a%2Fb/;x//y\")");
    }

    #[test]
    fn what_could_never_match() {
        let form = "! must be in the form in which requests are matched";
        pattern("/a%2fb", &format!("{form} (write `/a%2Fb`)"));
        pattern("/%61", &format!("{form} (write `/a`)"));
        pattern("/größe", &format!("{form} (write `/gr%C3%B6%C3%9Fe`)"));
        pattern("/a b", &format!("{form} (write `/a%20b`)"));
        pattern(
            "/a/../b",
            "! must not have `.` or `..` as a segment: requests are matched after these are resolved",
        );
        pattern(
            "/a/%2E%2e/b",
            "! must not have `.` or `..` as a segment: requests are matched after these are resolved",
        );
        pattern("/a%0Ab", "! can never match: control characters are refused");
        pattern(
            "/100%",
            "! must have two hexadecimal digits after each `%` (a literal `%` is written `%25`)",
        );
        pattern(
            "/a?b=1",
            "! must be a path without `?` and `#` (write `/a`, and match parameters with `query`)",
        );
        pattern("orders", "! must begin with `/`, or with `~ ` for a regular expression (write `/orders`)");
        pattern(
            "/a*",
            "! must have its only `*` as the last segment (`/orders/*` takes everything below /orders, \"/a/{x}/b\" takes any segment in the middle)",
        );
    }

    #[test]
    fn parameters() {
        pattern("/a/{x}/{x}", "! must not have the parameter {x} twice");
        pattern("/a/{x...}/b", "! must have {x...} at its end");
        pattern("/a/{}", "! must name the parameter {} with letters, digits and `_`");
        pattern("/a/{id:int}", "! must not have a converter (write `{id}`)");
        pattern("/a/{p:path}", "! must not have a converter (write `{p...}`)");
        pattern("/a/<int:id>", "! must have each parameter as a whole segment (write `{id}`)");
        pattern("/a/<path:p>", "! must have each parameter as a whole segment (write `{p...}`)");
        pattern(
            "/a/x{id}",
            "! must have each parameter as a whole segment (a regular expression (`~ ...`) can match inside a segment)",
        );
        pattern(
            "/a/{id}/*",
            "! must not mix parameters with `*` (write `{rest...}` for everything that follows)",
        );
    }

    #[test]
    fn regular_expressions() {
        pattern("~ (", "! must be a regular expression: unclosed group");
        pattern(
            "~ (?=x)",
            "! must be a regular expression: look-around, including look-ahead and look-behind, is not supported \
             (so that matching takes linear time)",
        );
        pattern(
            "~^/x",
            "! must have a blank and a regular expression after `~` (for example \"~ ^/v[0-9]+/.*$\")",
        );
    }

    #[test]
    fn prefixes_and_rewrites() {
        let prefix = |text: &str, expected: &str| check(text, |PrefixPath(path)| path.into(), expected);
        prefix("/api", "= /api");
        prefix("/api/", "= /api");
        prefix("/api/*", "! must be a path of whole segments such as /api (write `/api`)");
        prefix("api", "! must be a path of whole segments such as /api (write `/api`)");
        prefix("/", "! must be a path of whole segments such as /api");

        let rewrite = |text: &str, expected: &str| {
            check(text, |path: PathRewrite| format!("{} {:?}", path.text, path.parameters), expected);
        };
        rewrite("/v2/{id}", "= /v2/{id} [\"id\"]");
        rewrite("/v2/{p...}", "! must name the parameter without dots: {p...} (write `{p}`)");
        rewrite("/v2/{id", "! must close each `{` with `}`");
        rewrite("v2", "! must begin with `/`");
    }

    #[test]
    fn a_prefix_that_a_pattern_can_have() {
        let can = |pattern: &str, prefix: &str| PathPattern::parse(pattern).unwrap().can_begin_with(prefix);
        assert!(can("/api/x", "/api"));
        assert!(!can("/apix", "/api"));
        assert!(can("/api/*", "/api/v1"));
        assert!(can("/*", "/api"));
        assert!(can("/{a}/x", "/api"));
        assert!(can("/{a...}", "/api/v1"));
        assert!(!can("/x/{a...}", "/api"));
        assert!(!can("/x", "/x/y"));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig {
            cases: 2000, failure_persistence: None, ..Default::default()
        })]

        /// The form that is asked for here is the one in which requests are matched.
        #[test]
        fn a_pattern_is_taken_if_and_only_if_a_request_can_have_that_path(
            path in "/([a.;:@/~x]|%[0-9A-Fa-f][0-9A-Fa-f]|[\\\\|^\"`é !$&'()+,=-]){0,8}"
        ) {
            let mut canonical = String::new();
            let is_canonical = wire::path::canonicalize(&path, &mut canonical).is_ok() && canonical == path;
            let taken = PathPattern::parse(&path).is_ok();
            proptest::prop_assert_eq!(taken, is_canonical, "{:?} is {:?}", path, canonical);
        }
    }
}
