//! Request bodies that are read before a target is taken: when they are, what of them arrives, and what is left of them.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use model::{Exchange, RetryRule};
use proxy::spool::Unspooled;
use testkit::{Client, Gate, Http2Client, Packet, Step, Upstream, within};

use super::gateway::{Gateway, line, one_upstream, spool};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const KIB: usize = 1 << 10;
/// What memory holds.
const MEMORY: usize = 64 * KIB;

/// No two neighbouring pieces of it are alike.
fn body(length: usize) -> Vec<u8> {
    (0..length as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect()
}

fn head(method: &str, length: usize) -> String {
    format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n")
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// In chunks of so many bytes, with or without an end.
fn chunks(body: &[u8], size: usize, ends: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in body.chunks(size) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend([chunk, b"\r\n"].concat());
    }
    if ends {
        bytes.extend(b"0\r\n\r\n");
    }
    bytes
}

/// A gateway whose files of bodies are bounded otherwise.
fn spooling(url: &str, settings: &str, directory: &Path, size_max: &str) -> Gateway {
    let directory = directory.display();
    let spool = format!("spool: {{ directory: \"{directory}\", size-max: {size_max} }}\n");
    Gateway::start(&format!("{}{spool}", one_upstream(url, settings)))
}

fn spooled(gateway: &mut Gateway) -> u64 {
    gateway.server().shared().spool.spooled()
}

fn unspooled(gateway: &mut Gateway, why: Unspooled) -> u64 {
    gateway.server().shared().spool.unspooled(why)
}

/// Sends one body in each way a client can, and checks what its target gets.
async fn arrives(gateway: &Gateway, body: &[u8], mut received: impl FnMut(&str) -> Vec<u8>) {
    let mut client = gateway.client().await;
    client.send([head("POST", body.len()).as_bytes(), body].concat()).await;
    assert_eq!(client.response("POST").await.status, 200);
    assert!(received("length") == body, "{} bytes by length", body.len());

    let mut client = gateway.client().await;
    client.send_in_pieces(&[CHUNKED.as_bytes(), &chunks(body, 10_007, true)].concat(), 7_919).await;
    assert_eq!(client.response("POST").await.status, 200);
    assert!(received("chunked") == body, "{} bytes in chunks", body.len());

    let mut client = gateway.http2_client().await;
    for fields in [&[][..], &[("content-length", &*body.len().to_string())]] {
        assert_eq!(client.exchange("POST", "/", fields, body).await.status, 200);
        assert!(received("HTTP/2") == body, "{} bytes by HTTP/2", body.len());
    }
}

#[tokio::test]
async fn bodies_arrive_unchanged_at_every_kind_of_target() {
    let folder = tempfile::tempdir().unwrap();
    for length in [0, 1, MEMORY - 1, MEMORY, MEMORY + 1, 1 << 20] {
        let body = body(length);
        let tcp = Upstream::ok("ok");
        let unix = Upstream::builder()
            .unix(&folder.path().join(format!("{length}.sock")))
            .answer(|_| OK.as_bytes().to_vec());
        for upstream in [&tcp, &unix] {
            let gateway = Gateway::to(&upstream.url(), "");
            arrives(&gateway, &body, |_| upstream.requests().pop().unwrap().body).await;
        }
        let script = [vec![Step::ReadPacket, Step::Read(length), Step::send(OK), Step::Close]];
        let uwsgi = Upstream::script(script);
        let gateway = Gateway::to(&uwsgi.url_as("uwsgi"), "");
        arrives(&gateway, &body, |_| {
            let seen = uwsgi.seen();
            let told = seen.packets.last().and_then(|packet: &Packet| packet.get("CONTENT_LENGTH"));
            assert_eq!(told, Some(&*length.to_string()));
            seen.connections.last().unwrap().received.clone()
        })
        .await;
    }
}

#[tokio::test]
async fn a_slow_upload_takes_no_connection_until_it_is_whole() {
    let upstream = Upstream::ok("ok");
    for length in [20 * KIB, 200 * KIB] {
        let mut gateway = Gateway::to(&upstream.url(), "pool: { idle-max: 0 }");
        let body = body(length);
        let (before, connections) = (upstream.requests().len(), upstream.connections());
        let mut slow = gateway.client().await;
        slow.send(head("POST", length)).await;
        for part in body.chunks(length / 4) {
            // The only worker has read what was sent when it has answered this.
            assert_eq!(gateway.get("/").await.status, 200);
            slow.send(part).await;
        }
        assert_eq!(slow.response("POST").await.status, 200);
        let requests = upstream.requests();
        assert_eq!((requests.len() - before, upstream.connections() - connections), (5, 5));
        assert!(requests.last().unwrap().body == body);
        let records = gateway.records(5).await;
        let (gets, post) = records.split_at(4);
        assert!(gets.iter().all(|get| get.timeline.body_micros.is_none()));
        let read = post[0].timeline.body_micros.unwrap();
        assert!(post[0].timeline.head_micros < read && read <= post[0].attempts[0].started_micros);
        assert_eq!(spooled(&mut gateway), u64::from(length > MEMORY));
    }
}

#[tokio::test]
async fn a_chunked_body_that_ends_soon_is_told_its_length_and_one_that_does_not_streams() {
    let upstream = Upstream::ok("ok");
    let gateway = Gateway::to(&upstream.url(), "pool: { idle-max: 0 }");
    let mut client = gateway.client().await;
    client.send([CHUNKED.as_bytes(), &chunks(b"hello world", 6, true)].concat()).await;
    assert_eq!(client.response("POST").await.status, 200);
    let request = upstream.request();
    assert_eq!((request.field("content-length"), request.field("transfer-encoding")), (Some("11"), None));

    // More than memory holds, and nobody knows how much more.
    let large = body(MEMORY + 1);
    client.send([CHUNKED.as_bytes(), &chunks(&large, large.len(), false)].concat()).await;
    upstream.until("the beginning of a body", |seen| seen.connections.len() == 2).await;
    client.send(chunks(b"end", 3, true)).await;
    assert_eq!(client.response("POST").await.status, 200);
    let request = upstream.requests().pop().unwrap();
    assert_eq!(request.field("transfer-encoding"), Some("chunked"));
    assert!(request.body == [&large[..], b"end"].concat());

    // Little, but its end is waited for no longer than a second.
    client.send([CHUNKED.as_bytes(), &chunks(b"begin", 5, false)].concat()).await;
    assert_eq!(gateway.get("/").await.status, 200);
    assert_eq!(upstream.connections(), 3, "that of the request without a body");
    upstream.until("the beginning of a body", |seen| seen.connections.len() == 4).await;
    client.send(chunks(b"end", 3, true)).await;
    assert_eq!(client.response("POST").await.status, 200);
    let request = upstream.requests().pop().unwrap();
    assert_eq!((request.field("transfer-encoding"), &*request.body), (Some("chunked"), &b"beginend"[..]));
}

#[tokio::test]
async fn a_body_in_a_file_is_sent_again() {
    let body = body(1 << 20);
    let read = [Step::ReadHead, Step::Read(body.len())];
    let upstream = Upstream::script([
        [&read[..], &[Step::Close]].concat(),
        [&read[..], &[Step::send(OK), Step::AwaitEnd]].concat(),
    ]);
    let mut gateway = Gateway::to(&upstream.url(), "");
    let mut client = gateway.client().await;
    client.send([head("PUT", body.len()).as_bytes(), &body].concat()).await;
    assert_eq!(client.response("PUT").await.status, 200);
    let record = gateway.record().await;
    assert_eq!(record.attempts[1].why, Some(RetryRule::Idempotent), "{}", line(&record));
    for connection in upstream.seen().connections {
        assert!(connection.received.ends_with(&body));
    }

    // Also to a target that comes back.
    let before = Upstream::ok("ok");
    let address = before.address();
    let mut gateway = Gateway::to(&before.url(), "");
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.record().await;
    drop(before);
    let mut client = gateway.client().await;
    client.send([head("POST", body.len()).as_bytes(), &body].concat()).await;
    let shared = gateway.server().shared().clone();
    within("a body in a file", async {
        while shared.spool.spooled() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Whether its first attempt has been refused by now is no matter.
    let after = Upstream::builder().at(address).answer(|_| OK.as_bytes().to_vec());
    assert_eq!(client.response("POST").await.status, 200);
    assert!(after.request().body == body);
}

#[tokio::test]
async fn a_beginning_that_was_read_is_sent_again_until_more_was_taken() {
    let begun = [Step::ReadHead, Step::ReadUntil(b"begin\r\n")];
    let upstream = Upstream::script([
        [&begun[..], &[Step::Close]].concat(),
        [&begun[..], &[Step::ReadUntil(b"0\r\n\r\n"), Step::send(OK), Step::Close]].concat(),
        [&begun[..], &[Step::ReadUntil(b"more\r\n"), Step::Close]].concat(),
    ]);
    let mut gateway = Gateway::to(&upstream.url(), "");
    for (connections, status, attempts) in [(2, 200, 2), (3, 502, 1)] {
        let mut client = gateway.client().await;
        let begin = chunks(b"begin", 5, false);
        client.send([CHUNKED.replace("POST", "PUT").as_bytes(), &begin].concat()).await;
        upstream
            .until("the beginning", |seen| {
                let last = seen.connections.last().map_or(&[][..], |connection| &connection.received);
                seen.connections.len() == connections && last.ends_with(b"begin\r\n")
            })
            .await;
        client.send(chunks(b"more", 4, true)).await;
        assert_eq!(client.response("PUT").await.status, status);
        let record = gateway.record().await;
        assert_eq!(record.attempts.len(), attempts, "{}", line(&record));
    }
}

/// An upload of 200 KiB that must not wait in a file.
async fn streams(mut gateway: Gateway, upstream: &Upstream, why: Unspooled) {
    let body = body(200 * KIB);
    let (begin, end) = body.split_at(100 * KIB);
    let mut client = gateway.client().await;
    client.send([head("POST", body.len()).as_bytes(), begin].concat()).await;
    let connections = upstream.connections() + 1;
    upstream.until("an upload", |seen| seen.connections.len() == connections).await;
    client.send(end).await;
    assert_eq!(client.response("POST").await.status, 200);
    assert!(upstream.requests().pop().unwrap().body == body);
    assert_eq!((spooled(&mut gateway), unspooled(&mut gateway, why)), (0, 1));
    assert_eq!(gateway.server().shared().spool.bytes(), 0);
    assert_eq!(gateway.record().await.timeline.body_micros, None);
}

#[tokio::test]
async fn what_finds_no_room_in_a_file_streams() {
    let upstream = Upstream::ok("ok");
    let url = upstream.url();
    streams(spooling(&url, "", &spool(), "100KiB"), &upstream, Unspooled::Quota).await;
    streams(Gateway::to(&url, "request-buffering: { file: 100KiB }"), &upstream, Unspooled::Large).await;
    streams(spooling(&url, "", Path::new("/proc/nowhere"), "1GiB"), &upstream, Unspooled::Disk).await;
}

#[tokio::test]
async fn memory_is_bounded_and_what_finds_none_streams() {
    /// Each waits for its last byte, and no more than 64 can be held in the 64 MiB of a worker.
    const CLIENTS: u64 = 80;
    let upstream = Upstream::ok("ok");
    let settings = "request-buffering: { memory: 1MiB }, concurrency: 1000";
    let mut gateway = Gateway::to(&upstream.url(), settings);
    let body = body(1 << 20);
    let (most, last) = body.split_at(body.len() - 1);
    let mut waiting = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = gateway.client().await;
        client.send([head("POST", body.len()).as_bytes(), most].concat()).await;
        waiting.push(client);
    }
    within("those for which memory has no room", async {
        while unspooled(&mut gateway, Unspooled::Memory) < CLIENTS - 64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    upstream.until("them to stream", |seen| seen.connections.len() as u64 >= CLIENTS - 64).await;
    assert!(upstream.connections() < CLIENTS as usize);
    // A body on its way into a file needs some memory, too.
    let larger = body.repeat(2);
    let mut client = gateway.client().await;
    client.send([head("POST", larger.len()).as_bytes(), &larger].concat()).await;
    assert_eq!(client.response("POST").await.status, 200);
    for client in &mut waiting {
        client.send(last).await;
        assert_eq!(client.response("POST").await.status, 200);
    }
    assert!(upstream.requests().iter().all(|request| request.body == body || request.body == larger));
    assert_eq!(gateway.server().shared().spool.bytes(), 0);
}

#[tokio::test]
async fn what_is_switched_off_streams() {
    let upstream = Upstream::ok("ok");
    let gateway = Gateway::to(&upstream.url(), "request-buffering: false");
    let mut client = gateway.client().await;
    client.send([head("POST", 8).as_bytes(), b"half"].concat()).await;
    upstream.until("an upload", |seen| seen.connections.len() == 1).await;
    client.send("half").await;
    assert_eq!(client.response("POST").await.status, 200);
}

/// An upload by chunks to a uwsgi target that reads so much of it; its status and its record.
async fn upload_by_chunks(mut gateway: Gateway, body: &[u8]) -> (u16, Exchange) {
    let mut client = gateway.client().await;
    client.send(CHUNKED).await;
    let status = client.response_while_sending("POST", &chunks(body, 60_000, true)).await.unwrap().status;
    (status, gateway.record().await)
}

#[tokio::test]
async fn a_body_whose_length_must_be_told_is_collected_as_far_as_there_is_room() {
    let body = body(2 << 20);
    let script = [vec![Step::ReadPacket, Step::Read(body.len()), Step::send(OK), Step::Close]];
    let upstream = Upstream::script(script);
    let url = upstream.url_as("uwsgi");
    // Without a file, or with one for its beginning, memory goes on.
    for size_max in ["0B", "1MiB"] {
        let (status, _) = upload_by_chunks(spooling(&url, "", &spool(), size_max), &body).await;
        assert_eq!(status, 200);
        assert!(upstream.seen().connections.last().unwrap().received == body);
    }
    let gateway = Gateway::to(&url, "request-buffering: { file: 1MiB }");
    let (status, record) = upload_by_chunks(gateway, &body).await;
    assert_eq!((status, &*line(&record)), (411, "411 client read-request request-length-required"));
    assert_eq!(record.detail.as_deref(), Some("request-buffering is limited to 1048576 bytes"));
    let large = vec![b'x'; 17 << 20];
    let (status, record) = upload_by_chunks(spooling(&url, "", &spool(), "0B"), &large).await;
    assert_eq!((status, record.detail.as_deref()), (411, Some("spool is limited to 0 bytes")));
}

#[tokio::test]
async fn a_beginning_is_nothing_for_a_target_that_must_be_told_the_length() {
    let before = Upstream::ok("ok");
    let (address, url) = (before.address(), before.url());
    let mut gateway = Gateway::to(&url, "");
    assert_eq!(gateway.get("/").await.status, 200);
    gateway.record().await;
    drop(before);
    let mut client = gateway.client().await;
    let large = body(MEMORY + 1);
    client.send([CHUNKED.as_bytes(), &chunks(&large, large.len(), false)].concat()).await;
    let serving = gateway.server().shared().serving.load_full();
    let target = serving.upstreams.values().next().unwrap().targets[0].clone();
    within("an attempt that was refused", async {
        while target.state.failures.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gateway.reload(&one_upstream(&url.replace("http", "uwsgi"), "")).unwrap();
    let after = Upstream::builder().at(address).script([vec![Step::ReadPacket, Step::AwaitEnd]]);
    assert_eq!(client.response("POST").await.status, 411);
    assert!(after.seen().packets.is_empty());
}

#[tokio::test]
async fn a_target_is_not_slow_because_its_client_is() {
    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::to(&upstream.url(), "request-buffering: false");
    let mut client = gateway.client().await;
    client.send([head("POST", 8).as_bytes(), b"half"].concat()).await;
    upstream.until("an upload", |seen| seen.connections.len() == 1).await;
    // That is how slow it is.
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.send("half").await;
    assert_eq!(client.response("POST").await.status, 200);
    let serving = gateway.server().shared().serving.load_full();
    let target = serving.upstreams.values().next().unwrap().targets[0].clone();
    let latency = target.state.latency.average(Instant::now()).unwrap();
    let attempt = gateway.record().await.attempts.remove(0);
    let (head, send) = (attempt.await_head.unwrap(), attempt.send.unwrap());
    assert!(latency <= head - send, "{latency:?} of {head:?}, of which {send:?} were the client's");
}

#[tokio::test]
async fn a_body_is_not_held_for_longer_than_its_target_takes_it() {
    let body = body(200 * KIB);
    for http2 in [false, true] {
        let gate = Gate::new();
        let upstream = Upstream::script([vec![
            Step::ReadHead,
            Step::Read(body.len()),
            Step::send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
            Step::Await(gate.clone()),
            Step::send("world"),
        ]]);
        let mut gateway = Gateway::to(&upstream.url(), "");
        let shared = gateway.server().shared().clone();
        let nothing_is_held = within("the end of the file", async {
            while shared.spool.spooled() == 0 || shared.spool.bytes() > 0 {
                tokio::task::yield_now().await;
            }
            gate.open();
        });
        let answer = async {
            if http2 {
                let mut client = gateway.http2_client().await;
                let length = body.len().to_string();
                return client.exchange("POST", "/", &[("content-length", &*length)], &body).await.body;
            }
            let mut client = gateway.client().await;
            client.send([head("POST", body.len()).as_bytes(), &body].concat()).await;
            client.response("POST").await.body
        };
        let (answer, ()) = tokio::join!(answer, nothing_is_held);
        assert_eq!(answer, b"helloworld");
    }
}

#[tokio::test]
async fn nothing_is_left_of_a_body_whose_client_leaves() {
    let upstream = Upstream::ok("ok");
    let folder = tempfile::tempdir().unwrap();
    let mut gateway = spooling(&upstream.url(), "", folder.path(), "1GiB");
    let mut client = gateway.client().await;
    client.send([head("POST", 1 << 20).as_bytes(), &body(300 * KIB)].concat()).await;
    let shared = gateway.server().shared().clone();
    within("a body in a file", async {
        while shared.spool.bytes() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.reset();
    assert_eq!(line(&gateway.record().await), "499 client read-request client-gone");
    within("the file to go", async {
        while shared.spool.bytes() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_client_that_waits_for_permission_is_told_to_go_on() {
    let upstream = Upstream::ok("ok");
    let gateway = Gateway::to(&upstream.url(), "");
    let body = body(200 * KIB);
    let mut client: Client = gateway.client().await;
    let asking = head("POST", body.len()).replace("Host: a", "Host: a\r\nExpect: 100-continue");
    client.send(asking).await;
    client.until_arrived(b"100 Continue").await.unwrap();
    client.send(&body).await;
    assert_eq!(client.response("POST").await.status, 200);
    let mut client: Http2Client = gateway.http2_client().await;
    let mut request = client.begin("POST", "/", &[("expect", "100-continue")], false).await.unwrap();
    assert_eq!(request.informational().await, Some(100));
    request.send(&body, true).await;
    assert_eq!(request.response().await.status, 200);
    assert!(upstream.requests().iter().all(|request| request.body == body));
}

#[tokio::test]
async fn a_body_that_comes_during_a_reload_goes_to_a_target_of_after_it() {
    let saying = |word: &'static str| {
        Upstream::answer(move |_| format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{word}").into_bytes())
    };
    let (old, new) = (saying("old"), saying("new"));
    let mut gateway = Gateway::to(&old.url(), "");
    let mut client = gateway.client().await;
    client.send(head("POST", 10) + "12345").await;
    let shared = gateway.server().shared().clone();
    within("a request that has begun", async {
        while shared.in_flight.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    gateway.reload(&one_upstream(&new.url(), "")).unwrap();
    drop(old);
    client.send("67890").await;
    assert_eq!(client.response("POST").await.body_text(), "new");
    assert_eq!(line(&gateway.record().await), "200 upstream done ok | upstream done ok status:200");
}
