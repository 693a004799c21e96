//! systemd units with their drop-ins: what they start, with what limits. Files of variables are named and not read: they hold
//! secrets.

mod unit;

use std::sync::Arc;

use super::command::{self, Launch};
use super::files::{self, Files};
use super::quantity::{bytes, number, systemd_time};
use super::{Bind, Origin, Part, Role, Server, Setting, Source, Wide};
use unit::Unit;

const PRODUCT: &str = "systemd";

/// Programs that a unit may run, besides Python servers.
const PROGRAMS: &[(&str, &str)] = &[
    ("apache2", "apache"),
    ("apachectl", "apache"),
    ("caddy", "caddy"),
    ("envoy", "envoy"),
    ("haproxy", "haproxy"),
    ("httpd", "apache"),
    ("nginx", "nginx"),
];

/// How a value is written.
#[derive(Clone, Copy)]
enum Form {
    Size,
    Switch,
    Text,
    Time,
}

/// Ours, systemd's, the form, the default where it says something.
const SETTINGS: &[(&str, &str, Form, Option<&str>)] = &[
    ("unit-type", "Type", Form::Text, None),
    ("restart", "Restart", Form::Text, Some("no")),
    ("restart-delay", "RestartSec", Form::Time, Some("0.1")),
    ("start-timeout", "TimeoutStartSec", Form::Time, Some("90")),
    ("stop-timeout", "TimeoutStopSec", Form::Time, Some("90")),
    ("kill-mode", "KillMode", Form::Text, None),
    ("private-tmp", "PrivateTmp", Form::Switch, Some("no")),
    ("runtime-directory", "RuntimeDirectory", Form::Text, None),
    ("file-limit", "LimitNOFILE", Form::Text, None),
    ("memory-max", "MemoryMax", Form::Size, None),
    ("memory-max", "MemoryLimit", Form::Size, None),
    ("tasks-max", "TasksMax", Form::Text, None),
    ("user", "User", Form::Text, None),
    ("os-group", "Group", Form::Text, None),
    ("umask", "UMask", Form::Text, None),
    ("chdir", "WorkingDirectory", Form::Text, None),
    ("environment-file", "EnvironmentFile", Form::Text, None),
    ("error-log", "StandardError", Form::Text, None),
];

pub(super) fn read(source: &Source, files: &dyn Files, part: &mut Part) {
    let path: Arc<str> = Arc::from(source.path.as_str());
    let mut unit = Unit::default();
    unit.read(&source.text, &path, part);
    for drop_in in files.matching(&format!("{}.d/*.conf", source.path)) {
        if let Ok(text) = files.text(&drop_in) {
            part.included.insert(drop_in.clone());
            unit.read(&text, &Arc::from(drop_in.as_str()), part);
        }
    }
    let name = source.path.rsplit('/').next().unwrap_or(&source.path).to_owned();
    if unit.has_section("Socket") {
        socket(&unit, &name, part);
        return;
    }
    let whole = Origin::new(&path, 0, "");
    let settings = settings(&unit, &whole);
    let mut launch = Launch {
        variables: unit.environment(),
        directory: unit
            .last("Service", "WorkingDirectory")
            .map(|entry| entry.value.trim_start_matches('-').to_owned()),
        ..Launch::default()
    };
    let mut of: Option<String> = None;
    let mut servers: Vec<Server> = Vec::new();
    for entry in unit.all("Service", "ExecStart") {
        launch.origin = entry.origin.clone();
        launch.lines = Arc::clone(&entry.lines);
        let command = entry.value.trim_start_matches(['@', '-', ':', '+', '!', '|']);
        servers.extend(command::start(command, &launch, files, part));
        let program =
            command.split_whitespace().next().and_then(|word| word.rsplit('/').next()).unwrap_or_default();
        let known =
            PROGRAMS.iter().find(|(name, _)| *name == program).map(|(_, product)| (*product).to_owned());
        of = of.or(known).or_else(|| Some(program.to_owned()));
    }
    if servers.is_empty() {
        part.wide.push(Wide { product: PRODUCT, role: Role::Unit, unit: Some(name), of, settings });
        return;
    }
    for mut server in servers {
        activate(&mut server, &source.path, &name, files, part);
        server.unit = Some(name.clone());
        server.around.extend(settings.iter().map(|setting| (Role::Unit, PRODUCT, setting.clone())));
        part.servers.push(server);
    }
}

