//! What was learned of upstreams, as it goes from one process to the next.

use std::time::Instant;

use proxy::Shared;
use serde::{Deserialize, Serialize};
use upstream::LearnedUpstream;

/// A reader that does not know the version learns anew.
const VERSION: u32 = 1;

/// The document.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Learned {
    version: u32,
    upstreams: serde_json::Value,
}

impl Learned {
    /// All that is known now.
    pub(crate) fn of(shared: &Shared) -> Learned {
        let now = Instant::now();
        let serving = shared.serving.load_full();
        let upstreams: Vec<LearnedUpstream> =
            serving.upstreams.values().map(|upstream| upstream.learned(now)).collect();
        // What cannot be said is learned anew.
        Learned { version: VERSION, upstreams: serde_json::to_value(upstreams).unwrap_or_default() }
    }

    /// Goes on from it, as far as it is understood and concerns what is served.
    pub(crate) fn recall(self, shared: &Shared) {
        if self.version != VERSION {
            return;
        }
        let Ok(known) = serde_json::from_value::<Vec<LearnedUpstream>>(self.upstreams) else { return };
        let now = Instant::now();
        let serving = shared.serving.load_full();
        for learned in &known {
            if let Some(upstream) = serving.upstreams.get(&*learned.upstream) {
                upstream.recall(learned, now);
            }
        }
    }
}
