//! An environment and files without either.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::Path;

/// What the tests' configurations may refer to.
#[derive(Default)]
pub(crate) struct Outside {
    env: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
}

impl Outside {
    pub(crate) fn env(mut self, name: &str, value: &str) -> Outside {
        self.env.insert(name.into(), value.into());
        self
    }

    pub(crate) fn file(mut self, path: &str, text: &str) -> Outside {
        self.files.insert(path.into(), text.into());
        self
    }

    /// What the snapshots refer to.
    pub(crate) fn usual() -> Outside {
        Outside::default()
            .env("ALICE_KEY", "alice-0123456789abcdef")
            .env("BOB_KEY", "bob-0123456789abcdef")
            .env("SHORT", "short-secret")
            .file("cert.pem", "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n")
            .file("key.pem", "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n")
            .file(
                "locked.pem",
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
            )
            .file("errors/502.html", "<h1>{status}</h1>")
            .file("secret.txt", "from-a-file-0123456789\n")
    }
}

impl config::Lookup for Outside {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn file(&self, path: &Path) -> Result<String, Error> {
        let known = path.to_str().and_then(|path| self.files.get(path));
        known.cloned().ok_or_else(|| Error::from(ErrorKind::NotFound))
    }
}
