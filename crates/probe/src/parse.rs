//! Texts of other products to evidence: one file per product, its patterns as a table.
//!
//! Pure: a text goes in, evidence comes out. Which lines mean the same in another product's words is decided here; what they
//! mean for a diagnosis is not.

mod access;
mod apache;
mod caddy;
pub(crate) mod clock;
mod dependency;
pub mod edge;
mod envelope;
mod envoy;
pub(crate) mod failure;
mod haproxy;
pub(crate) mod http_body;
mod nginx;
mod pattern;
mod python;
mod served;
mod server;
mod system;
mod traefik;
mod traffic;

use std::str::FromStr;

use model::{Evidence, Moment};

use crate::kinds::{Field, Kind};
use pattern::Table;

/// Lines that are looked at before a format is decided on.
const SNIFFED_LINES: usize = 60;
/// A longer line is cut: no log of these products writes one that matters beyond it.
const LINE_BYTES_MAX: usize = 64 << 10;

macro_rules! formats {
    ($($variant:ident $name:literal $product:literal $what:literal,)*) => {
        /// The form of a log. The names are those of fences in pages.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Format { $($variant,)* }

        impl Format {
            pub const ALL: &'static [Format] = &[$(Format::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Format::$variant => $name,)* }
            }

            /// Whose log it is.
            pub fn product(self) -> &'static str {
                match self { $(Format::$variant => $product,)* }
            }

            /// What has been read when it has been read whole: `what` of the kind `read`.
            pub fn what(self) -> &'static str {
                match self { $(Format::$variant => $what,)* }
            }
        }
    };
}

formats! {
    Alb "alb" "alb" "edge-log",
    ApacheAccess "apache-access" "apache" "access-log",
    ApacheError "apache-error" "apache" "proxy-log",
    Caddy "caddy" "caddy" "proxy-log",
    Cloudflare "cloudflare" "cloudflare" "edge-log",
    Container "container" "container" "server-log",
    Daphne "daphne" "daphne" "server-log",
    Envoy "envoy" "envoy" "proxy-log",
    Gcp "gcp" "gcp" "edge-log",
    Gunicorn "gunicorn" "gunicorn" "server-log",
    GunicornAccess "gunicorn-access" "gunicorn" "access-log",
    Haproxy "haproxy" "haproxy" "proxy-log",
    Hypercorn "hypercorn" "hypercorn" "server-log",
    Journal "journal" "systemd" "system-log",
    Kernel "kernel" "kernel" "kernel-log",
    Mysql "mysql" "mysql" "dependency-log",
    NginxAccess "nginx-access" "nginx" "access-log",
    NginxError "nginx-error" "nginx" "proxy-log",
    Postgres "postgres" "postgresql" "dependency-log",
    Rabbitmq "rabbitmq" "rabbitmq" "dependency-log",
    Redis "redis" "redis" "dependency-log",
    Systemd "systemd" "systemd" "system-log",
    Traefik "traefik" "traefik" "proxy-log",
    Uvicorn "uvicorn" "uvicorn" "server-log",
    Uwsgi "uwsgi" "uwsgi" "server-log",
}

impl FromStr for Format {
    type Err = ();

    fn from_str(name: &str) -> Result<Format, ()> {
        Format::ALL.iter().copied().find(|format| format.name() == name).ok_or(())
    }
}

/// A part of a log, and what is known of where it stands.
pub struct Lines<'a> {
    /// What to call the file.
    pub path: &'a str,
    pub text: &'a str,
    /// The number of the first line.
    pub first: u64,
    /// Seconds that times without a zone are ahead of UTC.
    pub zone: i64,
    /// The present, for times without a year.
    pub now: Option<Moment>,
    /// When the machine started, for the kernel's own seconds.
    pub boot: Option<Moment>,
}

impl<'a> Lines<'a> {
    /// A whole text, in UTC.
    pub fn of(path: &'a str, text: &'a str) -> Lines<'a> {
        Lines { path, text, first: 1, zone: 0, now: None, boot: None }
    }

    fn iter(&self) -> impl Iterator<Item = (u64, &'a str)> + use<'a> {
        (self.first..).zip(self.text.lines().map(|line| {
            let line = line.trim_end_matches('\r');
            let mut end = line.len().min(LINE_BYTES_MAX);
            while !line.is_char_boundary(end) {
                end -= 1;
            }
            line.get(..end).unwrap_or(line)
        }))
    }
}

