//! Deployments, StatefulSets, DaemonSets and Pods: their containers, probes and what happens at their end.

use super::{PRODUCT, Service, namespace, pod_labels, selects};
use std::sync::Arc;

use crate::config::argument::Word;
use crate::config::command::{self, Launch};
use crate::config::files::Files;
use crate::config::quantity::{bytes, number};
use crate::config::yaml::{Lines, Node};
use crate::config::{Origin, Part, Role, Server, Setting, Wide};

const PROBES: &[(&str, &str)] = &[
    ("readiness-probe", "readinessProbe"),
    ("liveness-probe", "livenessProbe"),
    ("startup-probe", "startupProbe"),
];

pub(super) fn read(object: &Node, lines: &Lines<'_>, files: &dyn Files, part: &mut Part) {
    let kind = object.text_at(&["kind"]).unwrap_or_default();
    let pod = if kind == "Pod" { object.get("spec") } else { object.at(&["spec", "template", "spec"]) };
    let Some(pod) = pod else { return };
    let name = object.text_at(&["metadata", "name"]).unwrap_or_default();
    let unit = format!("{}/{name}", kind.to_ascii_lowercase());
    let whole = whole(object, pod, kind, lines);
    let cluster = Arc::clone(&part.cluster);
    let (namespace, labels) = (namespace(object), pod_labels(object));
    let chosen: Vec<&Service> =
        cluster.services.iter().filter(|service| selects(service, &namespace, &labels)).collect();
    for container in pod.get("containers").map(Node::items).unwrap_or_default() {
        let mut settings = whole.clone();
        settings.extend(of_container(container, !chosen.is_empty(), lines));
        let launch = Launch {
            variables: variables(container),
            directory: container.text_at(&["workingDir"]).map(str::to_owned),
            origin: lines.of(container),
            ..Launch::default()
        };
        let servers = started(container, &launch, lines, files, part);
        let container_name = container.text_at(&["name"]).unwrap_or_default();
        let unit = format!("{unit}/{container_name}");
        if servers.is_empty() {
            part.wide.push(Wide {
                product: PRODUCT,
                role: Role::Workload,
                unit: Some(unit),
                of: None,
                settings,
            });
            continue;
        }
        for mut server in servers {
            server.unit = Some(unit.clone());
            server.hosts = hosts(&server, container, &chosen, &namespace);
            server.around.extend(settings.iter().map(|setting| (Role::Workload, PRODUCT, setting.clone())));
            part.servers.push(server);
        }
    }
}

/// Names of the Services that lead to it. Where a Service has another port than the container, the address that a proxy sends to
/// is another one as well: those are not joined.
fn hosts(server: &Server, container: &Node, services: &[&Service], namespace: &str) -> Vec<String> {
    let port_of = |target: &str| -> Option<String> {
        if target.parse::<u16>().is_ok() {
            return Some(target.to_owned());
        }
        let ports = container.get("ports").map(Node::items).unwrap_or_default();
        let named = ports.iter().find(|port| port.text_at(&["name"]) == Some(target))?;
        named.text_at(&["containerPort"]).map(str::to_owned)
    };
    let serves = |port: &str| server.binds.iter().any(|bind| bind.address.rsplit(':').next() == Some(port));
    let mut hosts: Vec<String> = services
        .iter()
        .filter(|service| {
            service.ports.iter().any(|(port, target)| {
                port_of(target).is_some_and(|target| target == *port && serves(&target))
            })
        })
        .flat_map(|service| service.hosts())
        .collect();
    // Never empty: a container has a loopback address of its own.
    hosts.push(format!("pod.{namespace}"));
    hosts
}

fn started(
    container: &Node,
    launch: &Launch,
    lines: &Lines<'_>,
    files: &dyn Files,
    part: &mut Part,
) -> Vec<Server> {
    let words = |key: &str| -> Vec<Word> {
        let items = container.get(key).map(Node::items).unwrap_or_default();
        items.iter().filter_map(Node::text).map(Word::known).collect()
    };
    let mut all = words("command");
    all.extend(words("args"));
    let node = container.get("command").or_else(|| container.get("args"));
    let launch = Launch {
        origin: node.map_or_else(|| launch.origin.clone(), |node| lines.of(node)),
        ..launch.clone()
    };
    command::start_words(&all, &launch, files, part)
}

fn variables(container: &Node) -> Vec<(String, String)> {
    let items = container.get("env").map(Node::items).unwrap_or_default();
    let pair =
        |item: &Node| Some((item.text_at(&["name"])?.to_owned(), item.text_at(&["value"])?.to_owned()));
    items.iter().filter_map(pair).collect()
}

/// What is about the workload and each of its Pods as a whole.
fn whole(object: &Node, pod: &Node, kind: &str, lines: &Lines<'_>) -> Vec<Setting> {
    let mut settings = Vec::new();
    let spec = object.get("spec").unwrap_or(object);
    let at = lines.of(spec);
    let text = |node: Option<&Node>| node.and_then(|node| Some((node.text()?.to_owned(), lines.of(node))));
    if matches!(kind, "Deployment" | "StatefulSet") {
        settings.push(match text(spec.get("replicas")) {
            Some((value, origin)) => Setting::new("replicas", value, &origin),
            None => Setting::by_default("replicas", 1, &at),
        });
    }
    if kind == "Deployment" {
        for (name, key, default) in
            [("max-unavailable", "maxUnavailable", "25%"), ("max-surge", "maxSurge", "25%")]
        {
            settings.push(match text(spec.at(&["strategy", "rollingUpdate", key])) {
                Some((value, origin)) => Setting::new(name, value, &origin),
                None => Setting::by_default(name, default, &at),
            });
        }
    }
    settings.push(match text(pod.get("terminationGracePeriodSeconds")) {
        Some((value, origin)) => Setting::new("grace-period", value, &origin),
        None => Setting::by_default("grace-period", 30, &lines.of(pod)),
    });
    settings
}

