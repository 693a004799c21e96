//! A running upstream: its targets, their shared state, and the choice between them.
//!
//! State that several workers must agree on (requests in flight, counts) belongs to the process and survives a reload:
//! it is found again by the names of upstream and target.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use model::gateway::{Endpoint, Scheme};
use rustls::pki_types::ServerName;

use crate::resolve::{Resolution, ResolvedName, Resolver};
use crate::tls::{self, CertificateError, ClientTls};

/// An upstream that serves.
#[derive(Debug)]
pub struct Upstream {
    pub settings: Arc<model::gateway::Upstream>,
    pub targets: Vec<Arc<Target>>,
    /// Target indices in an order that spreads the weights smoothly.
    order: Box<[u16]>,
    next: AtomicUsize,
    pub(crate) tls: Option<ClientTls>,
    /// The state of the certificate files it was made from.
    tls_files: u64,
}

/// A target that serves.
#[derive(Debug)]
pub struct Target {
    /// Unique in the process; pools know their connections by it. A target whose settings changed gets a new one.
    pub id: u64,
    pub settings: model::gateway::Target,
    /// `host:port` as a Host field wants it.
    pub authority: Box<str>,
    pub(crate) name: Option<ResolvedName>,
    pub(crate) server_name: Option<ServerName<'static>>,
    pub state: Arc<TargetState>,
}

/// What the process knows of a target.
#[derive(Debug, Default)]
pub struct TargetState {
    /// Attempts under way.
    pub in_flight: AtomicUsize,
    pub attempts: AtomicU64,
    pub failures: AtomicU64,
    /// Open connections, in use and idle.
    pub connections: AtomicUsize,
}

/// The state of each target that somebody uses, by the names of upstream and target.
type States = HashMap<(Arc<str>, Arc<str>), Weak<TargetState>>;

/// Everything of upstreams that belongs to the process. One per process.
#[derive(Debug)]
pub struct Registry {
    pub resolver: Arc<Resolver>,
    states: Mutex<States>,
    next_id: AtomicU64,
}

impl Registry {
    pub fn new(resolver: Arc<Resolver>) -> Registry {
        Registry { resolver, states: Mutex::default(), next_id: AtomicU64::new(1) }
    }

    /// Makes an upstream ready to serve. An unchanged one is to be kept by the caller, with its connections.
    pub fn upstream(
        &self,
        settings: &Arc<model::gateway::Upstream>,
    ) -> Result<Arc<Upstream>, CertificateError> {
        // Before they are used: a change in between is then seen by the next reload.
        let tls_files = tls::files_digest(&settings.tls);
        let needs_tls = settings.targets.iter().any(|target| target.scheme == Scheme::Https);
        let tls = if needs_tls { Some(tls::client_tls(&settings.tls)?) } else { None };
        let targets = settings
            .targets
            .iter()
            .map(|target| self.target(settings, target))
            .collect::<Result<Vec<_>, _>>()?;
        let weights: Vec<u32> = settings.targets.iter().map(|target| target.weight).collect();
        Ok(Arc::new(Upstream {
            settings: settings.clone(),
            targets,
            order: smooth_order(&weights),
            next: AtomicUsize::new(0),
            tls,
            tls_files,
        }))
    }

    fn target(
        &self,
        upstream: &model::gateway::Upstream,
        settings: &model::gateway::Target,
    ) -> Result<Arc<Target>, CertificateError> {
        let key = (upstream.name.clone(), settings.url.clone());
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.retain(|_, state| state.strong_count() > 0);
        let state = states.get(&key).and_then(Weak::upgrade).unwrap_or_default();
        states.insert(key, Arc::downgrade(&state));
        drop(states);
        let (name, authority) = match &settings.endpoint {
            Endpoint::Host { host, port } => {
                let name = match host.parse() {
                    Ok(address) => ResolvedName::fixed(address),
                    Err(_) => self.resolver.name(host),
                };
                let default_port = if settings.scheme == Scheme::Https { 443 } else { 80 };
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
                (Some(name), if *port == default_port { host } else { format!("{host}:{port}") })
            }
            Endpoint::Unix(_) => (None, "localhost".to_owned()),
        };
        let server_name = match (&settings.scheme, &upstream.tls.server_name, &settings.endpoint) {
            (Scheme::Https, Some(name), _) => Some(name.to_string()),
            (Scheme::Https, None, Endpoint::Host { host, .. }) => Some(host.to_string()),
            _ => None,
        };
        let server_name = server_name
            .map(|name| {
                ServerName::try_from(name.clone())
                    .map_err(|_| format!("\"{name}\" cannot be a TLS server name"))
            })
            .transpose()?;
        Ok(Arc::new(Target {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            settings: settings.clone(),
            authority: authority.into(),
            name,
            server_name,
            state,
        }))
    }
}

impl Target {
    /// Whether a connection to this address is still one to this target: its name may have moved.
    pub(crate) fn is_at(&self, address: Option<SocketAddr>) -> bool {
        match (&self.name, address) {
            (Some(name), Some(address)) => name.still_means(address.ip()),
            _ => true,
        }
    }

    /// What its name resolves to now, for people who ask: none for a Unix socket and before the first answer; the
    /// reason if there has never been one.
    pub fn addresses(&self) -> Result<Arc<[IpAddr]>, Arc<str>> {
        match self.name.as_ref().map(ResolvedName::now) {
            Some(Resolution::Known(addresses)) => Ok(addresses),
            Some(Resolution::Failed(reason)) => Err(reason),
            Some(Resolution::Pending) | None => Ok(Arc::from([])),
        }
    }
}

impl Upstream {
    /// Whether it can go on serving these settings: nothing in them changed, nor in the certificate files they name.
    pub fn is_current_for(&self, settings: &model::gateway::Upstream) -> bool {
        *self.settings == *settings && self.tls_files == tls::files_digest(&settings.tls)
    }

    /// The next target by weighted round robin, leaving out those already tried (a bit per index; targets past the
    /// 64th are never left out).
    pub fn pick(&self, tried: u64) -> Option<(usize, &Arc<Target>)> {
        // A second choice for the same request must not move the turn of the next one, or a dead target would be the first
        // choice of every request.
        let start = if tried == 0 {
            self.next.fetch_add(1, Ordering::Relaxed)
        } else {
            self.next.load(Ordering::Relaxed)
        };
        (0..self.order.len()).find_map(|step| {
            let at = start.wrapping_add(step) % self.order.len();
            let index = usize::from(*self.order.get(at)?);
            let was_tried = index < 64 && tried & (1 << index) != 0;
            if was_tried { None } else { self.targets.get(index).map(|target| (index, target)) }
        })
    }
}

/// Spreads weights as evenly as possible over one round: at each step everyone gains its weight, and the highest is
/// taken and pays the sum.
fn smooth_order(weights: &[u32]) -> Box<[u16]> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let sum: i64 = weights.iter().sum();
    let mut credit = vec![0i64; weights.len()];
    let mut order = Vec::new();
    for _ in 0..sum {
        let mut best = 0;
        for (index, weight) in weights.iter().enumerate() {
            if let Some(own) = credit.get_mut(index) {
                *own += weight;
            }
            if credit.get(index) > credit.get(best) {
                best = index;
            }
        }
        if let Some(taken) = credit.get_mut(best) {
            *taken -= sum;
        }
        order.push(best as u16);
    }
    order.into()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_spread_not_bunched() {
        assert_eq!(&*smooth_order(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(&*smooth_order(&[200, 100]), [0, 1, 0]);
        assert_eq!(&*smooth_order(&[1]), [0]);
    }
}