/// What is told of every request that a log has: when it was, whether it failed, and how long it took.
pub(crate) type EachRequest<'a> = &'a mut dyn FnMut(Moment, bool, Option<f64>);

/// The evidence in a text of that form.
pub fn read(format: Format, lines: &Lines<'_>) -> Vec<Evidence> {
    read_requests(format, lines, &mut |_, _, _| {})
}

/// The same, with its requests told one by one.
pub(crate) fn read_requests(format: Format, lines: &Lines<'_>, each: EachRequest<'_>) -> Vec<Evidence> {
    let mut out = Vec::new();
    match format {
        Format::Alb => edge_lines(lines, edge::alb, &mut out),
        Format::Cloudflare => edge_lines(lines, edge::cloudflare, &mut out),
        Format::Gcp => edge_lines(lines, edge::gcp, &mut out),
        Format::ApacheAccess | Format::GunicornAccess | Format::NginxAccess => {
            access::read(lines, format, &mut out, each);
        }
        Format::ApacheError => apache::read(lines, &mut out),
        Format::Caddy => caddy::read(lines, &mut out, each),
        Format::Traefik => traefik::read(lines, &mut out, each),
        Format::Envoy => envoy::read(lines, &mut out, each),
        Format::Haproxy => haproxy::read(lines, &mut out, each),
        Format::NginxError => {
            nginx::read(lines, &mut out);
            // A container writes its requests into the same.
            access::read(lines, Format::NginxAccess, &mut out, each);
        }
        Format::Container => envelope::read(lines, &mut out, each),
        Format::Journal | Format::Kernel | Format::Systemd => {
            system::read(lines, &mut out);
            envelope::read(lines, &mut out, each);
        }
        Format::Mysql | Format::Postgres | Format::Rabbitmq | Format::Redis => {
            dependency::read(lines, format, &mut out)
        }
        Format::Daphne | Format::Gunicorn | Format::Hypercorn | Format::Uvicorn | Format::Uwsgi => {
            server::read(lines, format, &mut out, each);
        }
    }
    out
}

/// The logs of other products that are within one.
pub(crate) fn inside(format: Format, lines: &Lines<'_>) -> Vec<Format> {
    match format {
        Format::Container | Format::Journal | Format::Kernel | Format::Systemd => envelope::formats(lines),
        _ => Vec::new(),
    }
}

/// When the lines begin: the time of the first that has one.
pub(crate) fn first_time(format: Format, lines: &Lines<'_>) -> Option<Moment> {
    lines.iter().take(SNIFFED_LINES).find_map(|(_, line)| time_of(format, line, lines))
}

fn time_of(format: Format, line: &str, lines: &Lines<'_>) -> Option<Moment> {
    let zone = lines.zone;
    let parsed = match format {
        Format::NginxError => clock::slashed(line, zone),
        Format::ApacheError => line.strip_prefix('[').and_then(|rest| clock::asctime(rest, zone)),
        Format::ApacheAccess | Format::GunicornAccess | Format::NginxAccess => {
            return access::time(line, zone);
        }
        Format::Haproxy => return haproxy::time(line, lines),
        Format::Envoy => return envoy::time(line, zone),
        Format::Caddy => return caddy::time_of(line, zone),
        Format::Traefik => return traefik::time_of(line, zone),
        Format::Redis => return dependency::redis_time(line, zone),
        Format::Alb | Format::Cloudflare | Format::Gcp => return None,
        Format::Container => return envelope::time(line, lines),
        Format::Journal | Format::Kernel | Format::Systemd => {
            return envelope::time(line, lines).or_else(|| system::time(line, lines));
        }
        Format::Mysql | Format::Postgres | Format::Rabbitmq => clock::iso(line, zone),
        Format::Daphne | Format::Gunicorn | Format::Hypercorn | Format::Uvicorn | Format::Uwsgi => {
            return server::time(line, zone);
        }
    };
    parsed.map(|(time, _)| time)
}

fn edge_lines(lines: &Lines<'_>, one: fn(&str, u64, &str) -> Option<Evidence>, out: &mut Vec<Evidence>) {
    out.extend(lines.iter().filter_map(|(number, line)| one(lines.path, number, line)));
}

