//! A receiver that answers what it is told to, and what is made of its answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use model::Secret;
use model::gateway::Gateway;

use super::*;

/// Answers one connection after the other with these statuses, and gives the requests it got.
fn receiver(statuses: Vec<u16>) -> (u16, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        let answer = |status: u16| {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let (mut request, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.strip_prefix("Content-Length: ") {
                    length = value.trim().parse().unwrap();
                }
                request.push_str(&line);
                if line == "\r\n" {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            request.push_str(std::str::from_utf8(&body).unwrap());
            let text = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            reader.get_mut().write_all(text.as_bytes()).unwrap();
            request
        };
        statuses.into_iter().map(answer).collect()
    });
    (port, answering)
}

struct Nothing;

impl config::Lookup for Nothing {
    fn env(&self, _: &str) -> Option<String> {
        Some("Bearer secret".into())
    }

    fn file(&self, _: &std::path::Path) -> Result<String, std::io::Error> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn gateway(port: u16) -> Gateway {
    let text = format!(
        "incidents: {{ webhook: {{ url: \"http://127.0.0.1:{port}/hook?key=k\", headers: {{ authorization: \"${{env:T}}\" }} }} }}"
    );
    let source = config::Source { name: "clearway.yaml".into(), text };
    config::build(&[source], &config::Overrides::default(), &Nothing).unwrap().gateway
}

async fn told(statuses: Vec<u16>) -> (Result<(), String>, Vec<String>) {
    let (port, answering) = receiver(statuses);
    let settings = gateway(port).incidents.webhook.unwrap();
    assert_eq!(settings.path, Secret::new("/hook?key=k"));
    assert!(!format!("{settings:?}").contains("key=k"), "secrets are not shown");
    let registry = Registry::new(Resolver::new(tokio::runtime::Handle::current()));
    let upstream = registry.upstream(&settings.upstream).unwrap();
    let sent = send(&upstream, &settings, "{\"event\":\"opened\"}".into(), &[Duration::ZERO; 3]).await;
    (sent, answering.join().unwrap())
}

#[tokio::test]
async fn a_message_goes_with_its_headers_and_is_taken() {
    let (sent, requests) = told(vec![204]).await;
    assert_eq!(sent, Ok(()));
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert!(request.starts_with("POST /hook?key=k HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Bearer secret\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"event\":\"opened\"}"), "{request}");
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_does_not_is_not() {
    let (sent, requests) = told(vec![503, 429, 200]).await;
    assert_eq!((sent, requests.len()), (Ok(()), 3));
    let (sent, _) = told(vec![401]).await;
    assert_eq!(sent, Err("it answered 401; look at incidents.webhook".to_owned()));
    let (sent, _) = told(vec![500, 500, 500, 500]).await;
    assert_eq!(sent, Err("it answered 500, after 4 tries".to_owned()));
}
