//! How targets that speak TLS are verified: a rustls client configuration per upstream.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use model::gateway::{CertificateFiles, UpstreamTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Why certificates could not be used: names the file and what to do.
pub type CertificateError = String;

/// The process's cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())).clone()
}

/// The client side of one upstream.
#[derive(Clone, Debug)]
pub(crate) struct ClientTls {
    /// Offers all protocols that are allowed.
    pub any: Arc<ClientConfig>,
    /// Offers HTTP/1.1 only, for requests that want to upgrade (RFC 9113 section 8.6).
    pub http1: Arc<ClientConfig>,
}

/// Builds the client side for one upstream.
pub(crate) fn client_tls(settings: &UpstreamTls) -> Result<ClientTls, CertificateError> {
    let mut any = client_config(settings)?;
    any.alpn_protocols = vec![b"http/1.1".to_vec()];
    let http1 = Arc::new(any.clone());
    if settings.http2 {
        any.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(ClientTls { any: Arc::new(any), http1 })
}

fn client_config(settings: &UpstreamTls) -> Result<ClientConfig, CertificateError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if settings.verify {
        builder.with_root_certificates(roots(settings.ca.as_deref())?)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider())))
    };
    Ok(match &settings.client_certificate {
        Some(files) => {
            let key = SingleCertAndKey::from(certified_key(files)?);
            builder.with_client_cert_resolver(Arc::new(key))
        }
        None => builder.with_no_client_auth(),
    })
}

/// Tells one state of the files that the settings name from another; a file that cannot be read is a state too.
pub(crate) fn files_digest(settings: &UpstreamTls) -> u64 {
    let own = settings.client_certificate.iter().flat_map(|files| [&files.certificate, &files.key]);
    let mut digest = DefaultHasher::new();
    for path in own.chain(&settings.ca) {
        fs::read(path).ok().hash(&mut digest);
    }
    digest.finish()
}

/// Reads a chain and its key from PEM files; they must belong together.
pub fn certified_key(files: &CertificateFiles) -> Result<CertifiedKey, CertificateError> {
    let chain = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| format!("failed to read a private key from {}: {error}", files.key.display()))?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
        format!(
            "the certificate {} does not fit the key {}: {error}",
            files.certificate.display(),
            files.key.display()
        )
    })
}

/// Reads the authorities in a PEM file.
pub fn authorities(path: &Path) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{} is no authority: {error}", path.display()))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let failed = |reason: String| format!("failed to read certificates from {}: {reason}", path.display());
    let text = fs::read(path).map_err(|error: io::Error| failed(error.to_string()))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(error.to_string()))?;
    if chain.is_empty() {
        return Err(failed("no certificate in it; a PEM file is expected".to_owned()));
    }
    Ok(chain)
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, CertificateError> {
    if let Some(path) = ca {
        return authorities(path);
    }
    let mut roots = RootCertStore::empty();
    // A system without authorities is legal as long as nothing is verified against them; each handshake then fails with
    // its own reason.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(roots)
}

/// `verify: false`: takes any certificate, but still wants the peer to hold its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
