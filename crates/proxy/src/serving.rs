//! What runs: a checked gateway with its routes compiled, its upstreams ready and its credentials indexed.
//!
//! It is immutable and swapped whole. What must survive the swap (connections, counts) hangs on upstreams that did not
//! change, which are kept.

use std::collections::HashMap;
use std::sync::Arc;

use model::Gateway;
use policy::{Consumers, Limits};
use upstream::{Registry, Upstream};

use crate::ai::Rests;
use crate::route::RouteTable;

/// One configuration, ready to serve.
#[derive(Debug)]
pub struct Serving {
    pub gateway: Arc<Gateway>,
    pub routes: RouteTable,
    pub upstreams: HashMap<Arc<str>, Arc<Upstream>>,
    pub consumers: Consumers,
    /// With the counts of the process, which outlive configurations.
    pub limits: Limits,
    /// Which lanes of AI models rest; the same for all configurations of the process.
    rests: Arc<Rests>,
}

impl Serving {
    /// Makes a gateway ready. Upstreams that `previous` has with the same settings are taken over. Fails with every
    /// reason at once: certificates that cannot be read, names that cannot be.
    pub fn new(
        gateway: Arc<Gateway>,
        registry: &Registry,
        previous: Option<&Serving>,
    ) -> Result<Serving, Vec<String>> {
        let mut problems = Vec::new();
        let mut upstreams = HashMap::new();
        for (name, settings) in &gateway.upstreams {
            let kept = previous
                .and_then(|previous| previous.upstreams.get(name))
                .filter(|running| running.is_current_for(settings));
            let running = match kept {
                Some(running) => Ok(running.clone()),
                None => registry.upstream(settings),
            };
            match running {
                Ok(running) => {
                    upstreams.insert(name.clone(), running);
                }
                Err(reason) => problems.push(format!("upstream \"{name}\": {reason}")),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let rests = previous.map(|previous| previous.rests.clone()).unwrap_or_default();
        let routes = RouteTable::new(&gateway, &upstreams, &rests).map_err(|problem| vec![problem])?;
        let issued = previous.map(|previous| previous.consumers.issued()).unwrap_or_default();
        let consumers = Consumers::new(&gateway.consumers).with_issued(issued);
        let counters = previous.map(|previous| previous.limits.counters()).unwrap_or_default();
        let limits = Limits::new(&gateway.limits, &gateway.consumers, counters);
        Ok(Serving { gateway, routes, upstreams, consumers, limits, rests })
    }

    /// It is what serves from now on, and nothing is refused any more.
    pub fn take_over(&self) {
        self.upstreams.values().for_each(Upstream::take_over);
    }
}
