//! Kubernetes manifests: workloads with their probes and containers, Services and what they select, Ingresses as routes.

mod ingress;
mod workload;

use std::collections::BTreeMap;

use super::files::Files;
use super::yaml::{self, Lines, Node};
use super::{FILE_BYTES_MAX, Format, Part, Role, Setting, Source, Wide};

pub(super) const PRODUCT: &str = "kubernetes";

/// A Service, as far as it chooses Pods.
#[derive(Clone, Debug)]
pub(super) struct Service {
    name: String,
    namespace: String,
    selector: BTreeMap<String, String>,
    /// Its port and the port of the container: a number or a name.
    ports: Vec<(String, String)>,
}

impl Service {
    /// The names under which Pods know it.
    fn hosts(&self) -> Vec<String> {
        let (name, namespace) = (&self.name, &self.namespace);
        vec![
            name.clone(),
            format!("{name}.{namespace}"),
            format!("{name}.{namespace}.svc"),
            format!("{name}.{namespace}.svc.cluster.local"),
        ]
    }
}

/// What the manifests of a set say of each other: a Service and its workload often stand in different files.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    services: Vec<Service>,
    pods: Vec<Pods>,
}

/// The Pods of a workload.
#[derive(Debug)]
struct Pods {
    namespace: String,
    labels: BTreeMap<String, String>,
    /// Numbers and names of the ports that its containers declare.
    ports: Vec<String>,
}

pub(super) fn cluster(sources: &[Source]) -> Cluster {
    let mut cluster = Cluster::default();
    for source in sources {
        let format = source.format.or_else(|| Format::of(&source.path, &source.text));
        if format != Some(Format::Kubernetes) || source.text.len() > FILE_BYTES_MAX {
            continue;
        }
        for object in objects(source, &mut Part::default()) {
            cluster.services.extend(service(&object));
            let labels = pod_labels(&object);
            if !labels.is_empty() {
                cluster.pods.push(Pods { namespace: namespace(&object), labels, ports: ports(&object) });
            }
        }
    }
    cluster
}

pub(super) fn read(source: &Source, files: &dyn Files, part: &mut Part) {
    let lines = Lines::new(&source.path, &source.text);
    for object in objects(source, part) {
        match object.text_at(&["kind"]).unwrap_or_default() {
            "Deployment" | "StatefulSet" | "DaemonSet" | "Pod" => {
                workload::read(&object, &lines, files, part)
            }
            "Service" => service_settings(&object, &lines, part),
            "Ingress" => ingress::read(&object, &lines, part),
            _ => {}
        }
    }
}

/// The objects of a file; a `List` holds others.
fn objects(source: &Source, part: &mut Part) -> Vec<Node> {
    let mut objects: Vec<Node> = Vec::new();
    for document in yaml::documents(&source.path, &source.text, part) {
        if document.text_at(&["kind"]) == Some("List") {
            objects.extend(document.get("items").map(Node::items).unwrap_or_default().to_vec());
        } else {
            objects.push(document);
        }
    }
    objects
}

fn labels(node: Option<&Node>) -> BTreeMap<String, String> {
    let entries = node.map(Node::entries).unwrap_or_default();
    entries.iter().filter_map(|(name, value)| Some((name.clone(), value.text()?.to_owned()))).collect()
}

fn namespace(object: &Node) -> String {
    object.text_at(&["metadata", "namespace"]).unwrap_or("default").to_owned()
}

/// The labels that Pods of a workload have.
fn pod_labels(object: &Node) -> BTreeMap<String, String> {
    match object.text_at(&["kind"]) {
        Some("Pod") => labels(object.at(&["metadata", "labels"])),
        _ => labels(object.at(&["spec", "template", "metadata", "labels"])),
    }
}

/// Numbers and names of the ports of its containers.
fn ports(object: &Node) -> Vec<String> {
    let kind = object.text_at(&["kind"]);
    let pod = if kind == Some("Pod") { object.get("spec") } else { object.at(&["spec", "template", "spec"]) };
    let containers = pod.and_then(|pod| pod.get("containers")).map(Node::items).unwrap_or_default();
    let ports =
        containers.iter().flat_map(|container| container.get("ports").map(Node::items).unwrap_or_default());
    let names = ports.flat_map(|port| [port.text_at(&["containerPort"]), port.text_at(&["name"])]);
    names.flatten().map(str::to_owned).collect()
}

fn service(object: &Node) -> Option<Service> {
    if object.text_at(&["kind"]) != Some("Service") {
        return None;
    }
    let ports = object.at(&["spec", "ports"]).map(Node::items).unwrap_or_default();
    let port = |node: &Node| {
        let port = node.text_at(&["port"])?.to_owned();
        let target = node.text_at(&["targetPort"]).map_or_else(|| port.clone(), str::to_owned);
        Some((port, target))
    };
    Some(Service {
        name: object.text_at(&["metadata", "name"])?.to_owned(),
        namespace: namespace(object),
        selector: labels(object.at(&["spec", "selector"])),
        ports: ports.iter().filter_map(port).collect(),
    })
}

fn service_settings(object: &Node, lines: &Lines<'_>, part: &mut Part) {
    let Some(service) = service(object) else { return };
    let unit = Some(format!("service/{}", service.name));
    let mut settings = Vec::new();
    for node in object.at(&["spec", "ports"]).map(Node::items).unwrap_or_default() {
        if let Some(port) = node.get("port") {
            settings.extend(port.text().map(|text| Setting::new("port", text, &lines.of(port))));
        }
        let target = node.get("targetPort").or_else(|| node.get("port"));
        if let Some(target) = target
            && let Some(text) = target.text()
        {
            let setting = Setting::new("target-port", text, &lines.of(target));
            let chosen =
                part.cluster.pods.iter().filter(|pods| selects(&service, &pods.namespace, &pods.labels));
            // Containers need not declare their ports; if they do, one of them is meant.
            let declared: Vec<&String> = chosen.flat_map(|pods| &pods.ports).collect();
            settings.push(match (declared.is_empty(), declared.iter().any(|port| *port == text)) {
                (true, _) => setting,
                (false, true) => setting.more("served", "yes"),
                (false, false) => setting.more("served", "no"),
            });
        }
    }
    if let Some(node) = object.at(&["spec", "selector"]) {
        let pairs: Vec<String> =
            service.selector.iter().map(|(name, value)| format!("{name}={value}")).collect();
        settings.push(Setting::new("selector", pairs.join(","), &lines.of(node)));
        let pods = &part.cluster.pods;
        let selected = pods.iter().any(|pods| selects(&service, &pods.namespace, &pods.labels));
        // Without any workload in the set nothing is known of what is selected.
        if !pods.is_empty() {
            settings.push(Setting::new("selected", if selected { "yes" } else { "no" }, &lines.of(node)));
        }
    }
    part.wide.push(Wide { product: PRODUCT, role: Role::Workload, unit, of: None, settings });
}

fn selects(service: &Service, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    !service.selector.is_empty()
        && !labels.is_empty()
        && *namespace == service.namespace
        && service.selector.iter().all(|(name, value)| labels.get(name) == Some(value))
}
