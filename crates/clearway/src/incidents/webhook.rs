//! Tells a webhook of incidents: a bounded queue, and a task that sends one message after the other and tries again a few times.
//!
//! Serving, recording and the keeper never wait for it, and a process that ends waits for a while ([`Untold`]). What finds no room,
//! and what is not taken until then, is not sent, and the log says so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use admin::IncidentRow;
use model::gateway::Webhook;
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use upstream::{Post, Registry, Resolver, Upstream};

use super::Tally;
use crate::output;

/// Messages that may wait, of about a kilobyte each: incidents of this many services at once.
const WAITING_MAX: usize = 256;
/// How long one try may take altogether.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait before the second try and those after it: over a restart of the receiver, and no longer than people would
/// wait for news.
const BACK_OFF: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(25)];

/// How many messages of this process are still to be told.
#[derive(Debug, Default)]
pub(crate) struct Untold(watch::Sender<usize>);

impl Untold {
    fn add(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    fn settle(&self) {
        self.0.send_modify(|count| *count -= 1);
    }

    /// Waits until all of them are told or given up, or until the time is over.
    pub(crate) async fn told(&self, within: Duration) {
        let mut count = self.0.subscribe();
        if timeout(within, count.wait_for(|count| *count == 0)).await.is_err() {
            let left = *self.0.borrow();
            output::warn(&format!("{left} messages about incidents were not told to the webhook in time"));
        }
    }
}

/// What is told of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Event {
    /// Its cause was found, or is another one.
    Cause,
    Closed,
    Opened,
    Reopened,
}

/// The body of the request; `docs/incidents.md` has it.
#[derive(Debug, Serialize)]
struct Message {
    version: u32,
    event: Event,
    incident: IncidentRow,
}

/// A webhook that is told.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) settings: Arc<Webhook>,
    queue: mpsc::Sender<Vec<u8>>,
    tally: Arc<Mutex<Tally>>,
    untold: Arc<Untold>,
}

impl Teller {
    /// To be called on a runtime, which sends for as long as the teller and what waits lasts.
    pub(super) fn start(
        settings: Arc<Webhook>,
        tally: Arc<Mutex<Tally>>,
        untold: Arc<Untold>,
    ) -> Option<Teller> {
        // A registry of its own: what the webhook's name once meant to routes is nothing to it.
        let registry = Registry::new(Resolver::new(tokio::runtime::Handle::current()));
        let upstream = match registry.upstream(&settings.upstream) {
            Ok(upstream) => upstream,
            Err(reason) => {
                output::error(&format!("incidents are not told to the webhook: {reason}"));
                return None;
            }
        };
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        tokio::spawn(send_all(upstream, settings.clone(), waiting, tally.clone(), untold.clone()));
        Some(Teller { settings, queue, tally, untold })
    }

    pub(super) fn tell(&self, event: Event, incident: IncidentRow) {
        let message = Message { version: 1, event, incident };
        let body = serde_json::to_vec(&message).expect("an incident must have a JSON form");
        self.untold.add();
        if self.queue.try_send(body).is_err() {
            self.untold.settle();
            count(&self.tally, false);
            output::warn("an incident is not told to the webhook: too many messages wait for it");
        }
    }
}

async fn send_all(
    upstream: Arc<Upstream>,
    settings: Arc<Webhook>,
    mut waiting: mpsc::Receiver<Vec<u8>>,
    tally: Arc<Mutex<Tally>>,
    untold: Arc<Untold>,
) {
    while let Some(body) = waiting.recv().await {
        let sent = send(&upstream, &settings, body.into(), &BACK_OFF).await;
        count(&tally, sent.is_ok());
        if let Err(reason) = sent {
            output::warn(&format!("failed to tell the webhook of an incident: {reason}"));
        }
        untold.settle();
    }
}

/// Tries until it is taken, refused for good, or given up; the reason is for a person, and names no secret.
async fn send(
    upstream: &Upstream,
    settings: &Webhook,
    body: bytes::Bytes,
    back_off: &[Duration],
) -> Result<(), String> {
    let mut tries = 0;
    loop {
        let outcome = timeout(TRY_TIMEOUT, send_once(upstream, settings, body.clone())).await;
        let reason = match outcome {
            Ok(Ok(200..=299)) => return Ok(()),
            // 408 and 429 ask for another try (RFC 9110 section 15.5.9, RFC 6585 section 4); others will not change their mind.
            Ok(Ok(status @ (300..=407 | 409..=428 | 430..=499))) => {
                return Err(format!("it answered {status}; look at incidents.webhook"));
            }
            Ok(Ok(status)) => format!("it answered {status}"),
            Ok(Err(reason)) => reason,
            Err(_) => format!("no answer within {TRY_TIMEOUT:?}"),
        };
        let Some(wait) = back_off.get(tries) else {
            return Err(format!("{reason}, after {} tries", tries + 1));
        };
        tries += 1;
        sleep(*wait).await;
    }
}

async fn send_once(upstream: &Upstream, settings: &Webhook, body: bytes::Bytes) -> Result<u16, String> {
    let target = upstream.targets.first().ok_or("it has no target")?;
    let post = Post {
        path: settings.path.expose(),
        fields: settings.headers.iter().map(|(name, value)| (&**name, value.expose())).collect(),
        content_type: "application/json",
        body,
    };
    upstream::post(upstream, target, &post).await.map_err(|failure| {
        let detail = failure.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
        format!("{} during {}{detail}", failure.fault, failure.phase.id())
    })
}

fn count(tally: &Mutex<Tally>, delivered: bool) {
    tally.lock().unwrap_or_else(PoisonError::into_inner).count_message(delivered);
}

#[cfg(test)]
mod tests;
