//! Which language a configuration is written in, told from its name and its text.

use super::{Files, Part, Source};
use super::{
    apache, caddy, command, compose, dockerfile, envoy, gunicorn, haproxy, kubernetes, nginx, sysctl,
    systemd, uwsgi,
};

/// A language of configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    Apache,
    Caddyfile,
    /// Command lines of servers, one a line.
    Command,
    Compose,
    Dockerfile,
    Envoy,
    GunicornConf,
    Haproxy,
    Kubernetes,
    Nginx,
    Procfile,
    /// A list of Python packages with their versions.
    Requirements,
    Sysctl,
    SystemdUnit,
    UwsgiIni,
}

impl Format {
    /// Every format with the name it has in pages and options, in the order in which a text is tried for them.
    pub const ALL: &[(Format, &'static str)] = &[
        (Format::Nginx, "nginx-conf"),
        (Format::Apache, "apache-conf"),
        (Format::Haproxy, "haproxy-conf"),
        (Format::GunicornConf, "gunicorn-conf"),
        (Format::SystemdUnit, "systemd-unit"),
        (Format::Caddyfile, "caddyfile"),
        (Format::Envoy, "envoy-yaml"),
        (Format::UwsgiIni, "uwsgi-ini"),
        (Format::Kubernetes, "kubernetes"),
        (Format::Compose, "compose"),
        (Format::Dockerfile, "dockerfile"),
        (Format::Procfile, "procfile"),
        (Format::Requirements, "requirements"),
        (Format::Sysctl, "sysctl"),
        (Format::Command, "server-command"),
        // A page says whose command line it shows.
        (Format::Command, "gunicorn-command"),
        (Format::Command, "uvicorn-command"),
        (Format::Command, "hypercorn-command"),
        (Format::Command, "daphne-command"),
        (Format::Command, "uwsgi-command"),
    ];

    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.iter().find(|(_, known)| *known == name).map(|(format, _)| *format)
    }

    pub fn name(self) -> &'static str {
        Format::ALL.iter().find(|(format, _)| *format == self).map_or("", |(_, name)| name)
    }

    /// The format of a file; `None` where it is none of them.
    pub fn of(path: &str, text: &str) -> Option<Format> {
        let name = path.rsplit('/').next().unwrap_or(path);
        by_name(name).or_else(|| by_text(path, name, text))
    }
}

fn by_name(name: &str) -> Option<Format> {
    let lower = name.to_ascii_lowercase();
    let ends = |end: &str| lower.ends_with(end);
    match lower.as_str() {
        "nginx.conf" => Some(Format::Nginx),
        "apache2.conf" | "httpd.conf" => Some(Format::Apache),
        "haproxy.cfg" => Some(Format::Haproxy),
        "procfile" => Some(Format::Procfile),
        "sysctl.conf" => Some(Format::Sysctl),
        "caddyfile" => Some(Format::Caddyfile),
        "dockerfile" | "containerfile" => Some(Format::Dockerfile),
        _ if ends(".caddyfile") || lower.starts_with("caddyfile.") => Some(Format::Caddyfile),
        _ if lower.starts_with("dockerfile.") || ends(".dockerfile") => Some(Format::Dockerfile),
        _ if ends(".service") || ends(".socket") => Some(Format::SystemdUnit),
        _ if lower.starts_with("requirements") && ends(".txt") => Some(Format::Requirements),
        _ if lower.starts_with("gunicorn") && (ends(".py") || ends(".conf")) => Some(Format::GunicornConf),
        _ => None,
    }
}

