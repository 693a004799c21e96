//! Limits: names that are there, and something to limit.

use std::sync::Arc;

use model::gateway::{Limit, LimitBy, Service};

use super::consumer::Consumers;
use super::names::Names;
use crate::ctx::Ctx;
use crate::decode::{At, Field, List};
use crate::scalar::Name;
use crate::shape;

pub(crate) fn limits(
    shapes: &[At<shape::Limit>],
    services: &[Arc<Service>],
    consumers: &Consumers,
    ctx: &mut Ctx,
) -> Vec<Arc<Limit>> {
    let mut names = Names::new("limit");
    let mut limits = Vec::new();
    for shape in shapes {
        let Some(name) = names.claim(&shape.name, ctx) else { continue };
        let by: Vec<LimitBy> =
            shape.by.given().into_iter().flat_map(|list| list.iter()).map(|by| by.value).collect();
        let limit = Limit {
            name: name.into(),
            services: named(&shape.services, |name, ctx| known_service(name, services, ctx), ctx),
            consumers: named(
                &shape.consumers,
                |name, ctx| consumers.names.require(&name.0, "consumers", name.place, ctx),
                ctx,
            ),
            models: shape
                .models
                .given()
                .into_iter()
                .flat_map(|list| list.iter())
                .map(|model| model.0.as_ref().into())
                .collect(),
            requests: shape.requests.given().map(|rate| rate.0),
            tokens: shape.tokens.given().map(|rate| rate.0),
            cost: shape.cost.given().map(|rate| rate.0),
            concurrency: shape.concurrency.given().map(|most| most.number()),
            by,
        };
        if limit.requests.is_none()
            && limit.tokens.is_none()
            && limit.cost.is_none()
            && limit.concurrency.is_none()
        {
            let message = format!("limit `{}` limits nothing", limit.name);
            ctx.error_with(shape.place, message, "give it `requests`, `tokens`, `cost` or `concurrency`");
        }
        if limit.by.contains(&LimitBy::Team) && consumers.all.iter().all(|consumer| consumer.team.is_none()) {
            let message = format!("limit `{}` is by team, and no consumer has one", limit.name);
            ctx.warn(shape.place, message, "give consumers a `team`");
        }
        limits.push(Arc::new(limit));
    }
    limits
}

fn named(
    list: &Field<List<Name, 1>>,
    is_known: impl Fn(&At<Name>, &mut Ctx) -> bool,
    ctx: &mut Ctx,
) -> Vec<Arc<str>> {
    let names = list.given().into_iter().flat_map(|list| list.iter());
    names.filter(|name| is_known(name, ctx)).map(|name| name.0.as_ref().into()).collect()
}

fn known_service(name: &At<Name>, services: &[Arc<Service>], ctx: &mut Ctx) -> bool {
    let is_known = services.iter().any(|service| *service.name == *name.0);
    if !is_known {
        let known = services.iter().map(|service| &*service.name);
        let hint = match crate::suggest::nearest(&name.0, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name one of `services`".to_owned(),
        };
        ctx.error_with(name.place, format!("services: there is no service `{}`", name.0), hint);
    }
    is_known
}
