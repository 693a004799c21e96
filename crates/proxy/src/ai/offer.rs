//! What an AI service offers, ready to be asked: its providers with their destinations and keys, and which lanes a name means.

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use ai::{Operation, Protocol};
use model::gateway::{AiService, HostRewrite, LaneChoice, PathForm, Provider, ProviderKey, Route, Service};
use policy::Policies;
use upstream::Upstream;

use super::ask::Ask;
use super::lanes::{Candidate, Plan};
use super::rest::{KeyRest, LaneRest, Rests};
use super::{Stop, answer};
use crate::route::Destination;

/// The lanes of a service.
#[derive(Debug)]
pub struct Offer {
    settings: Arc<AiService>,
    sources: Vec<Arc<Source>>,
}

/// A provider, ready to be asked.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) settings: Arc<Provider>,
    destinations: Vec<(Protocol, Arc<Destination>)>,
    /// With one without a key where none is needed.
    keys: Vec<(Option<Arc<ProviderKey>>, Arc<KeyRest>)>,
}

/// A provider, its model, and the weight of both, that a name means.
type Meant<'a> = (&'a Arc<Source>, Arc<str>, u32);

/// Stands for a secret, so that none is kept where it is not needed.
fn number_of(secret: &str) -> u64 {
    static STATE: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);
    let mut hasher = STATE.build_hasher();
    hasher.write(secret.as_bytes());
    hasher.finish()
}

impl Offer {
    /// `upstream` gives the running upstream of a name.
    pub(crate) fn new(
        service: &Arc<Service>,
        route: &Route,
        settings: &Arc<AiService>,
        upstream: impl Fn(&str) -> Option<Arc<Upstream>>,
        rests: &Rests,
    ) -> Result<Offer, String> {
        let mut sources = Vec::new();
        for provider in &settings.providers {
            let mut destinations = Vec::new();
            for endpoint in &provider.endpoints {
                let upstream = upstream(&endpoint.upstream)
                    .ok_or_else(|| format!("provider \"{}\" has no upstream", provider.name))?;
                let route = Route {
                    upstream: endpoint.upstream.clone(),
                    path: PathForm::AsSent,
                    host: HostRewrite::Target,
                    policies: Vec::new(),
                    timeouts: upstream.settings.timeouts,
                    ..route.clone()
                };
                let policies = Policies::default();
                let destination = Destination {
                    service: service.clone(),
                    route: Arc::new(route),
                    upstream,
                    policies,
                    offer: None,
                };
                destinations.push((endpoint.protocol, Arc::new(destination)));
            }
            let rest = |secret: &str| rests.of(&provider.name, number_of(secret));
            let mut keys: Vec<_> =
                provider.keys.iter().map(|key| (Some(key.clone()), rest(key.secret.expose()))).collect();
            if keys.is_empty() {
                keys.push((None, rest("")));
            }
            sources.push(Arc::new(Source { settings: provider.clone(), destinations, keys }));
        }
        Ok(Offer { settings: settings.clone(), sources })
    }

    /// The lanes for a request, in the order in which they are asked.
    pub(crate) fn plan(&self, ask: &Ask, random: u64) -> Result<Plan, Stop> {
        let mut candidates = Vec::new();
        let (choose, lanes) = self.lanes(ask.model(), ask);
        for (provider, model, weight) in lanes {
            candidates.extend(self.candidates(provider, model, weight, ask));
        }
        if candidates.is_empty() {
            return Err(answer::unknown_model(ask.model(), self.nearest(ask.model())));
        }
        Ok(Plan::new(candidates, choose, random, Instant::now()))
    }

