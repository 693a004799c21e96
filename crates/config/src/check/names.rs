//! The names of one sort of resource: each has one owner, and a reference to none is answered with the nearest one.

use std::collections::BTreeMap;

use crate::ctx::Ctx;
use crate::decode::Field;
use crate::scalar::Name;
use crate::tree::Place;

pub(crate) struct Names {
    /// What the names are of, in singular.
    of: &'static str,
    places: BTreeMap<Box<str>, Place>,
    /// Some name could not be read, so a missing one may be that one.
    incomplete: bool,
}

impl Names {
    pub(crate) fn new(of: &'static str) -> Names {
        Names { of, places: BTreeMap::new(), incomplete: false }
    }

    /// The name, if it can be read and nobody else has it.
    pub(crate) fn claim(&mut self, name: &Field<Name>, ctx: &mut Ctx) -> Option<Box<str>> {
        let Some(name) = name.given() else {
            self.incomplete = true;
            return None;
        };
        self.claim_text(&name.0, name.place, ctx).then(|| name.0.clone())
    }

    /// Whether nobody else has it.
    pub(crate) fn claim_text(&mut self, name: &str, place: Place, ctx: &mut Ctx) -> bool {
        if let Some(first) = self.places.get(name) {
            let first = ctx.place_seen_from(*first, place);
            let message = format!("another {} is named `{name}`, at {first}", self.of);
            ctx.error_with(place, message, "give one of the two another name");
            return false;
        }
        self.places.insert(name.into(), place);
        true
    }

    pub(crate) fn place(&self, name: &str) -> Option<Place> {
        self.places.get(name).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Place)> {
        self.places.iter().map(|(name, place)| (&**name, *place))
    }

    /// Notes a reference to nothing.
    pub(crate) fn require(&self, name: &str, label: &str, place: Place, ctx: &mut Ctx) -> bool {
        if self.places.contains_key(name) {
            return true;
        }
        if !self.incomplete {
            let hint = match ctx.nearest(name, self.places.keys().map(|name| &**name)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.places.is_empty() => format!("no {} is configured", self.of),
                None => {
                    let known: Vec<&str> = self.places.keys().map(|name| &**name).take(8).collect();
                    let more = if self.places.len() > known.len() { " ..." } else { "" };
                    format!("configured: {}{more}", known.join(", "))
                }
            };
            ctx.error_with(place, format!("{label}: there is no {} `{name}`", self.of), hint);
        }
        false
    }
}