fn of_container(container: &Node, selected: bool, lines: &Lines<'_>) -> Vec<Setting> {
    let at = lines.of(container);
    let mut settings = Vec::new();
    for (name, key) in PROBES {
        probe(name, container.get(key), &at, lines, &mut settings);
    }
    // Whether requests come through a Service decides whether readiness and the time before the end matter.
    if selected {
        settings.push(Setting::new("selected", "yes", &at));
    }
    pre_stop(container, &at, lines, &mut settings);
    for port in container.get("ports").map(Node::items).unwrap_or_default() {
        if let Some(node) = port.get("containerPort")
            && let Some(text) = node.text()
        {
            settings.push(Setting::new("container-port", text, &lines.of(node)));
        }
    }
    if let Some(node) = container.get("image")
        && let Some(text) = node.text()
    {
        settings.push(Setting::new("image", text, &lines.of(node)));
    }
    let limits = |key: &str| container.at(&["resources", "limits", key]);
    if let Some((size, node)) = limits("memory").and_then(|node| Some((bytes(node.text()?)?, node))) {
        settings.push(Setting::new("memory-max", size, &lines.of(node)));
    }
    if let Some((cores, node)) = limits("cpu").and_then(|node| Some((cores(node.text()?)?, node))) {
        settings.push(Setting::new("cpu-max", cores, &lines.of(node)));
    }
    let env = container.get("env").map(Node::items).unwrap_or_default();
    settings.extend(env.iter().filter_map(|item| {
        let name = item.get("name")?;
        Some(Setting::new("environment", name.text()?, &lines.without_text(name)))
    }));
    let command = container.get("command").map(Node::items).unwrap_or_default();
    if command
        .first()
        .and_then(Node::text)
        .is_some_and(|word| word.rsplit('/').next().is_some_and(|name| matches!(name, "sh" | "bash")))
    {
        let replaced = command.iter().filter_map(Node::text).any(|word| word.contains("exec "));
        let value = if replaced { "no" } else { "yes" };
        settings.extend(
            container.get("command").map(|node| Setting::new("shell-entrypoint", value, &lines.of(node))),
        );
    }
    settings
}

fn cores(text: &str) -> Option<String> {
    match text.strip_suffix('m') {
        Some(thousandths) => thousandths.parse::<f64>().ok().map(|value| number(value / 1000.0)),
        None => text.parse::<f64>().ok().map(number),
    }
}

fn probe(
    name: &'static str,
    node: Option<&Node>,
    at: &Origin,
    lines: &Lines<'_>,
    settings: &mut Vec<Setting>,
) {
    let Some(node) = node else {
        settings.push(Setting::by_default(name, "none", at));
        return;
    };
    let origin = lines.of(node);
    let forms = [("http", "httpGet"), ("tcp", "tcpSocket"), ("exec", "exec"), ("grpc", "grpc")];
    let form = forms.iter().find(|(_, key)| node.get(key).is_some()).map_or("none", |(form, _)| form);
    settings.push(Setting::new(name, form, &origin));
    let of = |setting: Setting| setting.more("probe", name);
    for key in ["httpGet", "tcpSocket", "grpc"] {
        if let Some(port) = node.at(&[key, "port"])
            && let Some(text) = port.text()
        {
            settings.push(of(Setting::new("probe-port", text, &lines.of(port))));
        }
    }
    if let Some(path) = node.at(&["httpGet", "path"])
        && let Some(text) = path.text()
    {
        settings.push(of(Setting::new("health-path", text, &lines.of(path))));
    }
    for (name, key, default) in [
        ("probe-timeout", "timeoutSeconds", 1),
        ("probe-period", "periodSeconds", 10),
        ("probe-failures", "failureThreshold", 3),
    ] {
        settings.push(of(match node.get(key).and_then(|node| Some((node.text()?, node))) {
            Some((text, node)) => Setting::new(name, text, &lines.of(node)),
            None => Setting::by_default(name, default, &origin),
        }));
    }
}

fn pre_stop(container: &Node, at: &Origin, lines: &Lines<'_>, settings: &mut Vec<Setting>) {
    let Some(node) = container.at(&["lifecycle", "preStop"]) else {
        settings.push(Setting::by_default("pre-stop", "none", at));
        return;
    };
    let origin = lines.of(node);
    if let Some(seconds) = node.text_at(&["sleep", "seconds"]) {
        settings.push(Setting::new("pre-stop", "sleep", &origin));
        settings.push(Setting::new("pre-stop-delay", seconds, &origin));
        return;
    }
    let words = node.at(&["exec", "command"]).map(Node::items).unwrap_or_default();
    let text: Vec<&str> = words.iter().filter_map(Node::text).flat_map(str::split_whitespace).collect();
    let form = if node.get("httpGet").is_some() { "http" } else { "exec" };
    settings.push(Setting::new("pre-stop", form, &origin));
    let slept =
        text.iter().position(|word| word.rsplit('/').next() == Some("sleep")).and_then(|at| text.get(at + 1));
    if let Some(seconds) = slept.and_then(|text| text.trim_end_matches(['s', ';']).parse::<f64>().ok()) {
        settings.push(Setting::new("pre-stop-delay", number(seconds), &origin));
    }
}
