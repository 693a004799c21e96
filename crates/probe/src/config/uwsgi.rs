//! uWSGI: its ini file and its command line, in which every option may stand as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::address::Address;
use super::argument::Word;
use super::command::Launch;
use super::files::{self, Files};
use super::quantity::number;
use super::{Bind, Origin, Part, Problem, Server, Setting, Source};

pub(super) const PRODUCT: &str = "uwsgi";

/// Ours, uWSGI's, what it does without it.
const SETTINGS: &[(&str, &str, Option<&str>)] = &[
    ("workers", "processes", Some("1")),
    ("workers", "workers", None),
    ("threads", "threads", Some("1")),
    ("backlog", "listen", Some("100")),
    ("request-timeout", "harakiri", Some("0")),
    ("request-header-limit", "buffer-size", Some("4096")),
    ("client-timeout", "socket-timeout", Some("4")),
    ("client-timeout", "http-timeout", None),
    ("max-requests", "max-requests", Some("0")),
    ("max-requests-jitter", "max-requests-delta", None),
    ("reload-on-memory", "reload-on-rss", None),
    ("need-app", "need-app", Some("no")),
    ("lazy-apps", "lazy-apps", Some("no")),
    ("daemon", "daemonize", None),
    ("error-log", "logto", None),
    ("error-log", "daemonize", None),
    ("chdir", "chdir", None),
    ("user", "uid", None),
    ("os-group", "gid", None),
    ("socket-mode", "chmod-socket", None),
    ("graceful-timeout", "worker-reload-mercy", Some("60")),
    ("pid-file", "pidfile", None),
];

/// Options that bind, with what is spoken there.
const BINDS: &[(&str, &str)] = &[
    ("socket", "uwsgi"),
    ("uwsgi-socket", "uwsgi"),
    ("s", "uwsgi"),
    ("http", "http"),
    ("http-socket", "http"),
    ("https", "https"),
    ("https-socket", "https"),
    ("fastcgi-socket", "fastcgi"),
    ("scgi-socket", "scgi"),
];

/// Short forms of the command line.
const SHORT: &[(&str, &str)] = &[
    ("p", "processes"),
    ("w", "module"),
    ("z", "socket-timeout"),
    ("t", "harakiri"),
    ("b", "buffer-size"),
    ("l", "listen"),
    ("R", "max-requests"),
    ("L", "disable-logging"),
];
/// Options that stand alone.
const FLAGS: &[&str] = &[
    "master",
    "need-app",
    "lazy-apps",
    "enable-threads",
    "vacuum",
    "die-on-term",
    "M",
    "single-interpreter",
    "strict",
    "disable-logging",
    "L",
    "http-keepalive",
];

/// Options in their order; the last of a name is in force, but for those that bind.
type Options = Vec<(String, String, Origin)>;

pub(super) fn read(source: &Source, part: &mut Part) {
    let path: Arc<str> = Arc::from(source.path.as_str());
    let options = ini(&source.text, &path, part);
    let server = build(&options, &Origin::new(&path, 0, ""));
    part.servers.push(server);
}

