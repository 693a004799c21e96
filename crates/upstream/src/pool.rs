//! The connections of one worker: idle ones by target, last in first out, and those in use as leases.
//!
//! A connection is taken only if it is younger than the upstream's limits and its socket shows neither an end nor
//! bytes that nobody asked for. A sweep once a second closes what has outlived its time, and what leads to an address
//! that the target's name no longer stands for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use model::gateway::Scheme;
use model::{Limit, LimitName, Reuse};
use wire::http1::HeadLimits;

use crate::connection::Connection;
use crate::dial::{DialTimes, Purpose, dial};
use crate::failure::Failure;
use crate::http1::Http1;
use crate::http2::Http2Connection;
use crate::slot::Slot;
use crate::target::{Target, TargetState, Upstream};

/// How often outlived connections are looked for.
pub const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Idle connections of one worker.
#[derive(Debug, Default)]
pub struct Pool {
    targets: RefCell<HashMap<u64, Idle, ahash::RandomState>>,
}

#[derive(Debug)]
struct Idle {
    target: Arc<Target>,
    settings: model::gateway::Pool,
    http1: Vec<(Box<Http1>, Rc<Open>)>,
    http2: Vec<(Http2Connection, Rc<Open>)>,
}

/// An open connection: counted for as long as it lives, shared by the exchanges on it.
#[derive(Debug)]
struct Open {
    state: Arc<TargetState>,
    address: Option<SocketAddr>,
}

/// A connection in use for one exchange. Dropping it closes the connection (HTTP/2: cancels the stream).
#[derive(Debug)]
pub struct Lease {
    pub connection: Connection,
    pub slot: Slot,
    open: Rc<Open>,
}

/// The limits of response heads that an upstream allows.
pub fn head_limits(upstream: &Upstream) -> HeadLimits {
    let limits = &upstream.settings.limits;
    HeadLimits { head_bytes: limits.head_bytes.as_usize(), fields: limits.fields, target_bytes: 0 }
}

impl Pool {
    /// A new connection to the target of the slot.
    pub async fn dial(&self, slot: Slot, purpose: Purpose, times: &mut DialTimes) -> Result<Lease, Failure> {
        let (upstream, target) = (slot.upstream(), slot.target());
        // A PROXY header speaks for one client: such a connection is not for another.
        let may_share = upstream.settings.proxy_protocol.is_none();
        let dialed = dial(upstream, target, purpose, times).await?;
        let open = Open::new(target, dialed.address);
        let is_http2 = match target.settings.scheme {
            Scheme::H2c => true,
            Scheme::Https => dialed.transport.alpn() == Some(b"h2"),
            Scheme::Http | Scheme::Uwsgi => false,
        };
        let connection = if is_http2 {
            let shared = Http2Connection::handshake(dialed.transport, &head_limits(upstream)).await?;
            let Some(stream) = shared.open(Instant::now()) else {
                return Err(Failure::new(model::Phase::Connect, model::Fault::StreamRefused)
                    .with_detail("the target allows no streams"));
            };
            if may_share {
                self.with_idle(upstream, target, |idle| idle.http2.push((shared, open.clone())));
            }
            Connection::Http2(Box::new(stream))
        } else {
            let uwsgi = target.settings.scheme == Scheme::Uwsgi;
            Connection::Http1(Box::new(Http1::new(dialed.transport, uwsgi)))
        };
        Ok(Lease { connection, slot, open })
    }

    /// A pooled connection to the target of the slot, if there is a good one; for an upgrade one of HTTP/1.1. Without one
    /// the slot is given back.
    pub fn take(&self, slot: Slot, upgrade: bool, now: Instant) -> Result<(Lease, Reuse), Slot> {
        let mut targets = self.targets.borrow_mut();
        let Some(idle) = targets.get_mut(&slot.target().id) else { return Err(slot) };
        while let Some((mut connection, open)) = idle.http1.pop() {
            if !is_good(&mut connection, slot.target(), idle.settings, now) {
                continue;
            }
            let idle_for = now.saturating_duration_since(connection.idle_since);
            let reuse = Reuse { requests: connection.served, idle: idle_for };
            return Ok((Lease { connection: Connection::Http1(connection), slot, open }, reuse));
        }
        if upgrade {
            return Err(slot);
        }
        let settings = idle.settings;
        idle.http2.retain_mut(|(connection, _)| {
            connection.is_open() && !connection.outlived(now, settings.idle, settings.age)
        });
        let found = idle.http2.iter().find_map(|(shared, open)| {
            let reuse = Reuse { requests: shared.served(), idle: shared.idle(now) };
            Some((Connection::Http2(Box::new(shared.open(now)?)), open.clone(), reuse))
        });
        match found {
            Some((connection, open, reuse)) => Ok((Lease { connection, slot, open }, reuse)),
            None => Err(slot),
        }
    }

