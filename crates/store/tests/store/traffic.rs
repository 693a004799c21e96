//! Made-up traffic: like that of a JSON API behind a gateway, the same for the same seed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{
    Attempt, Ending, Exchange, Fault, Limit, LimitName, Method, PeerEnd, Phase, Protocol, RequestId,
    RequestIds, Reuse, Timeline,
};

/// Noon of a day some days from today, UTC.
pub(crate) fn noon(days_from_today: i64) -> SystemTime {
    let today = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 86_400;
    UNIX_EPOCH + Duration::from_secs((today as i64 + days_from_today) as u64 * 86_400 + 43_200)
}

/// Makes exchanges, one after the other, a fixed time apart.
pub(crate) struct Traffic {
    ids: RequestIds,
    random: u64,
    micros: u64,
    pub(crate) step: Duration,
    listener: Arc<str>,
    names: Vec<(Arc<str>, Arc<str>)>,
    targets: Vec<(Arc<str>, Arc<str>, SocketAddr)>,
    consumers: Vec<Arc<str>>,
}

impl Traffic {
    /// Traffic that begins at this time.
    pub(crate) fn at(start: SystemTime) -> Traffic {
        let shared = |text: &str| Arc::<str>::from(text);
        Traffic {
            ids: RequestIds::new(7),
            random: 0x9e37_79b9_7f4a_7c15,
            micros: start.duration_since(UNIX_EPOCH).unwrap().as_micros() as u64,
            step: Duration::from_micros(50),
            listener: shared("0.0.0.0:8080"),
            names: ["orders", "users", "search"]
                .iter()
                .flat_map(|service| {
                    ["list", "detail"].map(|route| (shared(service), shared(&format!("{service}-{route}"))))
                })
                .collect(),
            targets: (0u8..2)
                .map(|number| {
                    let address = SocketAddr::from(([10, 0, 0, number], 8000));
                    (shared("app"), shared(&format!("http://{address}")), address)
                })
                .collect(),
            consumers: ["mobile", "web", "batch"].map(shared).to_vec(),
        }
    }

    /// Traffic of today from noon on, so that no test meets midnight.
    pub(crate) fn today() -> Traffic {
        Traffic::at(noon(0))
    }

    pub(crate) fn batch(&mut self, count: usize) -> Vec<Exchange> {
        (0..count).map(|_| self.exchange()).collect()
    }

    /// One answered exchange: most paths are of things with a number, times and sizes vary.
    pub(crate) fn exchange(&mut self) -> Exchange {
        self.micros += self.step.as_micros() as u64;
        let id = self.ids.next(self.micros);
        let (name, target, consumer) = (self.below(6), self.below(2), self.below(3));
        let (service, route) = self.names[name as usize].clone();
        let (upstream, target, address) = self.targets[target as usize].clone();
        let path = if route.ends_with("list") {
            format!("/api/v1/{service}")
        } else {
            format!("/api/v1/{service}/{}", self.below(1_000_000))
        };
        let head = 20 + self.below(30);
        let wait = 800 + self.below(4_000);
        let (sent, response_bytes) = (180 + self.below(200), 200 + self.below(3_000));
        let micros = Duration::from_micros;
        Exchange {
            id,
            started_unix_micros: self.micros,
            listener: self.listener.clone(),
            client: Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, self.below(250) as u8))),
            protocol: Protocol::Http11,
            tls: true,
            method: if self.below(4) == 0 { Method::Post } else { Method::Get },
            host: "api.example.com".into(),
            path: path.into(),
            service: Some(service),
            route: Some(route),
            consumer: Some(self.consumers[consumer as usize].clone()),
            external_id: None,
            status: if self.below(50) == 0 { 404 } else { 200 },
            ending: Ending::ANSWERED,
            detail: None,
            request_body_bytes: 0,
            response_body_bytes: response_bytes,
            timeline: Timeline {
                head_micros: head,
                body_micros: None,
                response_micros: Some(head + wait),
                done_micros: head + wait + 15 + self.below(20),
            },
            ai: None,
            attempts: vec![Attempt {
                upstream,
                target,
                address: Some(address),
                started_micros: head + 4,
                reuse: Some(Reuse { requests: self.below(400) as u32, idle: micros(self.below(20_000)) }),
                resolve: None,
                connect: None,
                tls: None,
                send: Some(micros(8 + self.below(10))),
                await_head: Some(micros(wait - 10)),
                total: micros(wait + self.below(10)),
                bytes_sent: sent,
                bytes_received: response_bytes + 160,
                bytes_acked: None,
                status: Some(200),
                ending: Ending::ANSWERED,
                peer_end: None,
                errno: None,
                why: None,
                waited: None,
                tls_alert: None,
                limit: None,
                detail: None,
            }],
        }
    }

    /// One that the upstream reset after a while.
    pub(crate) fn failed(&mut self) -> Exchange {
        let mut exchange = self.exchange();
        exchange.status = Fault::Reset.status();
        exchange.ending = Ending::failed(Phase::AwaitHead, Fault::Reset);
        for attempt in &mut exchange.attempts {
            attempt.ending = exchange.ending;
            attempt.status = None;
            attempt.peer_end = Some(PeerEnd::Rst);
            attempt.errno = Some(104);
            attempt.limit = Some(Limit::Time { name: LimitName::AwaitHead, max: Duration::from_secs(60) });
        }
        exchange
    }

    /// An id of this traffic's time that no exchange has.
    pub(crate) fn unused_id(&mut self) -> RequestId {
        self.ids.next(self.micros)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % end
    }
}
