//! The URL of a target.

use std::path::PathBuf;

use model::gateway::{Endpoint, Scheme};

use super::address::unix_path;
use super::host::{host_problem, split_port};
use crate::decode::{Complaint, Json, Kind, Scalar};
use crate::suggest::nearest;

/// `http://`, `https://`, `h2c://`, `uwsgi://`, `unix:` or `uwsgi+unix:`. A relative path of a Unix socket is not
/// resolved here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetUrl {
    pub(crate) text: Box<str>,
    pub(crate) scheme: Scheme,
    pub(crate) endpoint: Endpoint,
}

/// The schemes with a host, and the port that each has by default.
const SCHEMES: [(&str, Scheme, Option<u16>); 4] = [
    ("http", Scheme::Http, Some(80)),
    ("https", Scheme::Https, Some(443)),
    ("h2c", Scheme::H2c, Some(80)),
    // No port is registered for uwsgi.
    ("uwsgi", Scheme::Uwsgi, None),
];

impl TargetUrl {
    /// With the path of its socket resolved.
    pub(crate) fn unix(scheme: Scheme, path: PathBuf) -> TargetUrl {
        let prefix = if scheme == Scheme::Uwsgi { "uwsgi+unix" } else { "unix" };
        let text = format!("{prefix}:{}", path.display()).into();
        TargetUrl { text, scheme, endpoint: Endpoint::Unix(path) }
    }
}

impl Scalar for TargetUrl {
    fn kind() -> Kind {
        Kind {
            name: "target URL".into(),
            expected: "a URL such as http://127.0.0.1:8000, https://api.example.com, unix:/run/app.sock \
                       or uwsgi://127.0.0.1:3031"
                .into(),
            json: Json::Text(Some(r"^((http|https|h2c|uwsgi)://|unix:|uwsgi\+unix:|\$\{)")),
        }
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        for (prefix, scheme) in [("unix:", Scheme::Http), ("uwsgi+unix:", Scheme::Uwsgi)] {
            if let Some(path) = text.strip_prefix(prefix) {
                return Ok(TargetUrl::unix(scheme, unix_path(path, prefix)?));
            }
        }
        let Some((name, rest)) = text.split_once("://") else {
            return Err(without_scheme(text, Self::unlike()));
        };
        let Some((_, scheme, default_port)) = SCHEMES.into_iter().find(|(known, ..)| *known == name) else {
            return Err(unknown_scheme(name, rest));
        };
        let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            let mut complaint = Complaint::new("must not hold a user or password");
            complaint.secret = true;
            return Err(complaint);
        }
        if let Some(path) = authority.strip_prefix("unix:") {
            let unix = if scheme == Scheme::Uwsgi { "uwsgi+unix" } else { "unix" };
            let complaint = Complaint::new("must name its socket without `//`");
            return Err(complaint.hint(format!("write `{unix}:{path}{after}`")));
        }
        check_path(after)?;
        let endpoint = endpoint(authority, default_port)?;
        Ok(TargetUrl { text: format!("{name}://{authority}").into(), scheme, endpoint })
    }
}

/// A target is an address; what it is asked for is the route's business.
fn check_path(after: &str) -> Result<(), Complaint> {
    if matches!(after, "" | "/") {
        return Ok(());
    }
    let complaint = Complaint::new("must end after host and port");
    let path = after.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    Err(if path.is_empty() {
        complaint
    } else {
        complaint.hint(format!(
            "to put {path} before every path, give the route `paths: [\"/{{path...}}\"]` and `rewrite: \"{path}/{{path}}\"`"
        ))
    })
}

