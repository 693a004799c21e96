//! Which objects a diagnosis is about: what a URL or a name leads to.

use serde_json::Value;

use super::Lists;
use super::objects::{name, selects, text};

/// The objects that count; everything where nothing was asked for.
#[derive(Debug, Default)]
pub(super) struct Chosen<'a> {
    pub(super) services: Vec<&'a Value>,
    pub(super) ingresses: Vec<&'a Value>,
    pods: Vec<&'a Value>,
}

impl Chosen<'_> {
    pub(super) fn has_pod(&self, pod: &Value) -> bool {
        self.pods.iter().any(|known| std::ptr::eq(*known, pod))
    }
}

pub(super) fn choose<'a>(lists: &'a Lists, target: Option<&str>) -> Chosen<'a> {
    let Some(target) = target else {
        return Chosen {
            services: lists.services.iter().collect(),
            ingresses: lists.ingresses.iter().collect(),
            pods: lists.pods.iter().collect(),
        };
    };
    let mut chosen = Chosen::default();
    let mut names: Vec<String> = Vec::new();
    if let Some((_, rest)) = target.split_once("://") {
        let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
        let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
        if let Some((ingress, service)) = by_url(lists, host, &format!("/{path}")) {
            chosen.ingresses.push(ingress);
            names.push(service);
        }
    } else {
        names.push(target.to_owned());
        for ingress in lists.ingresses.iter().filter(|ingress| name(ingress) == target) {
            chosen.ingresses.push(ingress);
            names.extend(backends(ingress).into_iter().map(|(_, _, service)| service));
        }
    }
    chosen.services.extend(lists.services.iter().filter(|service| names.iter().any(|n| n == name(service))));
    for ingress in &lists.ingresses {
        let leads = backends(ingress).iter().any(|(_, _, service)| names.contains(service));
        if leads && !chosen.ingresses.iter().any(|known| std::ptr::eq(*known, ingress)) {
            chosen.ingresses.push(ingress);
        }
    }
    for pod in &lists.pods {
        let named = names.iter().any(|wanted| {
            name(pod) == wanted || name(pod).strip_prefix(wanted.as_str()).is_some_and(|r| r.starts_with('-'))
        });
        if named || chosen.services.iter().any(|service| selects(service, pod)) {
            chosen.pods.push(pod);
        }
    }
    // A workload or pod was named: what serves it counts as well.
    if chosen.services.is_empty() {
        let serves = |service: &&Value| chosen.pods.iter().any(|pod| selects(service, pod));
        chosen.services = lists.services.iter().filter(serves).collect();
    }
    chosen
}

/// The Ingress and Service of a URL: the host that matches, and the longest path.
fn by_url<'a>(lists: &'a Lists, host: &str, path: &str) -> Option<(&'a Value, String)> {
    let mut best: Option<(bool, usize, &Value, String)> = None;
    for ingress in &lists.ingresses {
        for (of, prefix, service) in backends(ingress) {
            let exact = of == host;
            let wild = of.strip_prefix('*').is_some_and(|end| host.ends_with(end)) || of.is_empty();
            if !(exact || wild) || !path.starts_with(prefix.trim_end_matches('/')) {
                continue;
            }
            let better = best.as_ref().is_none_or(|(e, length, _, _)| (exact, prefix.len()) > (*e, *length));
            if better {
                best = Some((exact, prefix.len(), ingress, service));
            }
        }
    }
    best.map(|(_, _, ingress, service)| (ingress, service))
}

/// Host, path and service of each rule.
pub(super) fn backends(ingress: &Value) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    if let Some(service) = text(ingress, "/spec/defaultBackend/service/name") {
        found.push((String::new(), "/".to_owned(), service.to_owned()));
    }
    for rule in ingress.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten() {
        let host = text(rule, "/host").unwrap_or_default();
        for path in rule.pointer("/http/paths").and_then(Value::as_array).into_iter().flatten() {
            if let Some(service) = text(path, "/backend/service/name") {
                let prefix = text(path, "/path").unwrap_or("/");
                found.push((host.to_owned(), prefix.to_owned(), service.to_owned()));
            }
        }
    }
    found
}
