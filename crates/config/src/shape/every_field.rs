//! Every field that a person can set reaches the gateway: each one is set to its example, at every place of the file
//! where it can stand, and the result must be another one. What the reference calls a default must be it.

use std::path::Path;

use crate::decode::{FieldShape, Object, Presence, Shape, Shaped, key_of};
use crate::shape::Root;
use crate::{Checked, Lookup, Overrides, Source};

/// What stands beside a field so that the file is valid with it.
const COMPANIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "Root",
        &[
            ("upstreams", "[{ name: shop, targets: [\"http://127.0.0.1:1\"] }]"),
            ("consumers", "[{ name: alice, api-keys: [\"${env:ALICE_KEY}\"] }]"),
            ("trusted-proxies", "[192.0.2.1]"),
            // Without it, nothing of providers and models reaches anybody.
            ("services", "[{ name: ai, ai: {} }]"),
        ],
    ),
    // Else a route is named after its path.
    ("Route", &[("name", "r")]),
    ("Service", &[("name", "api"), ("upstream", "shop")]),
    // Some checks are for targets of HTTP/2 only.
    ("Upstream", &[("targets", "[\"h2c://127.0.0.1:8000\"]")]),
    ("Check", &[("http", "/healthz")]),
    ("Limit", &[("requests", "7/day")]),
    ("Balance", &[("by", "hash"), ("key", "client-address")]),
];

/// What a field is compared with where leaving it out is no choice, or means the same as the example.
const INSTEAD: &[(&str, &str, &str)] = &[
    ("Balance", "by", "by: round-robin"),
    ("Balance", "key", "key: client-address"),
    ("Certificate", "certificate", "certificate: other.pem"),
    ("Certificate", "key", "key: other.pem"),
    ("Check", "grpc", "tcp: true"),
    ("Check", "http", "tcp: true"),
    ("Check", "tcp", "http: /healthz"),
    ("Consumer", "name", "name: bob"),
    ("Limit", "name", "name: other"),
    ("Limit", "requests", "requests: 5/day"),
    ("Listener", "address", "address: \"127.0.0.1:2\""),
    ("ListenerTls", "certificates", "certificates: [{ certificate: other.pem, key: other.pem }]"),
    ("Model", "lanes", "lanes: [openai/other]"),
    ("Model", "name", "name: other"),
    ("Policy", "api_key", "api-key: {}"),
    ("Provider", "name", "name: anthropic"),
    ("Route", "upstream", "to: \"http://127.0.0.1:1\""),
    ("Service", "ai", "to: \"http://127.0.0.1:1\""),
    ("Service", "name", "name: other"),
    ("Service", "to", "to: \"http://127.0.0.1:1\""),
    ("Service", "upstream", "to: \"http://127.0.0.1:1\""),
    ("Stickiness", "cookie", "cookie: other"),
    ("Target", "url", "url: \"http://127.0.0.1:1\""),
    ("Upstream", "name", "name: other"),
    ("WeightedLane", "lane", "lane: openai/other"),
    ("Webhook", "url", "url: \"https://other.example\""),
    ("Upstream", "targets", "targets: [\"http://127.0.0.1:1\"]"),
];

/// The only value of `present` is true; the examples of `headers` and the others use it.
const WITHOUT_CHOICE: &[(&str, &str)] = &[("Presence", "present")];

struct Case {
    path: String,
    without: String,
    with: String,
    with_default: Option<String>,
}

fn cases(object: &Object, path: &str, wrap: &dyn Fn(&str) -> String, cases_found: &mut Vec<Case>) {
    for field in object.fields {
        let key = key_of(field.ident);
        let path = format!("{path}.{key}");
        let around = companions(object, field);
        let whole = |entry: &str| wrap(&format!("{{ {around}{entry} }}"));
        if !WITHOUT_CHOICE.contains(&(object.name, field.ident)) {
            let instead = INSTEAD.iter().find(|(of, ident, _)| (*of, *ident) == (object.name, field.ident));
            cases_found.push(Case {
                path: path.clone(),
                without: whole(instead.map_or("", |(_, _, text)| text)),
                with: whole(&format!("{key}: {}", field.example)),
                with_default: match field.presence {
                    Presence::Default(default) if !default.contains("[]") && default != "[{}]" => {
                        Some(whole(&format!("{key}: {default}")))
                    }
                    _ => None,
                },
            });
        }
        inner(&(field.shape)(), &path, &|text| whole(&format!("{key}: {text}")), cases_found);
    }
}

fn inner(shape: &Shape, path: &str, wrap: &dyn Fn(&str) -> String, cases_found: &mut Vec<Case>) {
    match shape {
        Shape::Scalar(_) => {}
        Shape::List { items, .. } => inner(items, path, &|text| wrap(&format!("[{text}]")), cases_found),
        Shape::Map { values, .. } => {
            inner(values, path, &|text| wrap(&format!("{{ x: {text} }}")), cases_found)
        }
        Shape::Object(object) | Shape::OneKeyOf(object) => cases(object, path, wrap, cases_found),
        Shape::Either(one, other) => {
            inner(one, path, wrap, cases_found);
            inner(other, path, wrap, cases_found);
        }
    }
}

fn companions(object: &Object, field: &FieldShape) -> String {
    let key = key_of(field.ident);
    let listed = COMPANIONS.iter().find(|(of, _)| *of == object.name).map_or(&[][..], |(_, list)| list);
    let mut entries: Vec<(String, &str)> = listed.iter().map(|(key, text)| ((*key).into(), *text)).collect();
    for required in object.fields.iter().filter(|field| field.presence == Presence::Required) {
        let key = key_of(required.ident);
        if !entries.iter().any(|(known, _)| *known == key) {
            entries.push((key, required.example));
        }
    }
    if (object.name, field.ident) == ("Route", "rewrite") {
        entries.push(("paths".into(), "[\"/items/{id}\"]"));
    }
    entries.retain(|(known, _)| *known != key);
    if matches!((object.name, field.ident), ("Service", "to" | "ai")) {
        entries.retain(|(known, _)| known != "upstream");
    }
    if (object.name, field.ident) == ("Balance", "by") {
        entries.clear();
    }
    if matches!((object.name, field.ident), ("Check", "grpc" | "tcp")) {
        entries.retain(|(known, _)| known != "http");
    }
    entries.iter().map(|(key, text)| format!("{key}: {text}, ")).collect()
}

/// Every variable is set, every file is there.
struct Everything;

impl Lookup for Everything {
    fn env(&self, name: &str) -> Option<String> {
        Some(format!("{name}-0123456789abcdef"))
    }

    fn file(&self, _: &Path) -> Result<String, std::io::Error> {
        Ok("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n".into())
    }
}

fn build(text: &str) -> Checked {
    let source = Source { name: "clearway.yaml".into(), text: text.into() };
    crate::build(&[source], &Overrides::default(), &Everything)
        .unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

#[test]
fn every_field_reaches_the_gateway() {
    let mut found = Vec::new();
    cases(Root::OBJECT, "", &str::to_owned, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for case in found {
        let (without, with) = (build(&case.without), build(&case.with));
        assert!(
            (&without.gateway, &without.process) != (&with.gateway, &with.process),
            "{} has no effect:\n{}\n{}",
            case.path,
            case.without,
            case.with
        );
        if let Some(with_default) = case.with_default {
            let with = build(&with_default);
            let (default, stated) = ((without.gateway, without.process), (with.gateway, with.process));
            assert_eq!(default, stated, "{} has another default", case.path);
        }
    }
}