/// Lines of a text that say something, without comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn by_text(path: &str, name: &str, text: &str) -> Option<Format> {
    let first_word = |line: &str, words: &[&str]| {
        line.split(|c: char| c.is_whitespace() || c == '{').next().is_some_and(|word| words.contains(&word))
    };
    if name.ends_with(".py") {
        let settings = ["bind", "workers", "timeout", "keepalive", "worker_class", "threads", "wsgi_app"];
        let assigned =
            |line: &str| line.split_once('=').is_some_and(|(name, _)| settings.contains(&name.trim()));
        return (text.lines().filter(|line| assigned(line)).count() >= 2).then_some(Format::GunicornConf);
    }
    if [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end)) {
        return of_yaml(text);
    }
    if lines(text).any(|line| line == "[uwsgi]") {
        return Some(Format::UwsgiIni);
    }
    if lines(text).any(|line| line == "[Service]" || line == "[Socket]") {
        return Some(Format::SystemdUnit);
    }
    if path.contains(".service.d/") && name.ends_with(".conf") {
        return Some(Format::SystemdUnit);
    }
    let apache =
        ["<virtualhost", "<location", "<proxy", "<ifmodule", "<directory", "proxypass", "wsgidaemonprocess"];
    if lines(text).any(|line| apache.iter().any(|start| line.to_ascii_lowercase().starts_with(start))) {
        return Some(Format::Apache);
    }
    let sections = ["frontend", "backend", "listen", "defaults", "global"];
    let is_section = |line: &&str| first_word(line, &sections) && !line.ends_with([';', '{']);
    if lines(text).next().is_some_and(|line| is_section(&line)) {
        return Some(Format::Haproxy);
    }
    let blocks = ["server", "http", "upstream", "events", "location", "stream", "map"];
    let is_block = |line: &str| line.ends_with('{') && first_word(line, &blocks);
    let is_directive = |line: &str| {
        line.ends_with(';')
            && ["proxy_", "uwsgi_", "fastcgi_", "grpc_", "keepalive_"]
                .iter()
                .any(|start| line.starts_with(start))
    };
    if lines(text).any(|line| is_block(line) || is_directive(line)) {
        return Some(Format::Nginx);
    }
    let short = text.len() < 4096;
    let commands = if short { command::logical_lines(text) } else { Vec::new() };
    let all = commands.iter().all(|(_, line)| command::product(line).is_some());
    (all && !commands.is_empty()).then_some(Format::Command)
}

/// Told by keys at the top: a map of `services` is Compose's, while a list of them is Clearway's own.
fn of_yaml(text: &str) -> Option<Format> {
    let top: Vec<&str> = text.lines().filter(|line| !line.starts_with([' ', '\t', '#', '-'])).collect();
    let has =
        |key: &str| top.iter().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    if has("apiVersion") && has("kind") {
        return Some(Format::Kubernetes);
    }
    if has("static_resources") || (has("admin") && has("dynamic_resources")) {
        return Some(Format::Envoy);
    }
    let mut below = text.lines().skip_while(|line| !line.starts_with("services:")).skip(1);
    let first = below.find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))?;
    let is_map = first.starts_with([' ', '\t'])
        && !first.trim_start().starts_with('-')
        && first.trim_end().ends_with(':');
    (has("services") && is_map).then_some(Format::Compose)
}

/// Reads a source of a format into a part.
pub(super) fn read(format: Format, source: &Source, files: &dyn Files, part: &mut Part) {
    match format {
        Format::Apache => apache::read(source, files, part),
        Format::Caddyfile => caddy::read(source, files, part),
        Format::Command => command::read(source, files, part),
        Format::Compose => compose::read(source, files, part),
        Format::Dockerfile => dockerfile::read(source, files, part),
        Format::Envoy => envoy::read(source, part),
        Format::GunicornConf => gunicorn::read(source, part),
        Format::Haproxy => haproxy::read(source, part),
        Format::Kubernetes => kubernetes::read(source, files, part),
        Format::Nginx => nginx::read(source, files, part),
        Format::Procfile => command::read_procfile(source, files, part),
        Format::Requirements => {}
        Format::Sysctl => sysctl::read(source, part),
        Format::SystemdUnit => systemd::read(source, files, part),
        Format::UwsgiIni => uwsgi::read(source, part),
    }
}
