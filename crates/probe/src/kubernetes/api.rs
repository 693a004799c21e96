//! GET requests to the API: one connection each, which the server ends.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use super::access::{Access, AccessError};
use crate::check;
use crate::parse::http_body;

/// One answer.
const WAIT: Duration = Duration::from_secs(3);
const BYTES_MAX: u64 = 64 << 20;
/// Objects of one page of a list, and pages.
const PAGE: usize = 500;
const PAGES_MAX: usize = 20;

pub(super) struct Api {
    access: Access,
    deadline: Instant,
}

impl Api {
    pub(super) fn new(access: Access, deadline: Instant) -> Api {
        Api { access, deadline }
    }

    /// Every object of a list, page by page.
    pub(super) fn list(&self, path: &str) -> Result<Vec<Value>, AccessError> {
        let sign = if path.contains('?') { '&' } else { '?' };
        let mut next = format!("{path}{sign}limit={PAGE}");
        let mut items = Vec::new();
        for _ in 0..PAGES_MAX {
            let text = self.text(&next)?;
            let mut value: Value = serde_json::from_str(&text)
                .map_err(|error| AccessError(format!("{path}: its answer is no JSON: {error}")))?;
            if let Some(Value::Array(page)) = value.get_mut("items").map(Value::take) {
                items.extend(page);
            }
            match value.pointer("/metadata/continue").and_then(Value::as_str) {
                Some(more) if !more.is_empty() => {
                    next = format!("{path}{sign}limit={PAGE}&continue={}", escaped(more));
                }
                _ => break,
            }
        }
        Ok(items)
    }

    /// The body of an answer.
    pub(super) fn text(&self, path: &str) -> Result<String, AccessError> {
        let fail = |why: String| AccessError(format!("{}{path}: {why}", self.access.server));
        let bytes = self.exchange(path).map_err(|error| fail(error.to_string()))?;
        let (status, body) =
            http_body::read(&bytes).ok_or_else(|| fail("the answer is no HTTP".to_owned()))?;
        let body = String::from_utf8_lossy(&body).into_owned();
        if status == 200 {
            return Ok(body);
        }
        let said: Option<Value> = serde_json::from_str(&body).ok();
        let message = said.as_ref().and_then(|said| said.get("message")).and_then(Value::as_str);
        Err(fail(format!("{status} {}", message.unwrap_or_default()).trim_end().to_owned()))
    }

    fn exchange(&self, path: &str) -> io::Result<Vec<u8>> {
        let (scheme, rest) = self.access.server.split_once("://").unwrap_or(("https", &self.access.server));
        let (authority, prefix) = rest.split_once('/').map_or((rest, ""), |(host, prefix)| (host, prefix));
        let usual = if scheme == "http" { 80 } else { 443 };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { authority.to_owned() } else { format!("{authority}:{usual}") };
        let left = self.deadline.saturating_duration_since(Instant::now()).min(WAIT);
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the time was up (see --budget)"));
        }
        let address = address.to_socket_addrs()?.next().ok_or_else(|| io::Error::other("no address"))?;
        let stream = TcpStream::connect_timeout(&address, left)?;
        stream.set_read_timeout(Some(left))?;
        stream.set_write_timeout(Some(left))?;
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        let mut request = format!(
            "GET {prefix}{path} HTTP/1.1\r\nHost: {authority}\r\nAccept: application/json, */*\r\n\
             User-Agent: clearway-doctor\r\nConnection: close\r\n"
        );
        if let Some(token) = &self.access.token {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        request.push_str("\r\n");
        if scheme == "http" {
            return ask(stream, &request);
        }
        let host = authority.rsplit_once(':').filter(|_| has_port).map_or(authority, |(host, _)| host);
        let name =
            ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(self.tls()?, name).map_err(io::Error::other)?;
        ask(StreamOwned::new(connection, stream), &request)
    }

    fn tls(&self) -> io::Result<Arc<ClientConfig>> {
        let builder = ClientConfig::builder_with_provider(check::crypto())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = if self.access.insecure {
            builder.dangerous().with_custom_certificate_verifier(check::any_certificate())
        } else {
            let mut roots = RootCertStore::empty();
            match &self.access.authority {
                Some(pem) => {
                    roots.add_parsable_certificates(
                        CertificateDer::pem_slice_iter(pem).filter_map(Result::ok),
                    );
                }
                None => {
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                }
            }
            builder.with_root_certificates(roots)
        };
        let config = match &self.access.identity {
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(certificate).filter_map(Result::ok).collect();
                let key = PrivateKeyDer::from_pem_slice(key).map_err(io::Error::other)?;
                builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

fn ask(mut stream: impl Read + Write, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    match stream.take(BYTES_MAX).read_to_end(&mut bytes) {
        // Some servers close without the goodbye of TLS; the lengths tell whether all has come.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        result => {
            result?;
        }
    }
    Ok(bytes)
}

/// What is no letter, digit or mark of a query, as its hexadecimal number.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_pages_are_escaped() {
        assert_eq!(escaped("a+b/c=="), "a%2Bb%2Fc%3D%3D");
    }
}