    /// Provider, model and weight of each lane that a name means.
    fn lanes<'a>(&'a self, name: &'a str, ask: &Ask) -> (LaneChoice, Vec<Meant<'a>>) {
        if let Some(model) = self.settings.models.iter().find(|model| *model.name == *name) {
            let lanes = model.lanes.iter().filter_map(|lane| {
                let source = self.source(&lane.provider)?;
                Some((source, lane.model.clone(), lane.weight))
            });
            return (model.choose, lanes.collect());
        }
        if let Some((provider, model)) = name.split_once('/')
            && let Some(source) = self.source(provider)
            && !model.is_empty()
        {
            return (LaneChoice::InOrder, vec![(source, model.into(), 1)]);
        }
        let known = self.sources.iter().filter(|source| source.knows(name));
        let mut lanes: Vec<_> = known.map(|source| (source, Arc::from(name), 1)).collect();
        if lanes.is_empty() {
            // A name that nobody knows may be new: where there is only one who could have it, he is asked.
            lanes.extend(self.only_one(ask).map(|source| (source, Arc::from(name), 1)));
        }
        (LaneChoice::InOrder, lanes)
    }

    fn only_one(&self, ask: &Ask) -> Option<&Arc<Source>> {
        if let [only] = self.sources.as_slice() {
            return Some(only);
        }
        // Without a model at all: lists of files and the like.
        let mut speaking = self.sources.iter().filter(|source| source.destination(ask.protocol()).is_some());
        let first = speaking.next();
        if ask.model().is_empty() { first } else { first.filter(|_| speaking.next().is_none()) }
    }

    fn source(&self, name: &str) -> Option<&Arc<Source>> {
        self.sources.iter().find(|source| *source.settings.name == *name)
    }

    fn candidates(&self, source: &Arc<Source>, model: Arc<str>, weight: u32, ask: &Ask) -> Vec<Candidate> {
        let Some((protocol, destination)) = source.speaks_for(ask) else { return Vec::new() };
        let candidate = |(key, rest): &(Option<Arc<ProviderKey>>, Arc<KeyRest>)| Candidate {
            source: source.clone(),
            model: model.clone(),
            protocol,
            destination: destination.clone(),
            key: key.clone(),
            rest: LaneRest::new(rest.clone(), model.clone()),
            weight,
        };
        source.keys.iter().map(candidate).collect()
    }

    /// Every name that can be called, with its provider.
    pub(crate) fn names(&self) -> Vec<(Box<str>, Box<str>)> {
        let mut names: Vec<(Box<str>, Box<str>)> =
            self.settings.models.iter().map(|model| ((*model.name).into(), "clearway".into())).collect();
        for source in &self.sources {
            let provider = &source.settings.name;
            for model in source.models() {
                names.push((format!("{provider}/{model}").into(), (**provider).into()));
            }
        }
        names
    }

    /// Names that are like this one.
    fn nearest(&self, name: &str) -> Vec<Box<str>> {
        let mut near: Vec<(usize, Box<str>)> = Vec::new();
        for (known, _) in self.names() {
            let bare = known.split_once('/').map_or(&*known, |(_, bare)| bare);
            let distance = distance(name, bare).min(distance(name, &known));
            if distance * 2 <= name.chars().count().max(2) {
                near.push((distance, known));
            }
        }
        near.sort();
        near.into_iter().take(3).map(|(_, name)| name).collect()
    }
}

impl Source {
    fn knows(&self, model: &str) -> bool {
        self.settings.models.iter().any(|known| **known == *model)
            || ai::catalogue::model(&self.settings.kind, model).is_some()
    }

    /// Models by name: the operator's, and those of the catalogue.
    fn models(&self) -> impl Iterator<Item = &str> {
        let own = self.settings.models.iter().map(|name| &**name);
        own.chain(ai::catalogue::models(&self.settings.kind).map(|model| &*model.name))
    }

    fn destination(&self, protocol: Protocol) -> Option<&Arc<Destination>> {
        self.destinations.iter().find(|(known, _)| *known == protocol).map(|(_, destination)| destination)
    }

    /// The protocol to speak for this request: the client's own, so that its bytes can go on, or the provider's best one. What is
    /// no conversation is handed on only where the client's family is spoken.
    fn speaks_for(&self, ask: &Ask) -> Option<(Protocol, Arc<Destination>)> {
        let own = self.destination(ask.protocol()).map(|destination| (ask.protocol(), destination.clone()));
        if own.is_some() {
            return own;
        }
        match ask.endpoint.operation {
            Operation::Generate if !self.settings.forward_only => {
                self.destinations.first().map(|(protocol, destination)| (*protocol, destination.clone()))
            }
            _ => None,
        }
    }
}

/// How many letters have to change, come or go.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut before = i + 1;
        for (right, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let change = diagonal + usize::from(left != *right);
            diagonal = *cell;
            *cell = change.min(before + 1).min(diagonal + 1);
            before = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances_are_edits() {
        assert_eq!(distance("gpt-4o", "gpt-4o"), 0);
        assert_eq!(distance("gpt4o", "gpt-4o"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
