//! Who may call: credentials to consumers.
//!
//! A key is looked up by its SHA-256. Looking the digest up in a map does not tell an attacker anything about keys by
//! its timing, because he cannot choose digests that share a beginning with a stored one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use model::Secret;
use model::gateway::Consumer;
use sha2::{Digest, Sha256};

/// The credentials of all consumers.
#[derive(Debug, Default)]
pub struct Consumers {
    by_key: HashMap<[u8; 32], Arc<str>, ahash::RandomState>,
    /// For those who sign with a key instead of showing it.
    by_name: HashMap<Arc<str>, Vec<Secret>, ahash::RandomState>,
    /// Keys that Clearway itself has made; they outlive configurations.
    issued: Arc<Issued>,
}

/// Keys that are known by their digests only, and whose they are.
#[derive(Debug, Default)]
pub struct Issued(RwLock<HashMap<[u8; 32], Arc<str>, ahash::RandomState>>);

impl Issued {
    /// From now on the holder of the key with this SHA-256 is this consumer.
    pub fn add(&self, digest: [u8; 32], consumer: Arc<str>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(digest, consumer);
    }

    fn find(&self, digest: &[u8; 32]) -> Option<Arc<str>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }
}

impl Consumers {
    pub fn new(consumers: &[Arc<Consumer>]) -> Consumers {
        let by_key = consumers
            .iter()
            .flat_map(|consumer| consumer.api_keys.iter().map(move |key| (consumer, key)))
            .map(|(consumer, key)| (digest(key.expose().as_bytes()), consumer.name.clone()))
            .collect();
        let by_name = consumers.iter().map(|consumer| (consumer.name.clone(), consumer.api_keys.clone()));
        Consumers { by_key, by_name: by_name.collect(), issued: Arc::default() }
    }

    /// Keys that Clearway itself has made.
    pub fn issued(&self) -> Arc<Issued> {
        self.issued.clone()
    }

    /// With keys that Clearway itself has made.
    pub fn with_issued(self, issued: Arc<Issued>) -> Consumers {
        Consumers { issued, ..self }
    }

    /// The keys with which a consumer may sign. Those that Clearway has made are known by their digests only.
    pub fn keys_of(&self, name: &str) -> Option<(Arc<str>, &[Secret])> {
        self.by_name.get_key_value(name).map(|(name, keys)| (name.clone(), keys.as_slice()))
    }

    /// The consumer whose key this is.
    pub fn by_api_key(&self, key: &[u8]) -> Option<Arc<str>> {
        let digest = digest(key);
        self.by_key.get(&digest).cloned().or_else(|| self.issued.find(&digest))
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}
