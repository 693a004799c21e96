//! Counts of limits, from one process to the next: read at the start, written every second in which they change, and at the end.
//!
//! What a kill without warning loses is what was settled in the last second; what was under way then counts as it was reserved, which is
//! more than most calls use.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use admin::Control as _;
use admin::Readiness;
use anyhow::Context;
use store::Database;

use crate::output;
use crate::running::Running;

/// Where they are in the database.
const NAME: &str = "limit-counts";
const EVERY: Duration = Duration::from_secs(1);

/// Goes on from what the process before has written, and writes from now on.
pub(crate) async fn start(running: &Arc<Running>) -> anyhow::Result<()> {
    let text = running.database.meta(NAME).await.context("failed to read the counts of limits")?;
    running.shared.serving.load().limits.counters().read(&text.unwrap_or_default());
    tokio::task::spawn_local(keep(running.clone()));
    Ok(())
}

/// Writes what has changed, for as long as the process serves: once another one has taken over, the counts are that one's.
async fn keep(running: Arc<Running>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if running.readiness() == Readiness::Draining {
            return;
        }
        let counters = running.shared.serving.load().limits.counters();
        if counters.take_changed() {
            write(&running.database, &counters).await;
        }
    }
}

/// Writes all of them.
pub(crate) async fn write(database: &Database, counters: &policy::Counters) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if let Err(error) = database.set_meta(NAME, &counters.written(now)).await {
        output::warn(&format!("failed to keep the counts of limits: {error}"));
    }
}
