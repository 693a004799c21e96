//! What a process needs beside the data plane to serve AI models: the callers' key, and the simulator.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use model::{Gateway, Secret};
use proxy::Shared;
use store::Database;

use crate::demo;

/// The consumer that the callers' key stands for.
const CALLER: &str = "default";

/// Keys that were made just now, to be shown once.
#[derive(Debug)]
pub(crate) struct NewKeys {
    pub(crate) admin_token: Option<Secret>,
    pub(crate) caller_key: Option<Secret>,
}

/// Makes the keys that are not there yet: the admin token, and that of callers where the configuration has none; and starts the
/// simulator if it is asked for.
pub(crate) async fn prepare(
    gateway: &Gateway,
    database: &Database,
    shared: &Arc<Shared>,
    data: &Path,
) -> anyhow::Result<NewKeys> {
    let admin_token =
        database.admin_token_create_if_absent().await.context("failed to make an admin token")?;
    let admin_token = admin_token.map(Secret::new);
    let mut offers = gateway.services.iter().filter_map(|service| service.ai.as_ref());
    if offers.clone().any(|ai| ai.providers.iter().any(|provider| &*provider.kind == "demo")) {
        demo::start(data).context("failed to start the simulator")?;
    }
    let has_own_keys = gateway.consumers.iter().any(|consumer| !consumer.api_keys.is_empty());
    if has_own_keys || !offers.any(|ai| ai.key) {
        return Ok(NewKeys { admin_token, caller_key: None });
    }
    let (digest, caller_key) = database.caller_key().await.context("failed to make a key for callers")?;
    shared.serving.load().consumers.issued().add(digest, CALLER.into());
    Ok(NewKeys { admin_token, caller_key: caller_key.map(Secret::new) })
}
