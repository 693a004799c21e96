//! Makes upstreams of settings, and finds again what the process knows of their targets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use model::gateway::{Endpoint, Scheme};
use rustls::pki_types::ServerName;

use super::{Target, TargetState, Upstream};
use crate::balance::Balancer;
use crate::budget::RetryBudget;
use crate::failure_share::FailureShares;
use crate::resolve::{ResolvedName, Resolver};
use crate::sticky;
use crate::tail::Tail;
use crate::tls::{self, CertificateError};
use crate::waiting::WaitingRoom;

/// The state of each target that somebody uses, by the names of upstream and target.
type States = HashMap<(Arc<str>, Arc<str>), Weak<TargetState>>;
/// Those who wait for each upstream, by its name.
type Rooms = HashMap<Arc<str>, Weak<WaitingRoom>>;

/// Everything of upstreams that belongs to the process. One per process.
#[derive(Debug)]
pub struct Registry {
    pub resolver: Arc<Resolver>,
    states: Mutex<States>,
    rooms: Mutex<Rooms>,
    next_id: AtomicU64,
    notices: Notices,
}

/// Takes what people should know: one sentence each.
#[derive(Clone)]
pub(super) struct Notices(pub(super) Arc<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for Notices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notices")
    }
}

impl Registry {
    pub fn new(resolver: Arc<Resolver>) -> Registry {
        let notices = Notices(Arc::new(|_| {}));
        let (states, rooms) = (Mutex::default(), Mutex::default());
        Registry { resolver, states, rooms, next_id: AtomicU64::new(1), notices }
    }

    /// Upstreams made from now on tell what people should know: a check that can never pass, a target that its checks take
    /// out or bring back.
    #[must_use]
    pub fn telling(mut self, notice: impl Fn(&str) + Send + Sync + 'static) -> Registry {
        self.notices = Notices(Arc::new(notice));
        self
    }

    /// Makes an upstream, and changes nothing for the one that serves: that is up to [`Upstream::take_over`]. An unchanged one
    /// is to be kept by the caller, with its connections.
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
        Ok(Arc::new(Upstream {
            settings: settings.clone(),
            targets,
            budget: Mutex::new(RetryBudget::new(Instant::now())),
            balancer: Balancer::new(settings),
            has_zones: has_zones(settings),
            room: self.room(&settings.name),
            tail: Tail::default(),
            ejecting: Mutex::new(FailureShares::new(settings.targets.len())),
            runtime: self.resolver.runtime().clone(),
            notices: self.notices.clone(),
            is_checked: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
            tls,
            tls_files,
        }))
    }

    fn room(&self, name: &Arc<str>) -> Arc<WaitingRoom> {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|_, room| room.strong_count() > 0);
        let room = rooms.get(name).and_then(Weak::upgrade).unwrap_or_default();
        rooms.insert(name.clone(), Arc::downgrade(&room));
        room
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
            token: sticky::token(&upstream.name, &settings.url),
            state,
        }))
    }
}

/// Whether there is something to prefer.
fn has_zones(settings: &model::gateway::Upstream) -> bool {
    let own = settings.targets.iter().filter(|target| target.zone == settings.zone).count();
    settings.zone.is_some() && own > 0 && own < settings.targets.len()
}
