//! Folding: of what repeats itself, the latest are kept one by one, and the rest is counted.

use std::collections::{BTreeMap, HashMap};

use model::evidence::Place;
use model::report::Series;
use model::{Evidence, Moment};

use super::series::Points;

/// Pieces of evidence of the same kind about the same thing that are kept one by one.
const KEPT_MAX: usize = 200;
/// Different things of one kind; an attacker can write any path into a log.
const KEYS_MAX: usize = 2_000;
/// Fields that tell things of one kind apart.
const KEY: &[&str] = &["proxy", "phase", "how", "upstream", "status", "exception", "message", "uri"];

/// Evidence of one log, as it is read from its end.
#[derive(Default)]
pub struct Fold {
    kept: Vec<Evidence>,
    /// Where the latest of its key stands, and how many there are.
    keys: HashMap<String, (usize, usize)>,
    traffic: BTreeMap<String, Evidence>,
    points: Points,
}

impl Fold {
    pub(super) fn add(&mut self, evidence: Evidence) {
        if evidence.kind == "traffic" {
            return self.add_traffic(evidence);
        }
        let mut key = evidence.kind.to_string();
        for name in KEY {
            key.push('\u{1f}');
            key.push_str(evidence.get(name).unwrap_or(""));
        }
        if let Some((_, count)) = self.keys.get_mut(&key) {
            *count += 1;
            if *count > KEPT_MAX {
                return;
            }
        } else if self.keys.len() < KEYS_MAX {
            self.keys.insert(key, (self.kept.len(), 1));
        } else {
            return;
        }
        self.kept.push(evidence);
    }

    /// Counts of the blocks of a log are summed.
    fn add_traffic(&mut self, evidence: Evidence) {
        let key = evidence.get("uri").unwrap_or("").to_owned();
        let Some(known) = self.traffic.get_mut(&key) else {
            self.traffic.insert(key, evidence);
            return;
        };
        let sum = |name: &str| known.number(name).unwrap_or(0.0) + evidence.number(name).unwrap_or(0.0);
        let (requests, failed) = (sum("requests"), sum("failed"));
        let moment =
            |item: &Evidence, name: &str| item.get(name).and_then(|time| time.parse::<Moment>().ok());
        let later = |name: &str| moment(known, name).max(moment(&evidence, name));
        let (last_good, last_failed, to) = (later("last-good"), later("last-failed"), later("to"));
        let from = [moment(known, "from"), moment(&evidence, "from")].into_iter().flatten().min();
        // The median and the slow end are those of the latest block: the present is what matters.
        let of = if key.is_empty() { String::new() } else { format!(" of {key}") };
        *known = known
            .clone()
            .with("requests", requests)
            .with("failed", failed)
            .with_some("from", from)
            .with_some("to", to)
            .with_some("last-good", last_good)
            .with_some("last-failed", last_failed)
            .text(format!("{requests} requests{of}, {failed} of them failed"));
    }

    /// Gives the lines of a file their numbers, where they have none yet.
    pub(super) fn number(&mut self, path: &str, number: impl Fn(u64) -> Option<u64>) {
        let unnumbered = |line: u64| line > u64::from(u32::MAX);
        for item in &mut self.kept {
            if let Place::File { path: of, line } = &mut item.place
                && unnumbered(*line)
                && of == path
                && let Some(numbered) = number(*line)
            {
                *line = numbered;
            }
        }
    }

    /// Takes a request into account.
    pub(super) fn request(&mut self, time: Moment, failed: bool, elapsed: Option<f64>) {
        self.points.add(time, failed, elapsed);
    }

    pub(super) fn finish(mut self) -> (Vec<Evidence>, Vec<Series>) {
        for (index, count) in self.keys.into_values() {
            if count > KEPT_MAX
                && let Some(latest) = self.kept.get_mut(index)
            {
                let more = count - KEPT_MAX + 1;
                latest.fields.push(("count".into(), more.to_string()));
            }
        }
        self.kept.extend(self.traffic.into_values());
        (self.kept, self.points.finish())
    }
}
