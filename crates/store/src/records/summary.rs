//! What the row of a block says, so that a search can skip the block.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Exchange, Fault, RequestId};
use serde::{Deserialize, Serialize};

/// Whether an exchange counts as failed: it ended with a fault, or the answer was a server error.
pub(crate) fn is_failed(exchange: &Exchange) -> bool {
    exchange.ending.fault.is_some() || exchange.status >= 500
}

/// Collects while a block is open.
#[derive(Debug)]
pub(crate) struct SummaryBuilder {
    pub(crate) exchanges: u32,
    pub(crate) failed: u32,
    pub(crate) min_id: RequestId,
    pub(crate) max_id: RequestId,
    slowest_micros: u64,
    /// Few statuses occur in one block: a list is faster than a map.
    statuses: Vec<(u16, u32)>,
    faults: Vec<(Fault, u32)>,
    /// By the number of the name in the string table.
    services: Vec<(u32, u32)>,
}

impl Default for SummaryBuilder {
    fn default() -> SummaryBuilder {
        SummaryBuilder {
            exchanges: 0,
            failed: 0,
            min_id: RequestId(u128::MAX),
            max_id: RequestId(0),
            slowest_micros: 0,
            statuses: Vec::new(),
            faults: Vec::new(),
            services: Vec::new(),
        }
    }
}

impl SummaryBuilder {
    pub(crate) fn add(&mut self, exchange: &Exchange, service: Option<u32>) {
        self.exchanges += 1;
        self.min_id = self.min_id.min(exchange.id);
        self.max_id = self.max_id.max(exchange.id);
        self.slowest_micros = self.slowest_micros.max(exchange.timeline.done_micros);
        count(&mut self.statuses, exchange.status);
        if let Some(fault) = exchange.ending.fault {
            count(&mut self.faults, fault);
        }
        if let Some(service) = service {
            count(&mut self.services, service);
        }
        self.failed += u32::from(is_failed(exchange));
    }

    pub(crate) fn finish<'a>(&self, name_of: impl Fn(u32) -> Option<&'a str>) -> Summary {
        Summary {
            min_id: self.min_id,
            max_id: self.max_id,
            exchanges: self.exchanges,
            failed: self.failed,
            slowest: Duration::from_micros(self.slowest_micros),
            counts: Counts {
                status: self.statuses.iter().copied().collect(),
                fault: self.faults.iter().map(|(fault, count)| (fault.id().to_owned(), *count)).collect(),
                service: self
                    .services
                    .iter()
                    .filter_map(|(number, count)| Some((name_of(*number)?.to_owned(), *count)))
                    .collect(),
            },
        }
    }
}

fn count<K: PartialEq>(counts: &mut Vec<(K, u32)>, key: K) {
    match counts.iter_mut().find(|(known, _)| *known == key) {
        Some((_, count)) => *count += 1,
        None => counts.push((key, 1)),
    }
}

/// The row of one block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) min_id: RequestId,
    pub(crate) max_id: RequestId,
    pub(crate) exchanges: u32,
    pub(crate) failed: u32,
    pub(crate) slowest: Duration,
    pub(crate) counts: Counts,
}

/// How many exchanges of a block had which status, fault and service. JSON in the row, so that a person can ask too:
/// `select sum(counts ->> '$.fault.reset') from block`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) status: BTreeMap<u16, u32>,
    pub(crate) fault: BTreeMap<String, u32>,
    pub(crate) service: BTreeMap<String, u32>,
}
