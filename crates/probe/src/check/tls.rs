//! TLS: a connection to ask over, and what certificate a server shows, with and without a name.
//!
//! The handshake accepts every certificate, because seeing a bad one is the purpose; whether it is good is judged apart.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::{Evidence, Want};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
};

use super::http::Connection;
use super::{Answer, Budget, probed, skipped, tcp};
use crate::discover::Scene;
use crate::host::sockets::Address;

const WAIT: Duration = Duration::from_millis(1_500);
/// What a server that speaks plain HTTP answers to a handshake begins so.
const PLAIN: &[u8] = b"HTTP/";

pub(super) fn probe(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let Some(addr) = want.get("addr") else { return Answer::default() };
    let upstream = scene.upstreams.iter().find(|upstream| {
        upstream.written == addr || upstream.addresses.iter().any(|known| known.to_string() == addr)
    });
    let address =
        upstream.and_then(|upstream| upstream.addresses.first().cloned()).or_else(|| tcp::resolve(addr));
    let Some(Address::Inet(address)) = address else {
        return Answer {
            skipped: vec![skipped(want, "TLS is asked for over TCP only", "")],
            ..Answer::default()
        };
    };
    let setting = |name: &str| {
        scene
            .evidence
            .iter()
            .find(|item| item.kind == "setting" && item.get("name") == Some(name))
            .and_then(|item| item.get("value"))
    };
    let name = want
        .get("name")
        .map(str::to_owned)
        .or_else(|| setting("tls-name").map(str::to_owned))
        .unwrap_or_else(|| {
            let host = upstream.map_or(addr, |upstream| upstream.host.as_str());
            host.rsplit_once(':').map_or(host, |(host, _)| host).to_owned()
        });
    let mut answer = Answer::default();
    let mut seen: Vec<Shown> = Vec::new();
    let names: [Option<&str>; 2] = [Some(name.as_str()), None];
    let wanted = |sni: Option<&str>| match want.get("sni") {
        Some("none") => sni.is_none(),
        Some(_) => sni.is_some(),
        None => true,
    };
    for sni in names.into_iter().filter(|sni| wanted(*sni)) {
        let begun = Instant::now();
        let shown = match tcp::stream(address, budget.at_most(WAIT)) {
            Ok(stream) => handshake(stream, sni, &name, budget.at_most(WAIT)),
            Err(error) => {
                answer.skipped.push(skipped(want, format!("{addr}: {error}"), ""));
                return answer;
            }
        };
        let what = format!(
            "TLS handshake with {addr} {}",
            sni.map_or("without a name".to_owned(), |name| format!("for {name}"))
        );
        answer.probed.push(probed(what.clone(), shown.result, begun));
        let same = seen.first().map(|first| first.chain == shown.chain && !shown.chain.is_empty());
        answer.evidence.push(
            Evidence::new("tls-probe")
                .with("addr", addr)
                .with("sni", sni.unwrap_or("none"))
                .with("result", shown.result)
                .with_some("alert", shown.alert.clone())
                .with_some("version", shown.version)
                .with_some("same", same.map(|same| if same { "yes" } else { "no" }))
                .text(format!(
                    "{what}: {}{}",
                    shown.result,
                    shown.alert.as_ref().map(|alert| format!(" ({alert})")).unwrap_or_default()
                ))
                .from("tls probe")
                .at(Place::Probe(what)),
        );
        seen.push(shown);
    }
    answer
}

/// A connection over which one asks, whatever certificate the server shows.
pub(super) fn connection(stream: TcpStream, host: &str) -> io::Result<Box<dyn Connection>> {
    let name = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let client =
        ClientConnection::new(config(Arc::new(Recorder::new()), true), name).map_err(io::Error::other)?;
    Ok(Box::new(Encrypted(StreamOwned::new(client, stream))))
}

struct Encrypted(StreamOwned<ClientConnection, TcpStream>);

impl Read for Encrypted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            // Many servers close without saying goodbye.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            result => result,
        }
    }
}

