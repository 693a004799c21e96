//! Ingresses as sites of ingress-nginx, whose annotations stand for settings of nginx.

use super::namespace;
use crate::config::quantity::{bytes, nginx_time};
use crate::config::yaml::{Lines, Node};
use crate::config::{Matching, Part, Route, Setting, Site, Target};

const PRODUCT: &str = "ingress-nginx";
const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// Ours, the annotation, whether it is a time; what the controller does without it.
const ANNOTATIONS: &[(&str, &str, Form, Option<&str>)] = &[
    ("connect-timeout", "proxy-connect-timeout", Form::Time, Some("5")),
    ("send-timeout", "proxy-send-timeout", Form::Time, Some("60")),
    ("read-timeout", "proxy-read-timeout", Form::Time, Some("60")),
    ("response-header-buffer", "proxy-buffer-size", Form::Size, Some("4096")),
    ("request-body-max", "proxy-body-size", Form::Size, Some("1048576")),
    ("retry-on", "proxy-next-upstream", Form::Text, Some("error timeout")),
];

#[derive(Clone, Copy)]
enum Form {
    Size,
    Text,
    Time,
}

pub(super) fn read(object: &Node, lines: &Lines<'_>, part: &mut Part) {
    let annotations = object.at(&["metadata", "annotations"]);
    let class = object.text_at(&["spec", "ingressClassName"]);
    let is_nginx = class.is_some_and(|class| class.contains("nginx"))
        || annotations.is_some_and(|node| node.entries().iter().any(|(name, _)| name.starts_with(PREFIX)));
    let namespace = namespace(object);
    for rule in object.at(&["spec", "rules"]).map(Node::items).unwrap_or_default() {
        let origin = lines.of(rule);
        // The settings of other controllers are not known.
        let product = if is_nginx { PRODUCT } else { "ingress" };
        let mut site = Site { product, origin, ..Site::default() };
        site.names.extend(rule.text_at(&["host"]).map(str::to_owned));
        for path in rule.at(&["http", "paths"]).map(Node::items).unwrap_or_default() {
            let service = path.at(&["backend", "service"]);
            let name = service.and_then(|service| service.text_at(&["name"]));
            let port = service.and_then(|service| service.text_at(&["port", "number"]));
            let (Some(name), Some(port)) = (name, port) else { continue };
            let origin = lines.of(service.unwrap_or(path));
            let matching =
                if path.text_at(&["pathType"]) == Some("Exact") { Matching::Exact } else { Matching::Prefix };
            let mut settings = Vec::new();
            for (setting, key, form, default) in ANNOTATIONS.iter().filter(|_| is_nginx) {
                let node = annotations.and_then(|node| node.get(&format!("{PREFIX}{key}")));
                let value = node.and_then(|node| {
                    let text = node.text()?;
                    match form {
                        Form::Size => bytes(text),
                        Form::Text => Some(text.to_owned()),
                        Form::Time => nginx_time(text),
                    }
                });
                match (node.zip(value), default) {
                    (Some((node, value)), _) => settings.push(Setting::new(setting, value, &lines.of(node))),
                    (None, Some(default)) => settings.push(Setting::by_default(setting, default, &origin)),
                    (None, None) => {}
                }
            }
            if is_nginx {
                // The controller's own `upstream-keepalive-timeout`.
                settings.push(Setting::by_default("idle-timeout", 60, &origin));
            }
            let written = format!("{name}.{namespace}:{port}");
            site.routes.push(Route {
                path: path.text_at(&["path"]).unwrap_or("/").to_owned(),
                matching,
                scheme: "http".to_owned(),
                group: Some(name.to_owned()),
                targets: vec![Target { written, settings: Vec::new(), origin: origin.clone() }],
                settings,
                origin,
            });
        }
        part.sites.push(site);
    }
}
