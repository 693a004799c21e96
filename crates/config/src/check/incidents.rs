//! Incidents: the webhook is an upstream of one target, made like every other.

use std::sync::Arc;

use model::gateway::{Incidents, Webhook};

use super::upstream::Upstreams;
use crate::ctx::Ctx;
use crate::decode::At;
use crate::shape;

/// What the request itself says.
const TAKEN: [&str; 6] =
    ["connection", "content-length", "content-type", "host", "transfer-encoding", "user-agent"];

pub(crate) fn incidents(shape: &At<shape::Incidents>, upstreams: &Upstreams, ctx: &mut Ctx) -> Incidents {
    Incidents { webhook: shape.webhook.given().and_then(|webhook| read(webhook, upstreams, ctx)) }
}

fn read(shape: &At<shape::Webhook>, upstreams: &Upstreams, ctx: &mut Ctx) -> Option<Arc<Webhook>> {
    let mut headers = Vec::new();
    for (name, value) in &shape.headers.0 {
        if TAKEN.contains(&&*name.value.0) {
            let message = format!("headers: `{}` cannot be set here", name.value.0);
            ctx.error_with(name.place, message, "Clearway sets it");
            continue;
        }
        headers.push((name.value.0.clone(), value.value.0.clone()));
    }
    let url = shape.url.given()?;
    Some(Arc::new(Webhook {
        upstream: Arc::new(upstreams.beside("webhook", &url.target, ctx)),
        path: url.path.clone(),
        headers,
    }))
}
