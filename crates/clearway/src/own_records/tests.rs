//! Records in a real directory in, evidence out.

use std::sync::Arc;

use model::{Attempt, ByteSize, Ending, Fault, Method, Phase, Protocol, Timeline};
use store::{DataDir, RecordSettings, RecordWriter};

use super::*;

const BEGAN: u64 = 1_763_881_600;

/// An exchange that began so many seconds after `BEGAN`, at the upstream of this name.
fn exchange(second: u64, service: &str, upstream: &str, fault: Option<Fault>) -> Exchange {
    let ending = fault.map_or(Ending::ANSWERED, |fault| Ending::failed(Phase::AwaitHead, fault));
    let attempt = Attempt {
        upstream: upstream.into(),
        target: "http://127.0.0.1:8000".into(),
        address: None,
        started_micros: 0,
        why: None,
        waited: None,
        reuse: None,
        resolve: None,
        connect: None,
        tls: None,
        send: None,
        await_head: None,
        total: Duration::from_millis(1),
        bytes_sent: 9,
        bytes_received: 0,
        bytes_acked: None,
        status: None,
        ending,
        peer_end: None,
        errno: None,
        tls_alert: None,
        limit: None,
        detail: None,
    };
    Exchange {
        id: RequestId(RequestId::first_at((BEGAN + second) * 1000).0 | 7 << 76 | u128::from(second)),
        started_unix_micros: (BEGAN + second) * 1_000_000,
        listener: "main".into(),
        client: None,
        protocol: Protocol::Http11,
        tls: false,
        method: Method::Get,
        host: "shop.example".into(),
        path: "/cart".into(),
        service: Some(Arc::from(service)),
        route: None,
        consumer: None,
        external_id: None,
        status: fault.map_or(200, Fault::status),
        ending,
        detail: None,
        request_body_bytes: 0,
        response_body_bytes: 0,
        timeline: Timeline { done_micros: 1_000, ..Timeline::default() },
        attempts: vec![attempt],
        ai: None,
    }
}

/// A directory with these records, and who reads them.
async fn kept(exchanges: &[Exchange]) -> (tempfile::TempDir, RecordReader) {
    let directory = tempfile::tempdir().unwrap();
    let data = DataDir::open(directory.path()).unwrap();
    let settings = RecordSettings { retention_days: 3650, size_max: ByteSize::mib(16), file_bytes_max: None };
    let mut writer = RecordWriter::new(&data, settings);
    writer.append(exchanges.to_vec()).await;
    writer.close().await;
    let reader = RecordReader::open(&data);
    (directory, reader)
}

fn told(records: &OwnRecords) -> Vec<String> {
    let line = |item: &Evidence| {
        let field = |name| item.get(name).unwrap_or("-").to_owned();
        format!("{} {} {} {}", item.kind, field("fault"), field("server"), field("requests"))
    };
    records.evidence.iter().map(line).collect()
}

#[tokio::test]
async fn a_request_comes_with_what_failed_around_it_in_its_service_and_upstreams() {
    let about = exchange(1_000, "shop", "app", Some(Fault::EarlyClose));
    let (_directory, reader) = kept(&[
        exchange(1_000 - 181, "shop", "app", Some(Fault::ConnectTimeout)),
        exchange(990, "shop", "app", None),
        exchange(995, "shop", "other", Some(Fault::Reset)),
        exchange(996, "blog", "app", Some(Fault::ConnectRefused)),
        exchange(997, "blog", "elsewhere", Some(Fault::TlsFailed)),
        about.clone(),
        exchange(1_000 + 182, "shop", "app", Some(Fault::ConnectTimeout)),
    ])
    .await;
    let records = of_request(&reader, about.id).await.unwrap().unwrap();
    assert_eq!(records.subject, format!("GET shop.example/cart ({})", about.id));
    assert_eq!(
        told(&records),
        [
            "failure early-close shop -",
            "failure connect-refused blog -",
            "failure reset shop -",
            "traffic - - 3",
            "read - - -",
        ]
    );
    let lines = records.evidence.len();
    let again = OwnRecords::from_lines(records.into_lines()).unwrap().unwrap();
    assert_eq!(
        (again.subject.as_str(), again.evidence.len()),
        (&*format!("GET shop.example/cart ({})", about.id), lines)
    );
    assert_eq!(of_request(&reader, RequestId(about.id.0 + 1)).await.unwrap(), None);
    assert_eq!(OwnRecords::from_lines(Vec::new()).unwrap(), None);
}

#[tokio::test]
async fn evidence_is_bounded_however_much_failed() {
    let exchanges: Vec<Exchange> = (0..2_500)
        .map(|n| Exchange {
            id: RequestId(exchange(10, "shop", "app", None).id.0 + n),
            ..exchange(10, "shop", "app", Some(Fault::Reset))
        })
        .collect();
    let (_directory, reader) = kept(&exchanges).await;
    let span = Span { since: UNIX_EPOCH, until: SystemTime::now() };
    let evidence = of_service(&reader, "shop", span).await.unwrap();
    assert_eq!(evidence.len(), FAILED_MAX + 2);
}
