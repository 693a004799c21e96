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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use config::{Lookup, Overrides, Source};
    use proxy::{Server, Starting};
    use upstream::{Registry, Resolver};

    struct Nothing;

    impl Lookup for Nothing {
        fn env(&self, _: &str) -> Option<String> {
            None
        }

        fn file(&self, _: &Path) -> Result<String, std::io::Error> {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }

    fn process() -> Starting {
        let text = "services: [{ name: shop, to: \"http://127.0.0.1:9\" }]\nworkers: 1\n\
                    listeners: [{ address: \"127.0.0.1:0\" }]\n";
        let source = Source { name: "test.yaml".to_owned(), text: text.to_owned() };
        let checked = config::build(&[source], &Overrides::default(), &Nothing).unwrap();
        let registry = Registry::new(Resolver::new(tokio::runtime::Handle::current()));
        Server::prepare(Arc::new(checked.gateway), registry, Vec::new()).unwrap()
    }

    fn idle_limit(of: &Starting) -> Option<Duration> {
        let serving = of.shared().serving.load_full();
        let upstream = serving.upstreams.values().next().unwrap();
        upstream.targets.first().unwrap().state.idle_limit.known(Instant::now())
    }

    #[tokio::test]
    async fn a_document_is_taken_in_the_version_that_is_known_and_left_alone_in_another() {
        let old = process();
        for upstream in old.shared().serving.load_full().upstreams.values() {
            upstream.targets.first().unwrap().state.idle_limit.announced(Duration::from_secs(7));
        }
        let text = serde_json::to_string(&Learned::of(old.shared())).unwrap();
        for (text, expect) in [
            (text.clone(), Some(Duration::from_secs(7))),
            (text.replace("{\"version\":1,", "{\"version\":1,\"mood\":7,"), Some(Duration::from_secs(7))),
            (text.replace("\"version\":1", "\"version\":9"), None),
            ("{\"version\":1,\"upstreams\":\"none\"}".to_owned(), None),
            ("{}".to_owned(), None),
        ] {
            let new = process();
            serde_json::from_str::<Learned>(&text).unwrap().recall(new.shared());
            assert_eq!(idle_limit(&new), expect, "{text}");
        }
    }
}
