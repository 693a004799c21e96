//! Services with their error pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Fault;
use model::gateway::{ErrorPage, Service};

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
        let destination = Destination::of(owner, &shape.upstream, &shape.to, upstreams, ctx);
        let mut surrounding = route::Surrounding { service: owner, destination, upstreams, consumers };
        let routes = route::routes(shape, &mut surrounding, &mut overlaps, ctx);
        let Some(name) = name else { continue };
        all.push(Arc::new(Service {
            name: name.into(),
            routes,
            error_pages,
            expose_fault: shape.expose_fault.value,
        }));
    }
    overlaps.check(ctx);
    all
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
