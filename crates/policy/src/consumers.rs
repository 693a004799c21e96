//! Who may call: credentials to consumers.
//!
//! A key is kept only as its SHA-256. Looking the digest up in a map does not tell an attacker anything about keys by
//! its timing, because he cannot choose digests that share a beginning with a stored one.

use std::collections::HashMap;
use std::sync::Arc;

use model::gateway::Consumer;
use sha2::{Digest, Sha256};

/// The credentials of all consumers.
#[derive(Debug, Default)]
pub struct Consumers {
    by_key: HashMap<[u8; 32], Arc<str>, ahash::RandomState>,
}

impl Consumers {
    pub fn new(consumers: &[Arc<Consumer>]) -> Consumers {
        let by_key = consumers
            .iter()
            .flat_map(|consumer| consumer.api_keys.iter().map(move |key| (consumer, key)))
            .map(|(consumer, key)| (digest(key.expose().as_bytes()), consumer.name.clone()))
            .collect();
        Consumers { by_key }
    }

    /// The consumer whose key this is.
    pub fn by_api_key(&self, key: &[u8]) -> Option<&Arc<str>> {
        self.by_key.get(&digest(key))
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}
