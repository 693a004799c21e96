//! Names to addresses, once per process: looked up again when the TTL ends, the last good answer kept while DNS fails.
//!
//! Workers never wait for a lookup except for the very first one of a name. The lookup itself is DNS as the system's
//! `resolv.conf` and `hosts` say, because only that tells the TTL; where it has no answer, `getaddrinfo` is asked
//! too, which knows the sources of `nsswitch.conf`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
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

/// Addresses in the order to try them, and how long they are good for.
type Found = (Arc<[IpAddr]>, Duration);
/// One lookup of a name.
type Lookup = dyn Fn(Arc<str>) -> BoxFuture<'static, Result<Found, String>> + Send + Sync;

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
pub struct Resolver {
    runtime: Handle,
    lookup: Arc<Lookup>,
    names: Arc<Names>,
}

/// The names that are kept resolved, each by a task that holds the sender.
#[derive(Debug, Default)]
struct Names(Mutex<HashMap<Arc<str>, watch::Receiver<Resolution>>>);

/// A name that is kept resolved for as long as somebody holds it.
#[derive(Clone, Debug)]
pub enum ResolvedName {
    /// It is an address already.
    Address(Arc<[IpAddr]>),
    Name(watch::Receiver<Resolution>),
}

impl Resolver {
    /// Lookups run on `runtime`, away from the workers.
    pub fn new(runtime: Handle) -> Arc<Resolver> {
        Resolver::with_lookup(runtime, Arc::new(|host| Box::pin(lookup(host))))
    }

    fn with_lookup(runtime: Handle, lookup: Arc<Lookup>) -> Arc<Resolver> {
        Arc::new(Resolver { runtime, lookup, names: Arc::default() })
    }

    /// Where lookups run.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Starts to keep a name resolved, or joins those who already do.
    pub fn name(&self, host: &str) -> ResolvedName {
        let (receiver, sender) = self.names.join(host);
        if let Some(sender) = sender {
            let names = self.names.clone();
            self.runtime.spawn(keep_resolved(host.into(), self.lookup.clone(), sender, names));
        }
        ResolvedName::Name(receiver)
    }
}

impl Names {
    /// Joins those who hold the name; the first one also gets the sender, for a task to keep.
    fn join(&self, host: &str) -> (watch::Receiver<Resolution>, Option<watch::Sender<Resolution>>) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A sender that is gone belonged to a task that has panicked.
        if let Some(receiver) = names.get(host).filter(|receiver| receiver.has_changed().is_ok()) {
            return (receiver.clone(), None);
        }
        let (sender, receiver) = watch::channel(Resolution::Pending);
        names.insert(host.into(), receiver.clone());
        (receiver, Some(sender))
    }

    /// Forgets the name if nobody holds it any more. Both are one step, so that whoever joins finds either a task that
    /// goes on or no entry.
    fn forget_unheld(&self, host: &str, sender: &watch::Sender<Resolution>) -> bool {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Receivers: one in the map, and those of the holders.
        let is_unheld = sender.receiver_count() <= 1;
        if is_unheld {
            names.remove(host);
        }
        is_unheld
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("names", &self.names).finish_non_exhaustive()
    }
}

impl ResolvedName {
    /// A name that is an address already.
    pub fn fixed(address: IpAddr) -> ResolvedName {
        ResolvedName::Address(Arc::from([address]))
    }

    /// What is known now, without waiting.
    pub fn now(&self) -> Resolution {
        match self {
            ResolvedName::Address(address) => Resolution::Known(address.clone()),
            ResolvedName::Name(resolution) => resolution.borrow().clone(),
        }
    }

    /// Whether the name still stands for this address. True as long as nothing better is known.
    pub fn still_means(&self, address: IpAddr) -> bool {
        match self {
            ResolvedName::Address(_) => true,
            ResolvedName::Name(resolution) => match &*resolution.borrow() {
                Resolution::Known(addresses) => addresses.contains(&address),
                Resolution::Pending | Resolution::Failed(_) => true,
            },
        }
    }

