//! Services with their error pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Fault;
use model::gateway::{ErrorPage, Service};

use super::ai::Ai;
use super::consumer::Consumers;
use super::files;
use super::names::Names;
use super::overlap::Overlaps;
use super::route::{self, Destination};
use super::upstream::Upstreams;
use crate::ctx::Ctx;
use crate::decode::At;
use crate::shape;

pub(crate) fn services(
    shapes: &[At<shape::Service>],
    models: &Ai,
    upstreams: &mut Upstreams,
    consumers: &Consumers,
    ctx: &mut Ctx,
) -> Vec<Arc<Service>> {
    let mut names = Names::new("service");
    let mut overlaps = Overlaps::default();
    let mut all = Vec::new();
    for shape in shapes {
        let error_pages = error_pages(shape, ctx);
        let name = names.claim(&shape.name, ctx);
        // Without a name of its own, a service cannot give one to its upstream either.
        let owner = name.as_deref().unwrap_or_default();
        let ai = shape.ai.given().map(|ai| Arc::new(models.service(ai, ctx)));
        let destination = match (&ai, shape.ai.is_absent()) {
            (_, true) => Destination::of(owner, &shape.upstream, &shape.to, upstreams, ctx),
            (Some(ai), false) => {
                refuse_beside_ai(shape, ctx);
                Destination::of_ai(ai)
            }
            (None, false) => Destination::Bad,
        };
        let mut surrounding =
            route::Surrounding { service: owner, destination, upstreams, consumers, ai: ai.as_deref() };
        let routes = route::routes(shape, &mut surrounding, &mut overlaps, ctx);
        let Some(name) = name else { continue };
        all.push(Arc::new(Service {
            name: name.into(),
            routes,
            error_pages,
            expose_fault: shape.expose_fault.value,
            ai,
        }));
    }
    overlaps.check(ctx);
    all
}

/// Where its requests go is the business of models.
fn refuse_beside_ai(shape: &shape::Service, ctx: &mut Ctx) {
    let places = [shape.upstream.given().map(|at| at.place), shape.to.given().map(|at| at.place)];
    for place in places.into_iter().flatten() {
        ctx.error_with(place, "must not stand beside `ai`", "remove one of the two, or make two services");
    }
}

fn error_pages(shape: &shape::Service, ctx: &mut Ctx) -> BTreeMap<u16, ErrorPage> {
    let mut pages = BTreeMap::new();
    for (status, path) in &shape.error_pages.0 {
        let status = (status.0, status.place);
        // Pages replace Clearway's own answers; what the API answers itself is never touched.
        if !Fault::ALL.iter().any(|fault| fault.status() == status.0) {
            let message = format!("error-pages: Clearway itself never answers {}", status.0);
            ctx.warn(status.1, message, "answers of the API are passed on as they are");
        }
        if let Some(page) = files::error_page(status.0, path, ctx) {
            pages.insert(status.0, page);
        }
    }
    pages
}
