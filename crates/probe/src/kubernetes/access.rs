//! Where the API is and who asks: an address, a kubeconfig, or the account of the pod this runs in.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Options;
use crate::config::kubeconfig::{self, Entry};

/// What a pod is given by its cluster.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Why the API could not be asked.
#[derive(Debug)]
pub struct AccessError(pub String);

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AccessError {}

/// How to ask.
#[derive(Clone, Default)]
pub(super) struct Access {
    /// `https://10.0.0.1:6443`, without a slash at its end.
    pub(super) server: String,
    pub(super) namespace: String,
    pub(super) token: Option<String>,
    /// Certificates in PEM that the server's is signed by; the system's without.
    pub(super) authority: Option<Vec<u8>>,
    /// The asker's own certificate and key, in PEM.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) insecure: bool,
}

pub(super) fn find(options: &Options) -> Result<Access, AccessError> {
    if let Some(server) = &options.server {
        let server = server.trim_end_matches('/').to_owned();
        return Ok(Access { server, namespace: "default".to_owned(), ..Access::default() });
    }
    let named = options.kubeconfig.clone().or_else(|| std::env::var_os("KUBECONFIG").map(PathBuf::from));
    if let Some(path) = named {
        return by_kubeconfig(&path);
    }
    if let Some(access) = by_account()? {
        return Ok(access);
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let usual = home.join(".kube/config");
    if usual.is_file() {
        return by_kubeconfig(&usual);
    }
    Err(AccessError(
        "no cluster is known: give --kubeconfig FILE, or run 'kubectl proxy' and give \
         --kubernetes-server http://127.0.0.1:8001"
            .to_owned(),
    ))
}

fn by_account() -> Result<Option<Access>, AccessError> {
    let (Ok(host), Ok(port)) =
        (std::env::var("KUBERNETES_SERVICE_HOST"), std::env::var("KUBERNETES_SERVICE_PORT"))
    else {
        return Ok(None);
    };
    let folder = Path::new(ACCOUNT);
    let token = text(&folder.join("token"))?;
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(Some(Access {
        server: format!("https://{host}:{port}"),
        namespace: text(&folder.join("namespace")).unwrap_or_else(|_| "default".to_owned()),
        token: Some(token),
        authority: fs::read(folder.join("ca.crt")).ok(),
        ..Access::default()
    }))
}

fn by_kubeconfig(path: &Path) -> Result<Access, AccessError> {
    let fail = |why: String| AccessError(format!("{}: {why}", path.display()));
    let entry: Entry = kubeconfig::read(&text(path)?).map_err(fail)?;
    if entry.needs_program {
        return Err(fail(
            "the user's credentials come from a program, which is not run: start 'kubectl proxy' and give \
             --kubernetes-server http://127.0.0.1:8001"
                .to_owned(),
        ));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let bytes = |data: Option<String>, file: Option<String>| -> Result<Option<Vec<u8>>, AccessError> {
        if let Some(data) = data {
            return STANDARD.decode(data.trim()).map(Some).map_err(|error| fail(format!("base64: {error}")));
        }
        match file {
            Some(file) => {
                let file = folder.join(file);
                fs::read(&file).map(Some).map_err(|error| fail(format!("{}: {error}", file.display())))
            }
            None => Ok(None),
        }
    };
    let token = match (entry.token, entry.token_file) {
        (Some(token), _) => Some(token),
        (None, Some(file)) => Some(text(&folder.join(file))?),
        (None, None) => None,
    };
    let certificate = bytes(entry.certificate_data, entry.certificate)?;
    let key = bytes(entry.key_data, entry.key)?;
    Ok(Access {
        server: entry.server.trim_end_matches('/').to_owned(),
        namespace: entry.namespace.unwrap_or_else(|| "default".to_owned()),
        token,
        authority: bytes(entry.authority_data, entry.authority)?,
        identity: certificate.zip(key),
        insecure: entry.insecure,
    })
}

fn text(path: &Path) -> Result<String, AccessError> {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| AccessError(format!("{}: {error}", path.display())))
}
