//! What configurations say, as plain data: sites and their routes, servers, settings with their origins.

use std::sync::Arc;

use crate::redact;

/// The longest line that is kept as a text; generated lines can have megabytes.
const LINE_CHARACTERS_MAX: usize = 500;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Origin {
    pub path: Arc<str>,
    /// From 1; 0 for the file as a whole.
    pub line: u32,
    /// The line as it is written, without blanks around it.
    pub text: Arc<str>,
    /// The part of the line that says it, where the line says more; else empty.
    pub written: Arc<str>,
    /// It is an option of a command line.
    pub is_option: bool,
}

impl Origin {
    /// A place with its line, of which secrets are taken out: it ends up in reports.
    pub(crate) fn new(path: &Arc<str>, line: usize, text: &str) -> Origin {
        Origin {
            path: Arc::clone(path),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            text: Arc::from(&*redact::line(shortened(text))),
            ..Origin::default()
        }
    }

    /// With the part of the line that says it; the line must hold it once, or nobody could tell which is meant.
    #[must_use]
    pub(crate) fn part(mut self, written: &str) -> Origin {
        if !written.is_empty() && written != &*self.text && self.text.matches(written).count() == 1 {
            self.written = Arc::from(written);
        }
        self
    }
}

/// A line without blanks around it, bounded.
pub(crate) fn shortened(text: &str) -> &str {
    let text = text.trim();
    match text.char_indices().nth(LINE_CHARACTERS_MAX) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

/// A setting under its common name.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// One of [`super::NAMES`].
    pub name: &'static str,
    pub value: String,
    /// Nobody set it: it is what the product does by itself.
    pub default: bool,
    /// It may be otherwise at run time: a fallback for a variable, a branch.
    pub uncertain: bool,
    /// Where it is set; for a default, what it would have to be added to.
    pub origin: Origin,
    /// Further fields of the evidence.
    pub more: Vec<(&'static str, String)>,
}

impl Setting {
    pub(crate) fn new(name: &'static str, value: impl ToString, origin: &Origin) -> Setting {
        Setting {
            name,
            value: value.to_string(),
            default: false,
            uncertain: false,
            origin: origin.clone(),
            more: Vec::new(),
        }
    }

    pub(crate) fn by_default(name: &'static str, value: impl ToString, origin: &Origin) -> Setting {
        Setting { default: true, ..Setting::new(name, value, origin) }
    }

    #[must_use]
    pub(crate) fn uncertain(mut self, uncertain: bool) -> Setting {
        self.uncertain = uncertain;
        self
    }

    #[must_use]
    pub(crate) fn more(mut self, field: &'static str, value: impl ToString) -> Setting {
        self.more.push((field, value.to_string()));
        self
    }
}

/// The role of whom a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Proxy,
    Server,
    System,
    Unit,
    Workload,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Proxy => "proxy",
            Role::Server => "server",
            Role::System => "system",
            Role::Unit => "unit",
            Role::Workload => "workload",
        }
    }
}

/// A site of a proxy: what it listens on, the names it serves, where it sends.
#[derive(Clone, Debug, Default)]
pub struct Site {
    pub product: &'static str,
    pub listens: Vec<Listen>,
    /// The names it serves, as they are written: `*.example.org` and `~^www` too; empty for any.
    pub names: Vec<String>,
    pub routes: Vec<Route>,
    pub settings: Vec<Setting>,
    pub origin: Origin,
}

/// Where a site takes requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// `0.0.0.0:80`, `[::]:443`, `unix:/run/x.sock`.
    pub address: String,
    pub tls: bool,
    /// Whether it serves names that no site of the address has.
    pub default: bool,
    /// What is about connections of this address.
    pub settings: Vec<Setting>,
    pub origin: Origin,
}

/// How a route chooses its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Matching {
    Exact,
    #[default]
    Prefix,
    Pattern,
}

/// A part of a site that sends somewhere.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// The path, prefix or pattern; `/` for everything.
    pub path: String,
    pub matching: Matching,
    /// `http`, `https`, `h2c`, `uwsgi`, `fastcgi`, `scgi`, `grpc`, `grpcs`, `ajp`, `tcp`.
    pub scheme: String,
    /// The name of the group of upstreams, where there is one.
    pub group: Option<String>,
    pub targets: Vec<Target>,
    pub settings: Vec<Setting>,
    pub origin: Origin,
}

/// An upstream address of a route.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// As it is written, with its port: `localhost:8000`, `unix:/run/app.sock`.
    pub written: String,
    pub settings: Vec<Setting>,
    pub origin: Origin,
}

/// A server of an application.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub product: &'static str,
    pub binds: Vec<Bind>,
    /// Names under which the host of it is known to others of its set: a Compose service, a Kubernetes Service.
    pub hosts: Vec<String>,
    /// The module and its attribute: `shop.wsgi:application`.
    pub app: Option<String>,
    /// The unit, service or workload that starts it.
    pub unit: Option<String>,
    /// The folder that relative paths of it start from, where it is told.
    pub directory: Option<String>,
    pub settings: Vec<Setting>,
    /// Settings of what starts it: a unit, a workload, a Compose service.
    pub around: Vec<(Role, &'static str, Setting)>,
    pub origin: Origin,
}

/// An address that a server binds.
#[derive(Clone, Debug, PartialEq)]
pub struct Bind {
    /// `0.0.0.0:8000`, `unix:/run/app.sock`, `fd://3`.
    pub address: String,
    /// `http`, `https`, `uwsgi`, `fastcgi`.
    pub scheme: &'static str,
    pub default: bool,
    pub uncertain: bool,
    pub origin: Origin,
}

/// Settings of a process, unit or workload as a whole.
#[derive(Clone, Debug)]
pub struct Wide {
    pub product: &'static str,
    pub role: Role,
    /// The unit or workload.
    pub unit: Option<String>,
    /// The product that the unit runs.
    pub of: Option<String>,
    pub settings: Vec<Setting>,
}

/// A product of a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Software {
    pub product: String,
    pub version: String,
    pub origin: Origin,
}

/// What could not be read of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub path: String,
    /// From 1; 0 for the file as a whole.
    pub line: u32,
    /// A fragment that fits "failed to read: ...".
    pub message: String,
    /// Whether the product itself would refuse it; else a part was only not seen here.
    pub fatal: bool,
}

impl Problem {
    pub(crate) fn error(path: &str, line: usize, message: impl Into<String>) -> Problem {
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        Problem { path: path.to_owned(), line, message: message.into(), fatal: true }
    }

    pub(crate) fn unseen(path: &str, line: usize, message: impl Into<String>) -> Problem {
        Problem { fatal: false, ..Problem::error(path, line, message) }
    }
}