/// A unit whose sockets are opened by a socket unit of its name serves those, whatever it is told to bind.
fn activate(server: &mut Server, path: &str, name: &str, files: &dyn Files, part: &mut Part) {
    let Some(stem) = name.strip_suffix(".service") else { return };
    let beside = files::joined(files::folder(path), &format!("{stem}.socket"));
    let Ok(text) = files.text(&beside) else { return };
    let mut unit = Unit::default();
    unit.read(&text, &Arc::from(beside.as_str()), part);
    let scheme = server.binds.first().map_or("http", |bind| bind.scheme);
    let binds: Vec<Bind> = listened(&unit)
        .into_iter()
        .map(|(address, origin)| Bind { address, scheme, default: false, uncertain: false, origin })
        .collect();
    if !binds.is_empty() {
        server.binds = binds;
    }
    for setting in socket_settings(&unit) {
        server.settings.retain(|known| known.name != setting.name);
        server.settings.push(setting);
    }
}

fn listened(unit: &Unit) -> Vec<(String, Origin)> {
    let entries = unit.all("Socket", "ListenStream");
    let address = |value: &str| match value.parse::<u16>() {
        Ok(port) => format!("[::]:{port}"),
        Err(_) if value.starts_with(['/', '@']) => format!("unix:{value}"),
        Err(_) => value.to_owned(),
    };
    entries.iter().map(|entry| (address(&entry.value), entry.origin.clone())).collect()
}

fn socket_settings(unit: &Unit) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, key) in [
        ("backlog", "Backlog"),
        ("socket-mode", "SocketMode"),
        ("user", "SocketUser"),
        ("os-group", "SocketGroup"),
    ] {
        if let Some(entry) = unit.last("Socket", key) {
            settings.push(Setting::new(name, &entry.value, &entry.origin));
        }
    }
    if !settings.iter().any(|setting| setting.name == "backlog")
        && let Some((_, origin)) = listened(unit).first()
    {
        // SOMAXCONN of the system's headers, and the kernel's bound below it.
        settings.push(Setting::by_default("backlog", 4096, origin).uncertain(true));
    }
    settings
}

fn socket(unit: &Unit, name: &str, part: &mut Part) {
    let mut settings = socket_settings(unit);
    settings.extend(
        listened(unit).into_iter().map(|(address, origin)| Setting::new("listen-stream", address, &origin)),
    );
    let of = name.strip_suffix(".socket").map(|stem| format!("{stem}.service"));
    part.wide.push(Wide { product: PRODUCT, role: Role::Unit, unit: Some(name.to_owned()), of, settings });
}

fn settings(unit: &Unit, whole: &Origin) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, key, form, default) in SETTINGS {
        let Some(entry) = unit.last("Service", key) else {
            if let Some(default) = default
                && unit.has_section("Service")
            {
                settings.push(Setting::by_default(name, default, whole));
            }
            continue;
        };
        let value = match form {
            Form::Size => bytes(&entry.value),
            Form::Switch => Some(match entry.value.to_ascii_lowercase().as_str() {
                "1" | "yes" | "true" | "on" | "disconnected" => "yes".to_owned(),
                _ => "no".to_owned(),
            }),
            Form::Text => Some(entry.value.clone()),
            Form::Time => systemd_time(&entry.value),
        };
        settings.extend(value.map(|value| Setting::new(name, value, &entry.origin)));
    }
    if let Some(entry) = unit.last("Service", "CPUQuota")
        && let Some(share) = entry.value.strip_suffix('%').and_then(|text| text.parse::<f64>().ok())
    {
        settings.push(Setting::new("cpu-max", number(share / 100.0), &entry.origin));
    }
    for (name, _) in unit.environment() {
        if let Some(origin) = unit.origin_of_variable(&name) {
            // The line may hold a secret: its place is enough.
            settings.push(Setting::new(
                "environment",
                name,
                &Origin { text: Arc::from(""), written: Arc::from(""), ..origin },
            ));
        }
    }
    for entry in unit.all("Unit", "After") {
        for other in entry.value.split_whitespace() {
            settings.push(Setting::new("after", other, &entry.origin));
        }
    }
    if let Some(entry) = unit.all("Service", "ExecStart").first() {
        settings.push(Setting::new("exec-start", &entry.value, &entry.origin));
    }
    settings
}
