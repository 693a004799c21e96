//! Compose files: each service with what it starts, its ports, its health and what it waits for.

use super::argument::Word;
use super::command::{self, Launch};
use super::files::Files;
use super::quantity::{bytes, systemd_time};
use super::yaml::{self, Lines, Node};
use super::{Origin, Part, Role, Server, Setting, Source, Wide};

const PRODUCT: &str = "compose";

pub(super) fn read(source: &Source, files: &dyn Files, part: &mut Part) {
    let lines = Lines::new(&source.path, &source.text);
    for document in yaml::documents(&source.path, &source.text, part) {
        let Some(services) = document.get("services") else { continue };
        for (name, service) in services.entries() {
            one(name, service, &lines, files, part);
        }
    }
}

fn one(name: &str, service: &Node, lines: &Lines<'_>, files: &dyn Files, part: &mut Part) {
    let at = lines.of(service);
    let settings = settings(service, &at, lines);
    let launch = Launch {
        variables: variables(service),
        directory: service.text_at(&["working_dir"]).map(str::to_owned),
        origin: at,
        ..Launch::default()
    };
    let mut servers = Vec::new();
    for key in ["entrypoint", "command"] {
        let Some(node) = service.get(key) else { continue };
        let launch = Launch { origin: lines.of(node), lines: lines.from(node.line), ..launch.clone() };
        servers = started(node, &launch, files, part);
        if !servers.is_empty() {
            break;
        }
    }
    let mut hosts = vec![name.to_owned()];
    hosts.extend(service.text_at(&["container_name"]).map(str::to_owned));
    hosts.extend(service.text_at(&["hostname"]).map(str::to_owned));
    for (_, network) in service.get("networks").map(Node::entries).unwrap_or_default() {
        let aliases = network.get("aliases").map(Node::items).unwrap_or_default();
        hosts.extend(aliases.iter().filter_map(Node::text).map(str::to_owned));
    }
    if servers.is_empty() {
        let of = image_product(service);
        part.wide.push(Wide {
            product: PRODUCT,
            role: Role::Workload,
            unit: Some(name.to_owned()),
            of,
            settings,
        });
        return;
    }
    // With the host's network it is where servers of the host are.
    if service.text_at(&["network_mode"]) == Some("host") {
        hosts.clear();
    }
    for mut server in servers {
        server.hosts.clone_from(&hosts);
        server.unit = Some(name.to_owned());
        server.around.extend(settings.iter().map(|setting| (Role::Workload, PRODUCT, setting.clone())));
        part.servers.push(server);
    }
}

/// What a command starts: a shell line, or words.
pub(super) fn started(node: &Node, launch: &Launch, files: &dyn Files, part: &mut Part) -> Vec<Server> {
    match node.text() {
        // `$$` is a dollar sign that Compose leaves to the shell.
        Some(text) => command::start(&text.replace("$$", "$"), launch, files, part),
        None => {
            let words: Vec<Word> = node.items().iter().filter_map(Node::text).map(Word::known).collect();
            command::start_words(&words, launch, files, part)
        }
    }
}

fn image_product(service: &Node) -> Option<String> {
    let image = service.text_at(&["image"])?;
    let name = image.rsplit('/').next()?.split([':', '@']).next()?;
    Some(match name {
        "httpd" => "apache".to_owned(),
        name => name.to_owned(),
    })
}