/// The form of a text, by its lines; the name of its file decides only what they leave open.
pub fn sniff(path: &str, text: &str) -> Option<Format> {
    let found = text.lines().take(SNIFFED_LINES).find_map(sniff_line)?;
    Some(match found {
        Format::NginxAccess if path.contains("apache") || path.contains("httpd") => Format::ApacheAccess,
        Format::NginxAccess if path.contains("gunicorn") => Format::GunicornAccess,
        Format::NginxAccess if path.contains("daphne") => Format::Daphne,
        Format::Gunicorn if path.contains("hypercorn") => Format::Hypercorn,
        Format::Gunicorn | Format::Uvicorn if path.contains("daphne") => Format::Daphne,
        Format::Gunicorn if path.contains("uwsgi") => Format::Uwsgi,
        Format::Gunicorn if path.contains("uvicorn") && !text.contains("Starting gunicorn") => {
            Format::Uvicorn
        }
        found => found,
    })
}

fn sniff_line(line: &str) -> Option<Format> {
    if nginx::sniff(line) {
        return Some(Format::NginxError);
    }
    if apache::sniff(line) {
        return Some(Format::ApacheError);
    }
    if envelope::sniff_container(line) {
        return Some(Format::Container);
    }
    if line.starts_with('{') {
        return sniff_json(line);
    }
    if haproxy::sniff(line) {
        return Some(Format::Haproxy);
    }
    if envoy::sniff(line) {
        return Some(Format::Envoy);
    }
    if edge::alb_line(line) {
        return Some(Format::Alb);
    }
    if envelope::sniff_journal(line) {
        return Some(Format::Journal);
    }
    access::sniff(line)
        .or_else(|| server::sniff(line))
        .or_else(|| dependency::sniff(line))
        .or_else(|| traefik::sniff(line).then_some(Format::Traefik))
        .or_else(|| system::sniff(line).then_some(Format::Kernel))
}

fn sniff_json(line: &str) -> Option<Format> {
    if envelope::sniff_journal(line) {
        return Some(Format::Journal);
    }
    if caddy::sniff(line) {
        return Some(Format::Caddy);
    }
    if traefik::sniff(line) {
        return Some(Format::Traefik);
    }
    if line.contains("\"EdgeResponseStatus\"") {
        return Some(Format::Cloudflare);
    }
    if line.contains("\"statusDetails\"") && line.contains("\"httpRequest\"") {
        return Some(Format::Gcp);
    }
    if envoy::sniff(line) {
        return Some(Format::Envoy);
    }
    access::sniff(line)
}

/// Kinds of single lines, of all products.
pub(crate) fn kinds() -> impl Iterator<Item = &'static Kind> {
    let tables: [&'static Table; 12] = [
        &server::GUNICORN,
        &server::UWSGI,
        &server::ASGI,
        &server::FRAMEWORKS,
        &apache::TABLE,
        &haproxy::TABLE,
        &system::KERNEL,
        &system::SYSTEMD,
        &dependency::POSTGRES,
        &dependency::MYSQL,
        &dependency::REDIS,
        &dependency::RABBITMQ,
    ];
    tables
        .into_iter()
        .flat_map(Table::kinds)
        .chain(python::KINDS)
        .chain(caddy::KINDS)
        .chain(traefik::KINDS)
        .chain(NGINX)
}

/// Lines of nginx that are no failures of a request.
const NGINX: &[Kind] = &[
    Kind {
        name: "nginx.start-refused",
        doc: "nginx did not start, or kept its old configuration, because a name in it does not resolve",
        fields: &[
            Field { name: "name", doc: "that was not found" },
            Field { name: "level", doc: "" },
            pattern::PID,
        ],
    },
    Kind { name: "nginx.started", doc: "worker processes were started", fields: &[pattern::PID] },
    Kind { name: "nginx.reloaded", doc: "a reload was asked for", fields: &[pattern::PID] },
    Kind {
        name: "nginx.worker-died",
        doc: "a worker process of nginx itself crashed or was killed",
        fields: &[Field { name: "signal", doc: "its number" }, pattern::PID],
    },
    Kind {
        name: "nginx.stopping",
        doc: "it stops, or an old worker ends after a reload",
        fields: &[pattern::PID],
    },
];
