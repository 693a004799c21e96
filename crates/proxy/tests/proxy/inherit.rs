//! Sockets that were there before: of the process whose place is taken, and of a service manager.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use model::gateway::ListenAddress;
use proxy::{Inherited, Owner, Server, StartError};
use testkit::{Client, Upstream};

use super::gateway::{Gateway, checked, one_upstream};

/// What the process before hands over, of each listener.
fn handed_over(old: &mut Gateway) -> Vec<Inherited> {
    let offered = old.server().offered();
    offered
        .map(|offered| Inherited {
            configured: offered.configured.clone(),
            bound: offered.bound.clone(),
            name: None,
            owner: offered.owner,
            sockets: offered.sockets.iter().map(|socket| socket.try_clone().unwrap()).collect(),
        })
        .collect()
}

/// Another process's server takes the place of this one, which ends.
async fn take_over(mut old: Gateway, text: &str) -> Gateway {
    let new = Gateway::inheriting(text, handed_over(&mut old)).unwrap();
    let all: Vec<ListenAddress> = old.server().offered().map(|offered| offered.configured.clone()).collect();
    old.server().leave_open(&all);
    assert!(old.drain(Duration::from_secs(20)).await.unwrap());
    new
}

fn with_workers(upstream: &Upstream, workers: usize) -> String {
    format!("{}workers: {workers}\n", one_upstream(&upstream.url(), ""))
}

fn manager(socket: impl Into<OwnedFd>) -> Inherited {
    Inherited::of(socket.into(), Some("web.socket".into()), Owner::Manager).unwrap()
}

fn listener(address: impl std::fmt::Display) -> String {
    format!("listeners: [{{ address: \"{address}\" }}]\n")
}

#[tokio::test]
async fn every_socket_is_accepted_from_however_many_workers_there_are() {
    let upstream = Upstream::ok("ok");
    let mut gateway = Gateway::start(&with_workers(&upstream, 3));
    let address = gateway.address();
    for workers in [1, 4, 2] {
        gateway = take_over(gateway, &with_workers(&upstream, workers)).await;
        assert_eq!(gateway.address(), address);
        // The kernel spreads connections over all sockets: a hundred of them miss none.
        for _ in 0..100 {
            assert_eq!(gateway.get("/").await.status, 200, "{workers} workers");
        }
    }
}

#[tokio::test]
async fn what_is_queued_when_one_process_stops_is_answered_by_the_next() {
    let upstream = Upstream::ok("ok");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let text = format!("{}{}", one_upstream(&upstream.url(), ""), listener(address));
    let inherit = || vec![manager(socket.try_clone().unwrap())];
    let mut first = Gateway::inheriting(&text, inherit()).unwrap();
    assert_eq!(first.get("/").await.status, 200);
    assert!(first.drain(Duration::from_secs(20)).await.unwrap());
    let mut waits = Client::tcp(address).await;
    waits.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    // More workers than sockets, of which no other can be bound.
    let _second = Gateway::inheriting(&format!("{text}workers: 3\n"), inherit()).unwrap();
    assert_eq!(waits.response("GET").await.status, 200);
}

#[tokio::test]
async fn the_file_of_a_unix_socket_goes_with_its_last_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.sock");
    let upstream = Upstream::ok("ok");
    let text =
        format!("{}{}", one_upstream(&upstream.url(), ""), listener(ListenAddress::Unix(path.clone())));
    let answers = async |path: &Path| Client::unix(path).await.get("/").await.status;
    let old = Gateway::start(&text);
    let mut new = take_over(old, &format!("{text}workers: 2\n")).await;
    assert_eq!(answers(&path).await, 200);
    assert!(new.drain(Duration::from_secs(20)).await.unwrap());
    assert!(!path.exists());

    let socket = UnixListener::bind(&path).unwrap();
    let mut given = Gateway::inheriting(&text, vec![manager(socket.try_clone().unwrap())]).unwrap();
    assert_eq!(answers(&path).await, 200);
    assert!(given.drain(Duration::from_secs(20)).await.unwrap());
    assert!(path.exists(), "that one is the service manager's");
}

#[tokio::test]
async fn a_socket_of_the_service_manager_serves_the_listener_that_it_suits() {
    let all_v6 = TcpListener::bind("[::]:0").unwrap();
    let port = all_v6.local_addr().unwrap().port();
    let one = TcpListener::bind("127.0.0.1:0").unwrap();
    let one_address = one.local_addr().unwrap();
    for (address, suits) in [
        (format!("[::]:{port}"), true),
        (format!("0.0.0.0:{port}"), true),
        (format!("127.0.0.1:{port}"), false),
        (one_address.to_string(), false),
    ] {
        let registry = upstream::Registry::new(upstream::Resolver::new(tokio::runtime::Handle::current()));
        let given = vec![manager(all_v6.try_clone().unwrap())];
        match Server::prepare(checked(&listener(&address)), registry, given) {
            Ok(starting) => {
                assert!(suits, "{address}");
                assert_eq!(starting.inherited(), [ListenAddress::Tcp(address.parse().unwrap())]);
            }
            Err(StartError(problems)) => {
                assert!(!suits, "{address}: {problems:?}");
                // The address is in use, or the socket would be nobody's.
                assert_eq!(problems.len(), 1, "{problems:?}");
            }
        }
    }
    let nobodys = Gateway::inheriting("", vec![manager(one)]).unwrap_err();
    assert_eq!(
        nobodys.0,
        [format!(
            "the service manager passes a socket for {one_address} (\"web.socket\"), and no listener has this address; \
             configure the listener, or take its ListenStream= out of the socket unit"
        )]
    );
}

#[tokio::test]
async fn of_two_sockets_the_exact_one_serves() {
    let exact = TcpListener::bind("127.0.0.1:0").unwrap();
    let exact_address = exact.local_addr().unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other_address = other.local_addr().unwrap();
    let text =
        format!("listeners: [{{ address: \"{other_address}\" }}, {{ address: \"{exact_address}\" }}]\n");
    let gateway = Gateway::inheriting(&text, vec![manager(exact), manager(other)]).unwrap();
    for address in [exact_address, other_address] {
        assert_eq!(Client::tcp(address).await.get("/").await.status, 404);
    }
    drop(gateway);
}

#[tokio::test]
async fn a_listener_that_a_reload_takes_away_and_brings_back_has_its_socket() {
    let upstream = Upstream::ok("ok");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    let with = format!("{}{}", one_upstream(&upstream.url(), ""), listener(address));
    let without = format!("{}{}", one_upstream(&upstream.url(), ""), listener("127.0.0.2:0"));
    let mut gateway = Gateway::inheriting(&with, vec![manager(socket.try_clone().unwrap())]).unwrap();
    gateway.reload(&without).unwrap();
    let mut waits = Client::tcp(address).await;
    gateway.reload(&with).unwrap();
    assert_eq!(waits.get("/").await.status, 200);
}

#[test]
fn what_does_not_listen_is_refused_with_what_to_do() {
    let said = |socket: OwnedFd| Inherited::of(socket, None, Owner::Manager).unwrap_err().to_string();
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(said(one.into()).contains("Accept="));
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(said(datagrams.into()).contains("ListenStream="));
    let file = std::fs::File::open("/dev/null").unwrap();
    said(file.into());
}
