//! A gateway made of plain data behind a real management interface, and a client that speaks bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use admin::{
    Answer, CallFilter, CallPage, Control, ControlError, IncidentFilter, IncidentPage, IncidentRow,
    Readiness, RouteRow, TargetRow, UpstreamRow,
};
use model::{Incident, IncidentId, Moment, NamedCause, RequestId};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The only token that is known.
pub(crate) const TOKEN: &str = "cw_admin_known";
/// The only call that is kept.
pub(crate) const CALL: &str = "0193a7c1-5a3e-7c2f-8d41-2f6f0c9b7a10";

#[derive(Debug, Default)]
pub(crate) struct FixedGateway {
    pub(crate) draining: AtomicU8,
}

fn call() -> Box<RawValue> {
    RawValue::from_string(format!("{{\"id\":\"{CALL}\"}}")).unwrap()
}

fn incident() -> Incident {
    Incident {
        id: CALL.parse().unwrap(),
        service: "shop".into(),
        began: Moment(0),
        opened: Moment(3_000),
        closed: None,
        reopened: 0,
        requests: 20,
        failed: 10,
        peak_share: 0.500_04,
        usual_share: 0.05,
        cause: Some(NamedCause {
            cause: "firewall-drop".into(),
            confidence: 0.912,
            summary: "dropped".into(),
        }),
        diagnosed: None,
        report: Some("{\"version\":1}".into()),
    }
}

impl Control for FixedGateway {
    fn readiness(&self) -> Readiness {
        if self.draining.load(Ordering::Relaxed) == 0 { Readiness::Ready } else { Readiness::Draining }
    }

    fn metrics(&self) -> String {
        "clearway_build_info 1\n".to_owned()
    }

    fn is_admin_token<'a>(&'a self, presented: &'a str) -> Answer<'a, bool> {
        Box::pin(async move { Ok(presented == TOKEN) })
    }

    fn search<'a>(&'a self, filter: &'a CallFilter) -> Answer<'a, CallPage> {
        Box::pin(async {
            filter.query(std::time::SystemTime::now()).map_err(ControlError::Question)?;
            let next = filter.limit.map(|_| CALL.to_owned());
            Ok(CallPage { calls: vec![call()], next, warning: None })
        })
    }

    fn find(&self, id: RequestId) -> Answer<'_, Option<Box<RawValue>>> {
        Box::pin(async move { Ok((id.to_string() == CALL).then(call)) })
    }

    fn incidents<'a>(&'a self, filter: &'a IncidentFilter) -> Answer<'a, IncidentPage> {
        Box::pin(async {
            filter.query(std::time::SystemTime::now()).map_err(ControlError::Question)?;
            let row = IncidentRow::of(&Incident { report: None, ..incident() });
            Ok(IncidentPage { incidents: vec![row], next: None })
        })
    }

    fn incident(&self, id: IncidentId) -> Answer<'_, Option<IncidentRow>> {
        Box::pin(async move { Ok((id.to_string() == CALL).then(|| IncidentRow::of(&incident()))) })
    }

    fn routes(&self) -> Vec<RouteRow> {
        vec![RouteRow { service: "shop".to_owned(), ..RouteRow::default() }]
    }

    fn upstreams(&self) -> Vec<UpstreamRow> {
        let target = TargetRow { target: "http://app:8000".to_owned(), ..TargetRow::default() };
        vec![UpstreamRow {
            upstream: "shop".to_owned(),
            in_flight: 3,
            targets: vec![target],
            ..UpstreamRow::default()
        }]
    }
}

/// A running management interface.
pub(crate) struct Interface {
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Arc<FixedGateway>,
}

impl Interface {
    pub(crate) async fn start() -> Interface {
        let gateway = Arc::new(FixedGateway::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(admin::serve(listener, admin::router(gateway.clone(), address)));
        Interface { address, gateway }
    }

    /// Status line, head and body of the answer to a request with these extra fields.
    pub(crate) async fn ask(&self, method: &str, path: &str, host: &str, fields: &[&str]) -> Response {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for field in fields {
            request.push_str(field);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap();
        Response { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
    }

    /// As the operator, from this machine.
    pub(crate) async fn operator(&self, path: &str) -> Response {
        self.ask("GET", path, "localhost", &[&format!("Authorization: Bearer {TOKEN}")]).await
    }
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}
