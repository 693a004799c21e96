//! Names to addresses, once per process: looked up again when the TTL ends, the last good answer kept while DNS fails.
//!
//! Workers never wait for a lookup except for the very first one of a name. The lookup itself is DNS as the system's
//! `resolv.conf` and `hosts` say, because only that tells the TTL; where it has no answer, `getaddrinfo` is asked
//! too, which knows the sources of `nsswitch.conf`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// A TTL of zero would ask for each request; one of a day would miss a move. Answers without TTL count as the maximum.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(60);
/// How soon a failed lookup is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// One lookup, all servers and retries included.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of a name.
#[derive(Clone, Debug)]
pub enum Resolution {
    /// The first lookup is under way.
    Pending,
    /// Never empty. IPv6 and IPv4 alternate, as RFC 8305 section 4 wants them tried.
    Known(Arc<[IpAddr]>),
    /// No lookup has ever succeeded; the reason of the last.
    Failed(Arc<str>),
}

/// Keeps names resolved. One per process.
#[derive(Debug)]
pub struct Resolver {
    runtime: Handle,
    names: Mutex<HashMap<Arc<str>, watch::Receiver<Resolution>>>,
}

/// A name that is kept resolved for as long as somebody holds it.
#[derive(Clone, Debug)]
pub struct ResolvedName {
    resolution: watch::Receiver<Resolution>,
}

impl Resolver {
    /// Lookups run on `runtime`, away from the workers.
    pub fn new(runtime: Handle) -> Arc<Resolver> {
        Arc::new(Resolver { runtime, names: Mutex::default() })
    }

    /// Starts to keep a name resolved, or joins those who already do.
    pub fn name(&self, host: &str) -> ResolvedName {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        // A sender that is gone means that its task ended because nobody held the name any more.
        names.retain(|_, receiver| receiver.has_changed().is_ok());
        if let Some(receiver) = names.get(host) {
            return ResolvedName { resolution: receiver.clone() };
        }
        let (sender, receiver) = watch::channel(Resolution::Pending);
        let host: Arc<str> = host.into();
        names.insert(host.clone(), receiver.clone());
        // The map's own receiver is dropped with the map entry; the task counts it out.
        self.runtime.spawn(keep_resolved(host, sender));
        ResolvedName { resolution: receiver }
    }
}

impl ResolvedName {
    /// A name that is an address already.
    pub fn fixed(address: IpAddr) -> ResolvedName {
        // The receiver keeps the last value after its sender is gone.
        ResolvedName { resolution: watch::channel(Resolution::Known(Arc::from([address]))).1 }
    }

    /// What is known now, without waiting.
    pub fn now(&self) -> Resolution {
        self.resolution.borrow().clone()
    }

    /// The addresses; waits only for the first lookup of the name.
    pub async fn addresses(&self) -> Result<Arc<[IpAddr]>, Arc<str>> {
        let mut receiver = self.resolution.clone();
        loop {
            match &*receiver.borrow_and_update() {
                Resolution::Known(addresses) => return Ok(addresses.clone()),
                Resolution::Failed(reason) => return Err(reason.clone()),
                Resolution::Pending => {}
            }
            if receiver.changed().await.is_err() {
                return Err("the lookup was given up".into());
            }
        }
    }
}

async fn keep_resolved(host: Arc<str>, sender: watch::Sender<Resolution>) {
    // Receivers: one in the resolver's map, and those of the holders.
    while sender.receiver_count() > 1 {
        let wait = match lookup(&host).await {
            Ok((addresses, ttl)) => {
                sender.send_if_modified(|known| match known {
                    Resolution::Known(current) if **current == *addresses => false,
                    _ => {
                        *known = Resolution::Known(addresses);
                        true
                    }
                });
                ttl.clamp(TTL_MIN, TTL_MAX)
            }
            Err(reason) => {
                sender.send_if_modified(|known| match known {
                    Resolution::Known(_) => false,
                    _ => {
                        *known = Resolution::Failed(reason.into());
                        true
                    }
                });
                RETRY_AFTER
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn lookup(host: &str) -> Result<(Arc<[IpAddr]>, Duration), String> {
    let dns = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup_dns(host)).await {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(reason)) => reason,
        Err(_) => "no answer from the name servers".to_owned(),
    };
    let system = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, 0))).await;
    let addresses: Vec<IpAddr> = match system {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => return Err(dns),
    };
    if addresses.is_empty() { Err(dns) } else { Ok((alternate(addresses), TTL_MAX)) }
}

async fn lookup_dns(host: &str) -> Result<(Arc<[IpAddr]>, Duration), String> {
    // Built anew for each lookup, so that changes to resolv.conf and hosts are seen; our own TTL is the cache.
    let mut builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
    builder.options_mut().cache_size = 0;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    let resolver = builder.build().map_err(|error| error.to_string())?;
    let found = resolver.lookup_ip(host).await.map_err(|error| error.to_string())?;
    let ttl = found.valid_until().saturating_duration_since(Instant::now());
    let addresses: Vec<IpAddr> = found.iter().collect();
    if addresses.is_empty() { Err("no addresses".to_owned()) } else { Ok((alternate(addresses), ttl)) }
}

/// Alternates the families, IPv6 first, keeping the order within each. Duplicates go.
fn alternate(addresses: Vec<IpAddr>) -> Arc<[IpAddr]> {
    let (mut v6, mut v4) = (Vec::new(), Vec::new());
    for address in addresses {
        let family = if address.is_ipv6() { &mut v6 } else { &mut v4 };
        if !family.contains(&address) {
            family.push(address);
        }
    }
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut ordered = Vec::new();
    loop {
        match (v6.next(), v4.next()) {
            (None, None) => return ordered.into(),
            (a, b) => ordered.extend(a.into_iter().chain(b)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_duplicates_go() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let ordered = alternate(vec![ip("192.0.2.1"), ip("192.0.2.2"), ip("2001:db8::1"), ip("192.0.2.1")]);
        assert_eq!(&*ordered, [ip("2001:db8::1"), ip("192.0.2.1"), ip("192.0.2.2")]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn localhost_resolves_and_a_reserved_name_fails_with_a_reason() {
        let resolver = Resolver::new(Handle::current());
        let addresses = resolver.name("localhost").addresses().await.unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
        // RFC 6761 section 6.4: names under .invalid never resolve.
        let reason = resolver.name("nowhere.invalid").addresses().await.unwrap_err();
        assert!(!reason.is_empty());
    }
}
