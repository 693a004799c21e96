//! Lines that say what the doctor is doing, while it does it; on standard error, so that the report stands alone.

use model::report::{Hop, Skipped};

use crate::output;

/// Says the stages, or keeps still.
pub(super) struct Stages {
    pub(super) spoken: bool,
}

impl Stages {
    fn say(&self, mark: &str, text: &str) {
        if self.spoken {
            output::say(&format!("[{mark}] {text}"));
        }
    }

    pub(super) fn chain(&mut self, chain: &[Hop]) {
        if chain.is_empty() {
            self.say("!", "no proxy and no Python server was found on this machine");
        }
        for hop in chain {
            let version = hop.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
            self.say("✓", &format!("found {}{version} at {}", hop.product, hop.address));
        }
    }

    pub(super) fn log(&mut self, shown: &str, found: usize, skipped: &[Skipped]) {
        match skipped.first() {
            Some(skipped) => self.say("-", &format!("skipped {shown}: {}", skipped.reason)),
            None => self.say("✓", &format!("read {shown}: {found} facts")),
        }
    }

    pub(super) fn asked(&mut self, count: usize) {
        self.say("✓", &format!("looked {count} times further"));
    }
}