    /// Takes a connection back after its exchange, if another request may follow on it.
    pub fn release(&self, lease: Lease, now: Instant) {
        let Lease { connection, slot, open } = lease;
        let (upstream, target) = (slot.upstream(), slot.target());
        let Connection::Http1(mut connection) = connection else { return };
        let may_share = upstream.settings.proxy_protocol.is_none();
        if !(connection.is_reusable() && may_share && target.is_at(open.address)) {
            return;
        }
        if let Some(limit) = connection.announced_idle() {
            target.state.idle_limit.announced(limit);
        }
        connection.park(now);
        self.with_idle(upstream, target, |idle| {
            if idle.http1.len() < idle.settings.idle_max {
                idle.http1.push((connection, open));
            }
        });
    }

    fn with_idle(&self, upstream: &Upstream, target: &Arc<Target>, then: impl FnOnce(&mut Idle)) {
        let mut targets = self.targets.borrow_mut();
        then(targets.entry(target.id).or_insert_with(|| Idle {
            target: target.clone(),
            settings: upstream.settings.pool,
            http1: Vec::new(),
            http2: Vec::new(),
        }));
    }

    /// Closes what has outlived its time, was closed by the target, or leads where its name no longer points.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.targets.borrow_mut().retain(|_, idle| {
            let settings = idle.settings;
            let target = &idle.target;
            idle.http1.retain_mut(|(connection, open)| {
                is_good(connection, target, settings, now) && target.is_at(open.address)
            });
            // Exchanges under way keep their connection to their end.
            idle.http2.retain_mut(|(connection, open)| {
                connection.is_open()
                    && !connection.outlived(now, settings.idle, settings.age)
                    && target.is_at(open.address)
            });
            // The map's own reference is not a user.
            !(idle.http1.is_empty() && idle.http2.is_empty()) || Arc::strong_count(&idle.target) > 1
        });
    }

    /// Idle connections, for the metrics.
    pub fn idle_count(&self) -> usize {
        self.targets.borrow().values().map(|idle| idle.http1.len() + idle.http2.len()).sum()
    }
}

/// Whether an idle connection can take another request. One that its target has closed teaches how long it may idle.
fn is_good(connection: &mut Http1, target: &Target, settings: model::gateway::Pool, now: Instant) -> bool {
    let idle_limit = &target.state.idle_limit;
    if connection.outlived(now, idle_limit.retire_after(now, settings.idle), settings.age) {
        return false;
    }
    let alive_until = connection.alive_at;
    let is_alive = connection.is_alive(now);
    if !is_alive {
        idle_limit.closed_after(now, alive_until.saturating_duration_since(connection.idle_since));
    }
    is_alive
}

impl Open {
    fn new(target: &Target, address: Option<SocketAddr>) -> Rc<Open> {
        target.state.connections.fetch_add(1, Ordering::Relaxed);
        Rc::new(Open { state: target.state.clone(), address })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.state.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lease {
    /// This limit ended the attempt. If the target was silent meanwhile, its connection may not be lent again.
    pub fn ran_out(&self, limit: Limit) {
        let Limit::Time { name: LimitName::AwaitHead | LimitName::Send | LimitName::Total, .. } = limit
        else {
            return;
        };
        match &self.connection {
            // It is closed with the exchange.
            Connection::Http1(_) => {}
            Connection::Http2(stream) => stream.ran_out(),
        }
    }

    pub fn upstream(&self) -> &Arc<Upstream> {
        self.slot.upstream()
    }

    pub fn target(&self) -> &Arc<Target> {
        self.slot.target()
    }

    /// The address of the target; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.open.address
    }
}