/// `environment` as a map or as a list of `NAME=value`.
pub(super) fn variables(service: &Node) -> Vec<(String, String)> {
    let Some(node) = service.get("environment") else { return Vec::new() };
    let pairs =
        node.entries().iter().filter_map(|(name, value)| Some((name.clone(), value.text()?.to_owned())));
    let written = node.items().iter().filter_map(|item| {
        let (name, value) = item.text()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    // What is filled in from outside is not known.
    pairs.chain(written).filter(|(_, value)| !value.contains("${")).collect()
}

fn settings(service: &Node, at: &Origin, lines: &Lines<'_>) -> Vec<Setting> {
    let mut settings = Vec::new();
    let texts: [(&'static str, &[&str]); 5] = [
        ("image", &["image"]),
        ("restart", &["restart"]),
        ("user", &["user"]),
        ("chdir", &["working_dir"]),
        ("stop-signal", &["stop_signal"]),
    ];
    for (name, path) in texts {
        if let Some(node) = service.at(path)
            && let Some(text) = node.text()
        {
            settings.push(Setting::new(name, text, &lines.of(node)));
        }
    }
    if !settings.iter().any(|setting| setting.name == "restart")
        && service.at(&["deploy", "restart_policy"]).is_none()
    {
        settings.push(Setting::by_default("restart", "no", at));
    }
    settings.push(
        match service.get("stop_grace_period").and_then(|node| Some((systemd_time(node.text()?)?, node))) {
            Some((time, node)) => Setting::new("grace-period", time, &lines.of(node)),
            None => Setting::by_default("grace-period", 10, at),
        },
    );
    let memory =
        service.get("mem_limit").or_else(|| service.at(&["deploy", "resources", "limits", "memory"]));
    if let Some((size, node)) = memory.and_then(|node| Some((bytes(node.text()?)?, node))) {
        settings.push(Setting::new("memory-max", size, &lines.of(node)));
    }
    let replicas = service.at(&["deploy", "replicas"]).or_else(|| service.get("scale"));
    if let Some((count, node)) = replicas.and_then(|node| Some((node.text()?, node))) {
        settings.push(Setting::new("replicas", count, &lines.of(node)));
    }
    health(service, at, lines, &mut settings);
    depends(service, lines, &mut settings);
    ports(service, lines, &mut settings);
    for (name, _) in variables(service) {
        let node = service.get("environment");
        settings.extend(node.map(|node| Setting::new("environment", name, &lines.without_text(node))));
    }
    settings
}

fn health(service: &Node, at: &Origin, lines: &Lines<'_>, settings: &mut Vec<Setting>) {
    let Some(check) = service.get("healthcheck") else {
        // The image may have one of its own.
        settings.push(Setting::by_default("healthcheck", "none", at).uncertain(true));
        return;
    };
    let test = check.get("test");
    let words: Vec<&str> = match test {
        Some(node) if node.is_list() => node.items().iter().filter_map(Node::text).collect(),
        Some(node) => node.text().map(|text| text.split_whitespace().collect()).unwrap_or_default(),
        None => Vec::new(),
    };
    let disabled = check.text_at(&["disable"]) == Some("true") || words.first() == Some(&"NONE");
    let origin = lines.of(test.unwrap_or(check));
    settings.push(Setting::new("healthcheck", if disabled { "none" } else { "exec" }, &origin));
    if let Some(url) =
        words.iter().flat_map(|word| word.split(['"', '\'', ' ', '(', ')'])).find(|word| word.contains("://"))
    {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (authority, path) = rest.find('/').map_or((rest, "/"), |start| rest.split_at(start));
        settings.push(Setting::new("health-path", path, &origin));
        if let Some((_, port)) = authority.rsplit_once(':') {
            settings.push(Setting::new("probe-port", port, &origin).more("probe", "healthcheck"));
        }
    }
    for (name, key) in [("probe-period", "interval"), ("probe-timeout", "timeout")] {
        if let Some((time, node)) = check.get(key).and_then(|node| Some((systemd_time(node.text()?)?, node)))
        {
            settings.push(Setting::new(name, time, &lines.of(node)).more("probe", "healthcheck"));
        }
    }
}

fn depends(service: &Node, lines: &Lines<'_>, settings: &mut Vec<Setting>) {
    let Some(node) = service.get("depends_on") else { return };
    for item in node.items() {
        if let Some(name) = item.text() {
            settings
                .push(Setting::new("depends-on", name, &lines.of(item)).more("condition", "service_started"));
        }
    }
    for (name, value) in node.entries() {
        let condition = value.text_at(&["condition"]).unwrap_or("service_started");
        settings.push(Setting::new("depends-on", name, &lines.of(value)).more("condition", condition));
    }
}

fn ports(service: &Node, lines: &Lines<'_>, settings: &mut Vec<Setting>) {
    for item in service.get("ports").map(Node::items).unwrap_or_default() {
        let target = match item.text() {
            Some(text) => text.split('/').next().and_then(|text| text.rsplit(':').next()).map(str::to_owned),
            None => item.text_at(&["target"]).map(str::to_owned),
        };
        let published = match item.text() {
            Some(text) => {
                let parts: Vec<&str> = text.split('/').next().unwrap_or_default().split(':').collect();
                parts.len().checked_sub(2).and_then(|at| parts.get(at)).map(|text| (*text).to_owned())
            }
            None => item.text_at(&["published"]).map(str::to_owned),
        };
        if let Some(target) = target {
            settings.push(Setting::new("container-port", target, &lines.of(item)));
        }
        if let Some(published) = published {
            settings.push(Setting::new("port", published, &lines.of(item)));
        }
    }
    for item in service.get("expose").map(Node::items).unwrap_or_default() {
        if let Some(text) = item.text() {
            settings.push(Setting::new("container-port", text, &lines.of(item)));
        }
    }
}
