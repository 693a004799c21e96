//! Waiting by condition, with a bound that only a broken program reaches.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;

/// How long anything may take before its test fails. Far above what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// A point that one side of a test passes only after another has opened it.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    #[expect(clippy::new_without_default, reason = "a gate is made on purpose, never by default")]
    pub fn new() -> Gate {
        Gate(watch::Sender::new(false))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Without a bound: for servers, whose tests have one.
    pub async fn passed_someday(&self) {
        let mut state = self.0.subscribe();
        state.wait_for(|open| *open).await.expect("the sender is ours");
    }

    pub async fn passed(&self) {
        let mut state = self.0.subscribe();
        within("a gate to open", state.wait_for(|open| *open)).await.expect("the sender is ours");
    }
}