impl Write for Encrypted {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Connection for Encrypted {
    fn wait(&self, limit: Duration) -> io::Result<()> {
        self.0.sock.wait(limit)
    }
}

/// What a handshake showed.
struct Shown {
    result: &'static str,
    alert: Option<String>,
    version: Option<&'static str>,
    chain: Vec<CertificateDer<'static>>,
}

fn handshake(mut stream: TcpStream, sni: Option<&str>, name: &str, limit: Duration) -> Shown {
    let recorder = Arc::new(Recorder::new());
    let nobody = || Shown { result: "closed", alert: None, version: None, chain: Vec::new() };
    // Without a name, the address is "asked for", which is never sent.
    let asked = sni.unwrap_or("127.0.0.1").to_owned();
    let Ok(server) = ServerName::try_from(asked) else { return nobody() };
    let Ok(mut client) = ClientConnection::new(config(Arc::clone(&recorder), sni.is_some()), server) else {
        return nobody();
    };
    if stream.wait(limit).is_err() {
        return nobody();
    }
    let mut first = [0; 5];
    let mut tapped = Tapped { stream: &mut stream, first: &mut first, taken: 0 };
    let result = client.complete_io(&mut tapped);
    let plain = first == *PLAIN;
    let chain = recorder.chain();
    let version = client.protocol_version().and_then(|version| match version {
        rustls::ProtocolVersion::TLSv1_2 => Some("1.2"),
        rustls::ProtocolVersion::TLSv1_3 => Some("1.3"),
        _ => None,
    });
    match result {
        Ok(_) => {
            let (result, alert) = judge(&chain, name);
            Shown { result, alert, version, chain }
        }
        Err(_) if plain => Shown { result: "plain", alert: None, version, chain },
        Err(error) => {
            let alert =
                error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).map(ToString::to_string);
            let result = match &alert {
                Some(alert) if alert.contains("alert") => "alert",
                Some(_) if !first.starts_with(&[0x15]) && !first.starts_with(&[0x16]) && first[0] != 0 => {
                    "plain"
                }
                Some(_) => "alert",
                None if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    "timeout"
                }
                None => "closed",
            };
            Shown { result, alert, version, chain }
        }
    }
}

/// Whether the chain is good for the name, by the certificates that the system trusts.
fn judge(chain: &[CertificateDer<'static>], name: &str) -> (&'static str, Option<String>) {
    let Some((end, between)) = chain.split_first() else { return ("ok", None) };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let Ok(server) = ServerName::try_from(name.to_owned()) else { return ("ok", None) };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let Ok(verifier) = verifier else {
        return ("verify", Some("the system trusts no certificates".to_owned()));
    };
    match verifier.verify_server_cert(end, between, &server, &[], UnixTime::now()) {
        Ok(_) => ("ok", None),
        Err(Error::InvalidCertificate(error)) => {
            let result = match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not-yet",
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "name-mismatch"
                }
                _ => "verify",
            };
            (result, Some(error.to_string()))
        }
        Err(error) => ("verify", Some(error.to_string())),
    }
}

pub(super) fn any_certificate() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Recorder::new())
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn config(recorder: Arc<Recorder>, sni: bool) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect("the versions of the provider must fit its suites");
    let mut config = builder.dangerous().with_custom_certificate_verifier(recorder).with_no_client_auth();
    config.enable_sni = sni;
    Arc::new(config)
}

/// Keeps what the server shows, and accepts it.
#[derive(Debug)]
struct Recorder {
    chain: Mutex<Vec<CertificateDer<'static>>>,
    schemes: Vec<SignatureScheme>,
}

impl Recorder {
    fn new() -> Recorder {
        Recorder {
            chain: Mutex::default(),
            schemes: provider().signature_verification_algorithms.supported_schemes(),
        }
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end).chain(between).map(|one| one.clone().into_owned()).collect();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = chain;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// Keeps the first bytes that come: plain text in place of a handshake is told by them.
struct Tapped<'a> {
    stream: &'a mut TcpStream,
    first: &'a mut [u8; 5],
    taken: usize,
}

impl Read for Tapped<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        for (to, from) in self.first.iter_mut().skip(self.taken).zip(buffer.iter().take(count)) {
            *to = *from;
        }
        self.taken += count;
        Ok(count)
    }
}

impl Write for Tapped<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