    /// The addresses; waits only for the first lookup of the name.
    pub async fn addresses(&self) -> Result<Arc<[IpAddr]>, Arc<str>> {
        let mut receiver = match self {
            ResolvedName::Address(address) => return Ok(address.clone()),
            ResolvedName::Name(resolution) => resolution.clone(),
        };
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

async fn keep_resolved(
    host: Arc<str>,
    lookup: Arc<Lookup>,
    sender: watch::Sender<Resolution>,
    names: Arc<Names>,
) {
    while !names.forget_unheld(&host, &sender) {
        let wait = match lookup(host.clone()).await {
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

async fn lookup(host: Arc<str>) -> Result<Found, String> {
    let dns = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup_dns(&host)).await {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(reason)) => reason,
        Err(_) => "no answer from the name servers".to_owned(),
    };
    let system = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((&*host, 0))).await;
    let addresses: Vec<IpAddr> = match system {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => return Err(dns),
    };
    if addresses.is_empty() { Err(dns) } else { Ok((alternate(addresses), TTL_MAX)) }
}

async fn lookup_dns(host: &str) -> Result<Found, String> {
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

    #[test]
    fn a_name_is_forgotten_in_the_same_step_in_which_its_task_decides_to_end() {
        let names = Names::default();
        let (first, sender) = names.join("app.example");
        let sender = sender.unwrap();
        let (second, none) = names.join("app.example");
        assert!(none.is_none());
        drop(first);
        assert!(!names.forget_unheld("app.example", &sender));
        drop(second);
        assert!(names.forget_unheld("app.example", &sender));
        // The task is about to end and its sender still lives: who comes now must not wait for it.
        let (_third, another) = names.join("app.example");
        assert!(another.is_some());
    }

    /// A name server whose answers are given one by one; it tells when it was asked, in seconds from its start.
    struct Answers {
        next: Mutex<std::collections::VecDeque<Result<(&'static str, u64), &'static str>>>,
        asked: Mutex<Vec<u64>>,
        begun: tokio::time::Instant,
    }

    fn resolver(answers: &[Result<(&'static str, u64), &'static str>]) -> (Arc<Resolver>, Arc<Answers>) {
        let next = Mutex::new(answers.iter().copied().collect());
        let answers = Arc::new(Answers { next, asked: Mutex::default(), begun: tokio::time::Instant::now() });
        let own = answers.clone();
        let lookup: Arc<Lookup> = Arc::new(move |_| {
            own.asked.lock().unwrap().push(own.begun.elapsed().as_secs());
            let answer = own.next.lock().unwrap().pop_front().unwrap_or(Err("no more"));
            Box::pin(async move {
                let (address, ttl) = answer.map_err(str::to_owned)?;
                Ok((Arc::from([address.parse().unwrap()]), Duration::from_secs(ttl)))
            })
        });
        (Resolver::with_lookup(Handle::current(), lookup), answers)
    }

    async fn at(answers: &Answers, seconds: u64) {
        tokio::time::sleep_until(answers.begun + Duration::from_millis(seconds * 1000 + 500)).await;
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_name_is_asked_for_again_by_its_ttl_and_the_last_good_answer_outlives_failures() {
        let (resolver, answers) = resolver(&[
            Ok(("192.0.2.1", 5)),
            Ok(("192.0.2.2", 5)),
            Err("server failure"),
            Err("server failure"),
            Ok(("192.0.2.3", 3600)),
        ]);
        let name = resolver.name("app.example");
        let mut seen = Vec::new();
        for seconds in [0, 4, 5, 9, 10, 11, 12] {
            at(&answers, seconds).await;
            seen.push((seconds, name.addresses().await.unwrap()[0].to_string()));
        }
        let seen: Vec<_> = seen.iter().map(|(seconds, address)| (*seconds, address.as_str())).collect();
        assert_eq!(
            seen,
            [
                (0, "192.0.2.1"),
                (4, "192.0.2.1"),
                (5, "192.0.2.2"),
                (9, "192.0.2.2"),
                (10, "192.0.2.2"),
                (11, "192.0.2.2"),
                (12, "192.0.2.3"),
            ]
        );
        // A TTL of an hour counts as a minute.
        at(&answers, 72).await;
        assert_eq!(*answers.asked.lock().unwrap(), [0, 5, 10, 11, 12, 72]);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_name_that_never_resolved_fails_with_the_last_reason_and_is_tried_every_second() {
        let (resolver, answers) =
            resolver(&[Err("no such name"), Err("server failure"), Ok(("192.0.2.1", 0))]);
        let name = resolver.name("app.example");
        assert_eq!(*name.addresses().await.unwrap_err(), *"no such name");
        at(&answers, 1).await;
        assert_eq!(*name.addresses().await.unwrap_err(), *"server failure");
        at(&answers, 2).await;
        assert_eq!(name.addresses().await.unwrap()[0].to_string(), "192.0.2.1");
        // A TTL of zero counts as a second.
        at(&answers, 3).await;
        assert_eq!(*answers.asked.lock().unwrap(), [0, 1, 2, 3]);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_name_is_shared_by_its_holders_and_forgotten_after_the_last() {
        let (resolver, answers) = resolver(&[Ok(("192.0.2.1", 5)), Ok(("192.0.2.2", 5))]);
        let (first, second) = (resolver.name("app.example"), resolver.name("app.example"));
        first.addresses().await.unwrap();
        drop(first);
        second.addresses().await.unwrap();
        drop(second);
        at(&answers, 60).await;
        assert_eq!(*answers.asked.lock().unwrap(), [0]);
        assert_eq!(resolver.name("app.example").addresses().await.unwrap()[0].to_string(), "192.0.2.2");
    }
}
