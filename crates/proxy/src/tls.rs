//! TLS towards clients: certificates by name, and the handshake.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::BytesMut;
use model::gateway::Listener;
use rustls::ServerConfig;
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;
use upstream::io::{Socket, Transport};
use upstream::tls;

/// The TLS side of a listener.
#[derive(Clone, Debug)]
pub struct ServerTls {
    certificates: Arc<Certificates>,
    acceptor: TlsAcceptorDebug,
}

#[derive(Clone)]
struct TlsAcceptorDebug(TlsAcceptor);

impl std::fmt::Debug for TlsAcceptorDebug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

/// Certificates in the order of the configuration; the first one serves when no name fits.
#[derive(Debug)]
struct Certificates(Vec<Arc<CertifiedKey>>);

impl ServerTls {
    /// Reads and checks the certificates of a listener; `None` if it has none. A failure names the file.
    pub fn for_listener(listener: &Listener) -> Result<Option<ServerTls>, String> {
        let Some(settings) = &listener.tls else { return Ok(None) };
        let provider = tls::provider();
        let keys: Result<Vec<_>, _> =
            settings.certificates.iter().map(|files| tls::certified_key(files).map(Arc::new)).collect();
        let certificates = Arc::new(Certificates(keys?));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(certificates.clone());
        config.alpn_protocols = match listener.http2 {
            true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            false => vec![b"http/1.1".to_vec()],
        };
        // One ticket resumes one session; two let a client open two connections at once.
        config.send_tls13_tickets = 2;
        if let Ok(ticketer) = rustls::crypto::aws_lc_rs::Ticketer::new() {
            config.ticketer = ticketer;
        }
        let acceptor = TlsAcceptorDebug(TlsAcceptor::from(Arc::new(config)));
        Ok(Some(ServerTls { certificates, acceptor }))
    }

    /// Which certificate serves a name.
    pub(crate) fn index(&self, name: &str) -> usize {
        self.certificates.index(Some(name))
    }

    /// Shakes hands; `input` are bytes that were read already. Gives the name that the client asked for.
    pub(crate) async fn accept(
        &self,
        socket: Socket,
        input: BytesMut,
    ) -> io::Result<(Transport, Option<Box<str>>)> {
        let mut early = Ok(());
        let stream = self.acceptor.0.accept_with(socket, |session| {
            let mut input = &input[..];
            while early.is_ok() && !input.is_empty() {
                early = session
                    .read_tls(&mut input as &mut dyn Read)
                    .and_then(|_| session.process_new_packets().map(drop).map_err(io::Error::other));
            }
        });
        let stream = stream.await?;
        early?;
        let server_name = stream.get_ref().1.server_name().map(|name| name.to_ascii_lowercase().into());
        Ok((Transport::Tls(Box::new(stream.into())), server_name))
    }
}

impl Certificates {
    fn index(&self, name: Option<&str>) -> usize {
        let Some(name) = name.and_then(|name| ServerName::try_from(name).ok()) else { return 0 };
        let fits = |key: &Arc<CertifiedKey>| {
            let parsed =
                key.cert.first().and_then(|certificate| ParsedCertificate::try_from(certificate).ok());
            parsed.is_some_and(|parsed| verify_server_name(&parsed, &name).is_ok())
        };
        if self.0.len() < 2 { 0 } else { self.0.iter().position(fits).unwrap_or(0) }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.get(self.index(hello.server_name())).cloned()
    }
}