pub(super) fn launched(launch: &Launch, files: &dyn Files, part: &mut Part) -> Server {
    let mut options = Options::new();
    let mut words = launch.words.iter().peekable();
    while let Some(word) = words.next() {
        let text = word.as_str();
        let Some(name) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else {
            // A file alone is one of options.
            if text.ends_with(".ini") {
                options.extend(named(text, launch, files, part));
            }
            continue;
        };
        let (name, mut value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let name = SHORT
            .iter()
            .find(|(short, _)| *short == name && !text.starts_with("--"))
            .map_or(name, |(_, long)| long);
        if value.is_none() && !FLAGS.contains(&name) {
            value =
                words.next_if(|next| !next.as_str().starts_with('-')).map(Word::as_str).map(str::to_owned);
        }
        let value = value.unwrap_or_else(|| "true".to_owned());
        if name == "ini" {
            options.extend(named(&value, launch, files, part));
        } else {
            options.push((name.to_owned(), value, launch.whole()));
        }
    }
    let mut server = build(&options, &launch.whole());
    server.directory = server.directory.or_else(|| launch.directory.clone());
    server
}

/// The options of a file that the command line names.
fn named(path: &str, launch: &Launch, files: &dyn Files, part: &mut Part) -> Options {
    let wanted = files::joined(launch.directory.as_deref().unwrap_or_default(), path);
    for candidate in launch.candidates(path, &wanted) {
        if let Ok(text) = files.text(&candidate) {
            part.included.insert(candidate.clone());
            return ini(&text, &Arc::from(candidate.as_str()), part);
        }
    }
    let message = format!("'{wanted}' is named and was not found");
    part.problems.push(Problem::unseen(&launch.origin.path, launch.origin.line as usize, message));
    Options::new()
}

/// The section `[uwsgi]`, with `%(name)` filled in.
fn ini(text: &str, path: &Arc<str>, part: &mut Part) -> Options {
    let mut options = Options::new();
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        let content = line.trim();
        if content.is_empty() || content.starts_with([';', '#']) {
            continue;
        }
        if let Some(section) = content.strip_prefix('[') {
            inside = section.trim_end_matches(']') == "uwsgi";
            continue;
        }
        if !inside {
            continue;
        }
        let Some((name, value)) = content.split_once('=') else {
            let message = format!("'{}' must be NAME = VALUE", super::tier::shortened(content));
            part.problems.push(Problem::error(path, index + 1, message));
            continue;
        };
        let (name, mut value) = (name.trim().to_owned(), value.trim().to_owned());
        for (other, text) in &known {
            if value.contains('%') && value.len() < 4096 {
                value = value.replace(&format!("%({other})"), text);
            }
        }
        known.insert(name.clone(), value.clone());
        options.push((name, value, Origin::new(path, index + 1, line)));
    }
    options
}

fn build(options: &Options, at: &Origin) -> Server {
    let last = |name: &str| options.iter().rev().find(|(known, _, _)| known == name);
    let mut server = Server { product: PRODUCT, origin: at.clone(), ..Server::default() };
    for (name, value, origin) in options {
        let Some((_, scheme)) = BINDS.iter().find(|(known, _)| known == name) else { continue };
        // `protocol` changes what is spoken on a plain socket.
        let scheme = match (*scheme, last("protocol").map(|(_, value, _)| value.as_str())) {
            ("uwsgi", Some("http")) => "http",
            (scheme, _) => scheme,
        };
        let text = value.split(',').next().unwrap_or(value);
        let address = match text.starts_with('/') {
            true => format!("unix:{text}"),
            false => {
                Address::parse(text, None).map_or_else(|| text.to_owned(), |address| address.to_string())
            }
        };
        let (default, uncertain) = (false, text.contains('$'));
        server.binds.push(Bind { address, scheme, default, uncertain, origin: origin.clone() });
    }
    let app = ["module", "wsgi", "wsgi-file"].iter().find_map(|name| last(name));
    server.app = app.map(|(_, value, _)| value.clone());
    server.directory = last("chdir").map(|(_, value, _)| value.clone());
    for (name, key, default) in SETTINGS {
        if server.settings.iter().any(|setting| setting.name == *name && !setting.default) {
            continue;
        }
        match (last(key), default) {
            (Some((_, value, origin)), _) => {
                server.settings.retain(|setting| setting.name != *name);
                let value = match value.as_str() {
                    "true" => "yes".to_owned(),
                    "false" => "no".to_owned(),
                    text => text.parse::<f64>().map_or_else(|_| text.to_owned(), number),
                };
                // Something computed or from the environment.
                let value = if value.starts_with("$(") || value.starts_with('%') {
                    "unknown".to_owned()
                } else {
                    value
                };
                server.settings.push(Setting::new(name, value, origin));
            }
            (None, Some(default)) => server.settings.push(Setting::by_default(name, default, at)),
            (None, None) => {}
        }
    }
    // uWSGI closes after each answer, but for `http-keepalive` of its own router.
    server.settings.push(match last("http-keepalive") {
        Some((_, value, origin)) => Setting::new("keep-alive", value.replace("true", "unknown"), origin),
        None => Setting::by_default("keep-alive", 0, at),
    });
    server
}
