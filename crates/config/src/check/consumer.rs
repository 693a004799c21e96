//! Consumers: names and keys are unique.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::gateway::Consumer;

use super::names::Names;
use crate::ctx::Ctx;
use crate::decode::At;
use crate::shape;
use crate::tree::Place;

pub(crate) struct Consumers {
    pub(crate) all: Vec<Arc<Consumer>>,
    pub(crate) names: Names,
    /// Keys of this consumer could not be read, which is noted.
    pub(crate) unreadable: HashSet<Arc<str>>,
}

pub(crate) fn consumers(shapes: &[At<shape::Consumer>], ctx: &mut Ctx) -> Consumers {
    let mut names = Names::new("consumer");
    let mut owners: HashMap<Box<str>, (Box<str>, Place)> = HashMap::new();
    let mut all = Vec::new();
    let mut unreadable = HashSet::new();
    for shape in shapes {
        let Some(name) = names.claim(&shape.name, ctx) else { continue };
        let mut api_keys = Vec::new();
        for key in shape.api_keys.given().into_iter().flat_map(|keys| keys.iter()) {
            let secret = &key.value.0;
            if let Some((owner, first)) = owners.get(secret.expose()) {
                let message = match *owner == name {
                    true => format!("api-keys: consumer `{name}` has this key twice"),
                    false => format!(
                        "api-keys: consumer `{owner}` has the same key, at {}",
                        ctx.place_seen_from(*first, key.place)
                    ),
                };
                ctx.error_with(key.place, message, "a key must tell who calls: make another one");
                continue;
            }
            owners.insert(secret.expose().into(), (name.clone(), key.place));
            api_keys.push(secret.clone());
        }
        if shape.api_keys.is_absent() {
            let message = format!("consumer `{name}` has nothing to prove itself with");
            ctx.warn(shape.place, message, "give it `api-keys`");
        }
        let name: Arc<str> = name.into();
        if api_keys.is_empty() && !shape.api_keys.is_absent() {
            unreadable.insert(name.clone());
        }
        let team = shape.team.given().map(|team| team.0.as_ref().into());
        all.push(Arc::new(Consumer { name, api_keys, team }));
    }
    Consumers { all, names, unreadable }
}
