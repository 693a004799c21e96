//! Where incidents are told of, and what a header to there holds. Both may be secrets, and stand in no message.

use model::Secret;

use super::TargetUrl;
use crate::decode::{Complaint, Json, Kind, Scalar};

/// A header longer than this is refused by most servers.
const VALUE_BYTES_MAX: usize = 8 << 10;
/// As long as what clients may ask for.
const PATH_BYTES_MAX: usize = 8 << 10;

/// `http://` or `https://`, with a path.
#[derive(Clone, Debug)]
pub(crate) struct WebhookUrl {
    pub(crate) target: TargetUrl,
    /// Path and query.
    pub(crate) path: Secret,
}

impl Scalar for WebhookUrl {
    const SECRET: bool = true;

    fn kind() -> Kind {
        Kind {
            name: "webhook URL".into(),
            expected: "a URL such as https://hooks.example.com/clearway".into(),
            json: Json::Text(Some(r"^(https?://|\$\{)")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let Some((scheme @ ("http" | "https"), rest)) = text.split_once("://") else {
            return Err(Complaint::new("must begin with http:// or https://"));
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let target = TargetUrl::parse(&format!("{scheme}://{authority}"))?;
        if path.contains('#') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Complaint::new("must have a path of visible ASCII characters, without `#`"));
        }
        if path.len() > PATH_BYTES_MAX {
            return Err(Complaint::new("must have a path of at most 8,192 characters"));
        }
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(WebhookUrl { target, path: Secret::new(path) })
    }
}

/// The value of a header.
#[derive(Clone, Debug)]
pub(crate) struct HeaderSecret(pub(crate) Secret);

impl Scalar for HeaderSecret {
    const SECRET: bool = true;

    fn kind() -> Kind {
        Kind { name: "secret".into(), expected: "the value of a header".into(), json: Json::Secret }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        if text.is_empty() || text.len() > VALUE_BYTES_MAX {
            return Err(Complaint::new("must be 1 to 8,192 characters long"));
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !is_plain || text.starts_with(' ') || text.ends_with(' ') {
            return Err(Complaint::new("must be visible ASCII characters, with blanks only between them"));
        }
        Ok(HeaderSecret(Secret::new(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    #[test]
    fn a_webhook_is_a_url_of_http_with_a_path() {
        let url = |text, expected| {
            check::<WebhookUrl>(text, |url| format!("{} {}", url.target.text, url.path.expose()), expected);
        };
        url("https://hooks.example.com/a/b?c=d", "= https://hooks.example.com /a/b?c=d");
        url("http://[::1]:9000", "= http://[::1]:9000 /");
        url("https://a.example?x", "= https://a.example /?x");
        url("unix:/run/hook.sock", "! must begin with http:// or https://");
        url("https://user@a.example/", "! must not hold a user or password");
        url("https://a.example/#x", "! must have a path of visible ASCII characters, without `#`");
        url("https://a.example/\u{7f}", "! must have a path of visible ASCII characters, without `#`");
    }

    #[test]
    fn a_header_value_is_a_line_of_visible_characters() {
        let value = |text, expected| check::<HeaderSecret>(text, |_| "fine".into(), expected);
        value("Bearer abc", "= fine");
        value("", "! must be 1 to 8,192 characters long");
        value("a\r\nb", "! must be visible ASCII characters, with blanks only between them");
        value(" a", "! must be visible ASCII characters, with blanks only between them");
    }
}
