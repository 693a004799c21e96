//! The certificate of all proxies, and what the load generators are told about TLS, so that every handshake ends alike.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::process::answer_of;

/// What both sides of every connection end up with; the load generators offer nothing else.
pub(super) const AGREED: &str = "TLS 1.3, TLS_AES_128_GCM_SHA256, X25519, certificate ECDSA P-256";

/// Files in PEM.
pub(super) struct Certificate {
    pub(super) chain: PathBuf,
    pub(super) key: PathBuf,
    /// Chain and key in one file, as HAProxy wants them.
    pub(super) both: PathBuf,
    /// For the environment variable `OPENSSL_CONF` of wrk, h2load and Python.
    pub(super) client_settings: PathBuf,
}

impl Certificate {
    pub(super) fn make(folder: &Path) -> anyhow::Result<Self> {
        let [chain, key, both, client_settings] =
            ["chain.pem", "key.pem", "both.pem", "openssl.cnf"].map(|name| folder.join(name));
        let (chain_text, key_text) = (chain.to_string_lossy(), key.to_string_lossy());
        let arguments = [
            ["req", "-x509", "-nodes", "-days", "30", "-newkey", "ec"].as_slice(),
            &["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=localhost"],
            &["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            &["-out", &chain_text, "-keyout", &key_text],
        ];
        answer_of("openssl", &arguments.concat())?;
        let joined = fs::read_to_string(&chain)? + &fs::read_to_string(&key)?;
        fs::write(&both, joined).with_context(|| format!("failed to write {}", both.display()))?;
        let settings = "openssl_conf = start
[start]
ssl_conf = ssl
[ssl]
system_default = client
[client]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
";
        fs::write(&client_settings, settings)?;
        Ok(Self { chain, key, both, client_settings })
    }
}
