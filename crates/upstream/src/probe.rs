//! Watches a target that could not be reached, and tells when it accepts connections again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::gateway::Endpoint;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use crate::dial::connect_any;
use crate::health::Condition;
use crate::target::{Target, TargetState};
use crate::waiting::WaitingRoom;

/// How often a target is tried while somebody may wait for it ...
const SOON: Duration = Duration::from_millis(50);
/// ... for so long ...
const SOON_FOR: Duration = Duration::from_secs(6);
/// ... and after that.
const LATER: Duration = Duration::from_secs(1);
/// One try.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// Until the target accepts, or nobody uses it any more.
pub(crate) async fn until_accepting(target: std::sync::Weak<Target>, room: Arc<WaitingRoom>) {
    let begun = Instant::now();
    loop {
        sleep(if begun.elapsed() < SOON_FOR { SOON } else { LATER }).await;
        let Some(target) = target.upgrade() else { return };
        if !is_unreachable(&target.state) {
            return;
        }
        if accepts(&target).await {
            let now = Instant::now();
            target.state.reached(now);
            room.open(now);
            return;
        }
    }
}

fn is_unreachable(state: &TargetState) -> bool {
    matches!(state.condition(), Condition::Unreachable { .. })
}

/// Whether a connection can be made. It is closed at once: no request goes over it.
async fn accepts(target: &Target) -> bool {
    match &target.settings.endpoint {
        Endpoint::Unix(path) => {
            timeout(CONNECT_MAX, UnixStream::connect(path)).await.is_ok_and(|made| made.is_ok())
        }
        Endpoint::Host { port, .. } => match target.addresses() {
            Ok(addresses) => {
                timeout(CONNECT_MAX, connect_any(&addresses, *port)).await.is_ok_and(|made| made.is_ok())
            }
            Err(_) => false,
        },
    }
}