fn endpoint(authority: &str, default_port: Option<u16>) -> Result<Endpoint, Complaint> {
    let (host, port) = split_port(authority);
    if host.contains(':') && !host.starts_with('[') {
        let complaint = Complaint::new("must have an IPv6 address in brackets");
        return Err(complaint.hint("for example `http://[::1]:8000`"));
    }
    if let Some(problem) = host_problem(host) {
        return Err(Complaint::new(problem));
    }
    let port = match (port, default_port) {
        (None, Some(port)) => port,
        (None, None) => {
            return Err(Complaint::new("must name a port").hint(format!("for example `uwsgi://{host}:3031`")));
        }
        (Some(digits), _) => match digits.parse() {
            Ok(port @ 1..) if digits.bytes().all(|byte| byte.is_ascii_digit()) => port,
            _ => return Err(Complaint::new("must have a port from 1 to 65535")),
        },
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    Ok(Endpoint::Host { host: host.into(), port })
}

fn without_scheme(text: &str, complaint: Complaint) -> Complaint {
    if text.starts_with('/') {
        return complaint.hint(format!("write `unix:{text}`"));
    }
    if text.contains('@') {
        return Complaint { secret: true, ..complaint };
    }
    match endpoint(text, None) {
        Ok(_) => complaint.hint(format!("write `http://{text}`")),
        Err(_) => complaint,
    }
}

fn unknown_scheme(name: &str, rest: &str) -> Complaint {
    let complaint =
        Complaint::new("must begin with http://, https://, h2c://, uwsgi://, unix: or uwsgi+unix:");
    let secret = rest.contains('@');
    let instead = match name.to_ascii_lowercase().as_str() {
        "ws" | "tcp" => "http",
        "wss" => "https",
        "grpc" | "h2" => "h2c",
        "grpcs" => "https",
        "unix" | "http+unix" => {
            return Complaint {
                secret,
                ..complaint.hint(format!("write `unix:/{}`", rest.trim_start_matches('/')))
            };
        }
        lower => match nearest(lower, SCHEMES.map(|(known, ..)| known)) {
            Some(near) => near,
            None => return Complaint { secret, ..complaint },
        },
    };
    if secret {
        Complaint { secret, ..complaint }
    } else {
        complaint.hint(format!("write `{instead}://{rest}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::check;

    fn url(text: &str, expected: &str) {
        let show = |url: TargetUrl| match url.endpoint {
            Endpoint::Host { host, port } => format!("{:?} {host} {port} {}", url.scheme, url.text),
            Endpoint::Unix(path) => format!("{:?} {} {}", url.scheme, path.display(), url.text),
        };
        check(text, show, expected);
    }

    #[test]
    fn each_scheme() {
        url("http://127.0.0.1:8000", "= Http 127.0.0.1 8000 http://127.0.0.1:8000");
        url("http://app/", "= Http app 80 http://app");
        url("https://API.example.com", "= Https api.example.com 443 https://API.example.com");
        url("h2c://[::1]:50051", "= H2c ::1 50051 h2c://[::1]:50051");
        url("uwsgi://127.0.0.1:3031", "= Uwsgi 127.0.0.1 3031 uwsgi://127.0.0.1:3031");
        url("unix:/run/app.sock", "= Http /run/app.sock unix:/run/app.sock");
        url("uwsgi+unix:/run/app.sock", "= Uwsgi /run/app.sock uwsgi+unix:/run/app.sock");
    }

    #[test]
    fn what_is_wrong() {
        let unlike = "! must be a URL such as http://127.0.0.1:8000, https://api.example.com, unix:/run/app.sock or uwsgi://127.0.0.1:3031";
        url("127.0.0.1:8000", &format!("{unlike} (write `http://127.0.0.1:8000`)"));
        url("/run/app.sock", &format!("{unlike} (write `unix:/run/app.sock`)"));
        url("app", unlike);
        let schemes = "! must begin with http://, https://, h2c://, uwsgi://, unix: or uwsgi+unix:";
        url("grpc://app:1", &format!("{schemes} (write `h2c://app:1`)"));
        url("HTTP://app", &format!("{schemes} (write `http://app`)"));
        url("htp://app", &format!("{schemes} (write `http://app`)"));
        url("ftp://app", schemes);
        url("http://unix:/run/a.sock", "! must name its socket without `//` (write `unix:/run/a.sock`)");
        url(
            "uwsgi://unix:/run/a.sock",
            "! must name its socket without `//` (write `uwsgi+unix:/run/a.sock`)",
        );
        url("unix:///run/a.sock", "! must have its path directly after `unix:` (write `unix:/run/a.sock`)");
        url("uwsgi://app", "! must name a port (for example `uwsgi://app:3031`)");
        url("http://app:0", "! must have a port from 1 to 65535");
        url("http://app:65536", "! must have a port from 1 to 65535");
        url("http://app:+1", "! must have a port from 1 to 65535");
        url("http://", "! must have a host");
        url("http://::1", "! must have an IPv6 address in brackets (for example `http://[::1]:8000`)");
        url("http://127.0.0.300", "! must have an IPv4 address of four numbers up to 255");
        url(
            "http://app/v1/",
            "! must end after host and port (to put /v1 before every path, give the route `paths: [\"/{path...}\"]` and `rewrite: \"/v1/{path}\"`)",
        );
        url("http://app?x", "! must end after host and port");
        url("http://user:secret@app", "! must not hold a user or password");
    }
}
