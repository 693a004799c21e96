//! What good configurations come to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Overrides, Source};
use model::ByteSize;
use model::gateway::{Endpoint, PathMatch, Policy, Scheme};

use super::{Outside, build, build_all};

#[test]
fn nothing_is_the_default_listener_and_no_service() {
    let checked = config::build(&[], &Overrides::default(), &Outside::default()).unwrap();
    let gateway = checked.gateway;
    assert_eq!(gateway.listeners.len(), 1);
    assert_eq!(gateway.listeners[0].address.to_string(), "0.0.0.0:8080");
    assert!(gateway.services.is_empty() && gateway.upstreams.is_empty() && gateway.consumers.is_empty());
    assert_eq!(checked.process.admin.to_string(), "127.0.0.1:8081");
    assert_eq!(checked.process.data, Path::new("clearway-data"));
    assert!(checked.warnings.is_empty() && checked.files.is_empty());
    // An empty file is no file.
    assert_eq!(build("# nothing yet\n", &Outside::default()).unwrap().gateway, gateway);
}

#[test]
fn the_defaults_are_those_of_the_model() {
    let checked = build("services: [{ name: shop, to: http://app }]", &Outside::default()).unwrap();
    let listener = &checked.gateway.listeners[0];
    assert_eq!(listener.timeouts.client_head, Duration::from_secs(15));
    assert_eq!(listener.timeouts.keep_alive, Duration::from_secs(75));
    assert_eq!(listener.limits.head_bytes, ByteSize::kib(32));
    assert_eq!(listener.limits.fields, 100);
    let upstream = &checked.gateway.upstreams["shop"];
    assert_eq!(upstream.timeouts.connect, Duration::from_secs(2));
    assert_eq!(upstream.timeouts.total, None);
    assert_eq!(upstream.limits.head_bytes, ByteSize::kib(64));
    assert_eq!(upstream.pool.idle, Duration::from_millis(1500));
    let route = &checked.gateway.services[0].routes[0];
    assert_eq!(route.body_bytes_max, Some(ByteSize::mib(100)));
    assert_eq!(route.matches, model::gateway::Match::default());
    assert_eq!(&*route.upstream, "shop");
}

