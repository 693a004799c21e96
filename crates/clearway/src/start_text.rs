//! What the process says when it is ready: what it serves, where, and what to do next.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use model::Gateway;
use model::gateway::ListenAddress;

use crate::ai::NewKeys;

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
    /// Shown only this once.
    pub(crate) keys: &'a NewKeys,
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
        if let Some(token) = &self.keys.admin_token {
            writeln!(f, "admin token, shown only this once: {}", token.expose())?;
        }
        if let Some(key) = &self.keys.caller_key {
            writeln!(f, "key for callers of AI models, shown only this once: {}", key.expose())?;
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
                 --to http://127.0.0.1:8000, or set the key of a provider of AI models, such as OPENAI_API_KEY"
            );
        }
        for service in &self.gateway.services {
            if let Some(ai) = &service.ai {
                let names: Vec<&str> = ai.providers.iter().map(|provider| &*provider.name).collect();
                writeln!(f, "serving {} with AI models of {}", service.name, names.join(", "))?;
                continue;
            }
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
