//! What the process says when it is ready: what it serves, where, and what to do next.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use model::Gateway;
use model::gateway::ListenAddress;

/// A listener as it is bound.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) address: ListenAddress,
    pub(crate) tls: bool,
}

/// The facts of a start.
#[derive(Debug)]
pub(crate) struct Started<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) sources: &'a [PathBuf],
    pub(crate) listeners: Vec<Bound>,
    pub(crate) admin: SocketAddr,
    pub(crate) data: &'a Path,
    /// Made just now, and shown only this once.
    pub(crate) admin_token: Option<&'a str>,
}

impl std::fmt::Display for Started<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "clearway {}", env!("CARGO_PKG_VERSION"))?;
        match self.sources {
            [] => {}
            sources => {
                let shown: Vec<String> = sources.iter().map(|path| path.display().to_string()).collect();
                write!(f, " with {}", shown.join(", "))?;
            }
        }
        f.write_char('\n')?;
        for listener in &self.listeners {
            writeln!(f, "listening on {listener}")?;
        }
        writeln!(f, "management on http://{}", self.admin)?;
        self.write_services(f)?;
        writeln!(f, "data in {}", self.data.display())?;
        if let Some(token) = self.admin_token {
            writeln!(f, "admin token, shown only this once: {token}")?;
        }
        let data = match self.data == Path::new("clearway-data") {
            true => String::new(),
            false => format!(" --data {}", self.data.display()),
        };
        write!(f, "see what was served with: clearway calls{data}")
    }
}

impl Started<'_> {
    fn write_services(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.gateway.services.is_empty() {
            return writeln!(
                f,
                "nothing is configured, so every request gets a 404; put clearway in front of an API with: clearway up \
                 --to http://127.0.0.1:8000"
            );
        }
        for service in &self.gateway.services {
            let mut targets: Vec<&str> = Vec::new();
            for route in &service.routes {
                let upstream = self.gateway.upstreams.get(&route.upstream);
                for target in upstream.iter().flat_map(|upstream| &upstream.targets) {
                    if !targets.contains(&&*target.url) {
                        targets.push(&target.url);
                    }
                }
            }
            writeln!(f, "serving {} from {}", service.name, targets.join(", "))?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.address {
            ListenAddress::Tcp(address) if self.tls => write!(f, "https://{address}"),
            ListenAddress::Tcp(address) => write!(f, "http://{address}"),
            unix @ ListenAddress::Unix(_) => write!(f, "{unix}"),
        }
    }
}
