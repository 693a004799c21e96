//! A gateway in this process: from the text of a configuration to a listening server, and the records it makes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::{Lookup, Overrides, Source};
use model::gateway::ListenAddress;
use model::{Exchange, Limit};
use proxy::{Inherited, Server, StartError};
use testkit::{Client, Http2Client, within};
use tokio::runtime::Handle;
use upstream::{Registry, Resolver};

/// A running gateway. It ends with its test: its workers stop when their connections do.
#[derive(Debug)]
pub(crate) struct Gateway {
    server: Option<Server>,
    registry_runtime: Handle,
    /// Exchanges that were taken from the queue and not yet asked for.
    taken: Vec<Exchange>,
}

struct Files;

impl Lookup for Files {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
}

/// Checks a configuration; a text without listeners gets one on a free port.
pub(crate) fn checked(text: &str) -> Arc<model::Gateway> {
    let mut text = text.to_owned();
    if !text.contains("listeners:") {
        text.push_str("\nlisteners: [{ address: \"127.0.0.1:0\" }]\n");
    }
    if !text.contains("workers:") {
        // One worker has one pool: whether a connection is reused is no accident.
        text.push_str("\nworkers: 1\n");
    }
    if !text.contains("spool:") {
        text.push_str(&format!("\nspool: {{ directory: \"{}\" }}\n", spool().display()));
    }
    let source = Source { name: "test.yaml".to_owned(), text };
    match config::build(std::slice::from_ref(&source), &Overrides::default(), &Files) {
        Ok(checked) => Arc::new(checked.gateway),
        Err(problems) => panic!("{problems:?}\n{}", source.text),
    }
}

/// Where request bodies of all tests wait. Their files have no names, so that nothing is left of them.
pub(crate) fn spool() -> std::path::PathBuf {
    std::env::temp_dir().join("clearway-tests-spool")
}

impl Gateway {
    pub(crate) fn start(text: &str) -> Gateway {
        Gateway::resolving_on(text, Handle::current())
    }

    /// One service in front of one upstream, with the upstream's settings in flow style (`timeouts: {...}`).
    pub(crate) fn to(url: &str, settings: &str) -> Gateway {
        Gateway::start(&one_upstream(url, settings))
    }

    /// Names are resolved on another runtime; one that nobody drives never answers.
    pub(crate) fn resolving_on(text: &str, runtime: Handle) -> Gateway {
        let registry = Registry::new(Resolver::new(runtime.clone()));
        match Server::start(checked(text), registry) {
            Ok(server) => Gateway { server: Some(server), registry_runtime: runtime, taken: Vec::new() },
            Err(error) => panic!("{error:?}"),
        }
    }

    /// With sockets that are there already.
    pub(crate) fn inheriting(text: &str, inherited: Vec<Inherited>) -> Result<Gateway, StartError> {
        let runtime = Handle::current();
        let registry = Registry::new(Resolver::new(runtime.clone()));
        let server = Server::prepare(checked(text), registry, inherited)?.serve()?;
        Ok(Gateway { server: Some(server), registry_runtime: runtime, taken: Vec::new() })
    }

    pub(crate) fn server(&mut self) -> &mut Server {
        self.server.as_mut().unwrap()
    }

    /// The address of the only listener.
    pub(crate) fn address(&self) -> SocketAddr {
        match &self.server.as_ref().unwrap().listeners().next().unwrap().bound {
            ListenAddress::Tcp(address) => *address,
            ListenAddress::Unix(path) => panic!("it listens on {}", path.display()),
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::tcp(self.address()).await
    }

    pub(crate) async fn http2_client(&self) -> Http2Client {
        Http2Client::over(self.client().await).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, target: &str) -> testkit::Response {
        self.client().await.get(target).await
    }

    /// The next `n` exchanges, in the order in which they ended.
    pub(crate) async fn records(&mut self, n: usize) -> Vec<Exchange> {
        let shared = self.server.as_ref().unwrap().shared().clone();
        let taken = &mut self.taken;
        within("records", async {
            loop {
                taken.extend(shared.records.take(Vec::new()));
                if taken.len() >= n {
                    return taken.drain(..n).collect();
                }
                shared.records.filled().await;
            }
        })
        .await
    }

    pub(crate) async fn record(&mut self) -> Exchange {
        self.records(1).await.remove(0)
    }

    /// Waits until so many requests wait for a target of the upstream `app`.
    pub(crate) async fn until_waiting(&self, count: usize) {
        let shared = self.server.as_ref().unwrap().shared();
        within("requests that wait", async {
            while shared.serving.load().upstreams.get("app").unwrap().waiting() != count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// What has been recorded and not asked for, without waiting.
    pub(crate) fn more_records(&mut self) -> Vec<Exchange> {
        let shared = self.server.as_ref().unwrap().shared().clone();
        self.taken.extend(shared.records.take(Vec::new()));
        std::mem::take(&mut self.taken)
    }

    pub(crate) fn reload(&mut self, text: &str) -> Result<(), StartError> {
        self.server().reload(checked(text))
    }

    /// Drains on another thread, because it waits.
    pub(crate) fn drain(&mut self, grace: Duration) -> tokio::task::JoinHandle<bool> {
        let server = self.server.take().unwrap();
        self.registry_runtime.spawn_blocking(move || server.drain(grace))
    }
}

pub(crate) fn one_upstream(url: &str, settings: &str) -> String {
    let comma = if settings.is_empty() { "" } else { ", " };
    format!(
        "upstreams: [{{ name: app, targets: [\"{url}\"]{comma}{settings} }}]\n\
         services: [{{ name: shop, upstream: app }}]\n"
    )
}

/// An exchange as one line: status, ending, and each attempt with its ending and what is known of its end.
pub(crate) fn line(exchange: &Exchange) -> String {
    let mut text = format!("{} {}", exchange.status, ending(&exchange.ending));
    for attempt in &exchange.attempts {
        text.push_str(&format!(" | {}", ending(&attempt.ending)));
        if let Some(reuse) = &attempt.reuse {
            text.push_str(&format!(" reused:{}", reuse.requests));
        }
        if let Some(status) = attempt.status {
            text.push_str(&format!(" status:{status}"));
        }
        if let Some(end) = attempt.peer_end {
            text.push_str(&format!(" {end:?}").to_lowercase());
        }
        if let Some(errno) = attempt.errno {
            text.push_str(&format!(" {}", errno_name(errno)));
        }
        if let Some(alert) = attempt.tls_alert {
            text.push_str(&format!(" alert:{alert}"));
        }
        match attempt.limit {
            Some(Limit::Bytes { name, max } | Limit::Count { name, max }) => {
                text.push_str(&format!(" {name}:{max}"));
            }
            Some(Limit::Time { name, max }) => text.push_str(&format!(" {name}:{max:?}")),
            None => {}
        }
    }
    text
}

pub(crate) fn ending(ending: &model::Ending) -> String {
    let fault = ending.fault.map_or("ok", model::Fault::id);
    format!("{} {} {fault}", ending.by.id(), ending.during.id())
}

fn errno_name(errno: i32) -> String {
    match errno {
        11 => "EAGAIN".to_owned(),
        32 => "EPIPE".to_owned(),
        104 => "ECONNRESET".to_owned(),
        111 => "ECONNREFUSED".to_owned(),
        2 => "ENOENT".to_owned(),
        other => format!("errno:{other}"),
    }
}