#[test]
fn options_stand_beside_and_above_files() {
    let files = [Source {
        name: "conf/clearway.yaml".into(),
        text: "listeners: [{ address: 127.0.0.1:1 }, { address: 127.0.0.1:2 }]\n\
               services: [{ name: shop, to: http://app, routes: [{ paths: [/shop/*] }] }]\n\
               admin: 127.0.0.1:3\ndata: data\n"
            .into(),
    }];
    let overrides = Overrides {
        to: Some("unix:./app.sock".into()),
        listen: vec!["127.0.0.1:0".into(), "127.0.0.1:0".into()],
        admin: Some("127.0.0.1:4".into()),
        data: Some("elsewhere".into()),
        providers: Vec::new(),
    };
    let checked = config::build(&files, &overrides, &Outside::default()).unwrap();
    assert_eq!(checked.warnings, []);
    let addresses: Vec<String> =
        checked.gateway.listeners.iter().map(|listener| listener.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:0", "127.0.0.1:0"]);
    let names: Vec<&str> = checked.gateway.services.iter().map(|service| &*service.name).collect();
    assert_eq!(names, ["shop", "default"]);
    let target = &checked.gateway.upstreams["default"].targets[0];
    assert_eq!(target.endpoint, Endpoint::Unix("app.sock".into()));
    assert_eq!(checked.process.admin.to_string(), "127.0.0.1:4");
    assert_eq!(checked.process.data, Path::new("elsewhere"));

    let from_file = config::build(&files, &Overrides::default(), &Outside::default()).unwrap();
    assert_eq!(from_file.process.data, Path::new("conf/data"));
}

#[test]
fn what_is_wrong_with_an_option_is_said_with_its_name() {
    let overrides = Overrides {
        to: Some("127.0.0.1:8000".into()),
        listen: vec!["8080".into()],
        admin: Some("localhost:1".into()),
        data: None,
        providers: Vec::new(),
    };
    let problems = config::build(&[], &overrides, &Outside::default()).unwrap_err();
    assert_eq!(problems.errors(), 3);
    let text = problems.to_string();
    assert!(text.contains("--to: error: to: `127.0.0.1:8000` must be a URL such as "), "{text}");
    assert!(text.contains("hint: write `http://127.0.0.1:8000`"), "{text}");
    assert!(text.contains("--listen: error: address: `8080` must be an address such as "), "{text}");
    assert!(text.contains("--admin: error: admin: `localhost:1` must be an IP address and a port"), "{text}");
}

#[test]
fn several_files_are_one_configuration() {
    let upstreams = "upstreams: [{ name: shop, targets: [http://127.0.0.1:1] }]\ngrace: 5s\n";
    let services = "services: [{ name: shop, upstream: shop }]\nworkers: 3\n";
    let checked =
        build_all(&[("conf/a.yaml", upstreams), ("conf/b.yaml", services)], &Outside::default()).unwrap();
    assert_eq!(&*checked.gateway.services[0].routes[0].upstream, "shop");
    assert_eq!((checked.gateway.grace, checked.gateway.workers), (Duration::from_secs(5), Some(3)));
}

#[test]
fn a_clash_between_files_names_both_places() {
    let one =
        "grace: 5s\nlog: { format: json }\nupstreams:\n  - name: shop\n    targets: [http://127.0.0.1:1]\n";
    let two = "log: { file: a.log }\nupstreams:\n  - { name: shop, targets: [http://127.0.0.1:2] }\n";
    let problems = build_all(&[("a.yaml", one), ("b.yaml", two)], &Outside::default()).unwrap_err();
    let expected = "b.yaml:1:6: error: `log` is set already at a.yaml:2\n    hint: keep one of the two\n\
                    b.yaml:3:13: error: another upstream is named `shop`, at a.yaml:4\n    \
                    hint: give one of the two another name";
    assert_eq!(problems.to_string(), expected);
}

#[test]
fn paths_are_relative_to_the_file_that_names_them() {
    let text = "listeners: [{ address: unix:run/a.sock, tls: { certificates: [{ certificate: ./cert.pem, key: /etc/key.pem }] } }]\n\
                upstreams: [{ name: shop, targets: [unix:app.sock, uwsgi+unix:/run/uwsgi.sock] }]\n\
                services: [{ name: shop, upstream: shop, error-pages: { 502: errors/502.html } }]\n\
                consumers: [{ name: alice, api-keys: [\"${file:secret.txt}\"] }]\n\
                log: { file: access.log }\n";
    let outside = Outside::default()
        .file("conf/cert.pem", "-----BEGIN CERTIFICATE-----")
        .file("/etc/key.pem", "-----BEGIN PRIVATE KEY-----")
        .file("conf/errors/502.html", "<h1>{status}</h1>")
        .file("conf/secret.txt", "0123456789abcdef\n");
    let checked = build_all(&[("conf/clearway.yaml", text)], &outside).unwrap();
    let gateway = checked.gateway;
    assert_eq!(gateway.listeners[0].address.to_string(), "unix:conf/run/a.sock");
    let targets = &gateway.upstreams["shop"].targets;
    assert_eq!((&*targets[0].url, targets[0].scheme), ("unix:conf/app.sock", Scheme::Http));
    assert_eq!((&*targets[1].url, targets[1].scheme), ("uwsgi+unix:/run/uwsgi.sock", Scheme::Uwsgi));
    assert_eq!(&*gateway.services[0].error_pages[&502].body, "<h1>{status}</h1>");
    assert_eq!(&*gateway.services[0].error_pages[&502].content_type, "text/html; charset=utf-8");
    assert_eq!(gateway.consumers[0].api_keys[0].expose(), "0123456789abcdef");
    assert_eq!(gateway.log.file.as_deref(), Some(Path::new("conf/access.log")));
    let files =
        ["/etc/key.pem", "conf/cert.pem", "conf/errors/502.html", "conf/secret.txt"].map(PathBuf::from);
    assert_eq!(checked.files, files);
}

#[test]
fn routes_take_what_they_do_not_say_from_service_and_upstream() {
    let text = "upstreams: [{ name: shop, targets: [http://app], timeouts: { connect: 1s, total: 10s } }]\n\
                services:\n\
                - name: shop\n  upstream: shop\n  routes:\n\
                \x20 - { paths: [/a/*], timeouts: { await-head: 5s } }\n\
                \x20 - { paths: [/b/*], timeouts: { total: unlimited } }\n\
                \x20 - { paths: [/b/*], methods: [GET], to: \"http://other:1\" }\n\
                \x20 - { hosts: [example.com], policies: [{ api-key: { header: Authorization } }] }\n\
                \x20 - { priority: -1 }\n\
                consumers: [{ name: alice, api-keys: [\"${env:ALICE_KEY}\"] }]\n";
    let checked = build(text, &Outside::usual()).unwrap();
    assert_eq!(checked.warnings, []);
    let routes = &checked.gateway.services[0].routes;
    let names: Vec<&str> = routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["/a/*", "/b/*", "/b/* #2", "example.com", "/*"]);
    assert_eq!(routes[0].timeouts.await_head, Duration::from_secs(5));
    assert_eq!(routes[0].timeouts.connect, Duration::from_secs(1));
    assert_eq!(routes[0].timeouts.total, Some(Duration::from_secs(10)));
    assert_eq!(routes[1].timeouts.total, None);
    assert_eq!(routes[0].matches.paths, [PathMatch::Prefix("/a".into())]);
    assert_eq!(&*routes[2].upstream, "shop:/b/* #2");
    assert_eq!(checked.gateway.upstreams["shop:/b/* #2"].timeouts.connect, Duration::from_secs(2));
    let [Policy::ApiKey(policy)] = &*routes[3].policies else { panic!("{:?}", routes[3].policies) };
    assert_eq!((&*policy.header, policy.forward), ("authorization", false));
    assert!(policy.consumers.is_empty());
}

#[test]
fn references_are_filled_in_everywhere() {
    let text = "services: [{ name: \"${env:NAME}-api\", to: \"http://${env:HOST:-127.0.0.1}:${env:PORT}\", \
                routes: [{ headers: { x-a: \"$${env:NAME}\", x-b: \"cost $5\" } }] }]\n\
                workers: ${env:WORKERS}\n";
    let outside = Outside::default().env("NAME", "shop").env("PORT", "8000").env("WORKERS", "2");
    let gateway = build(text, &outside).unwrap().gateway;
    assert_eq!(&*gateway.services[0].name, "shop-api");
    assert_eq!(&*gateway.upstreams["shop-api"].targets[0].url, "http://127.0.0.1:8000");
    let headers = &gateway.services[0].routes[0].matches.headers;
    let values: Vec<Option<&str>> = headers.iter().map(|header| header.value.as_deref()).collect();
    assert_eq!(values, [Some("${env:NAME}"), Some("cost $5")]);
    assert_eq!(gateway.workers, Some(2));
}

#[test]
fn a_secret_is_never_shown() {
    let text = "consumers: [{ name: alice, api-keys: [\"${env:ALICE_KEY}\", in-the-clear-0123456789] }]\n";
    let checked = build(text, &Outside::usual()).unwrap();
    let debug = format!("{checked:?}");
    assert!(!debug.contains("0123456789"), "{debug}");
    assert_eq!(checked.warnings.len(), 1);
}
