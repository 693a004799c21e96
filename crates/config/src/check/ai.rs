//! Providers, models and AI services: rows of the catalogue, and what is written over them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use ai::catalogue::{self, Auth};
use model::gateway::{
    AiService, LaneSpec, Provider, ProviderAuth, ProviderEndpoint, ProviderKey, ProviderQuirks, Scheme,
    Timeouts, VirtualModel,
};
use model::{AiProtocol, Secret};

use super::names::Names;
use super::upstream::Upstreams;
use crate::ctx::Ctx;
use crate::decode::{At, Scalar, default};
use crate::scalar::{TargetUrl, WebhookUrl};
use crate::shape;
use crate::suggest::nearest;
use crate::tree::Place;

/// All that there is of AI models.
pub(crate) struct Ai {
    providers: Vec<Arc<Provider>>,
    names: Names,
    models: Vec<Arc<VirtualModel>>,
}

/// What there is to read.
#[derive(Clone, Copy)]
pub(crate) struct Lists<'a> {
    pub(crate) providers: &'a [At<shape::Provider>],
    pub(crate) models: &'a [At<shape::Model>],
    /// By the command line.
    pub(crate) named: &'a [String],
    /// Somebody would use those of the environment.
    pub(crate) wanted: bool,
    pub(crate) data: &'a Path,
}

/// From the lists of the files; without a list of providers, from the environment.
pub(crate) fn read(lists: &Lists<'_>, upstreams: &mut Upstreams, ctx: &mut Ctx) -> Ai {
    let Lists { providers, models, named, wanted, data } = *lists;
    let mut ai = Ai { providers: Vec::new(), names: Names::new("provider"), models: Vec::new() };
    for shape in providers {
        if let Some(name) = ai.names.claim(&shape.name, ctx)
            && let Some(provider) = declared(&name, shape, data, upstreams, ctx)
        {
            ai.providers.push(Arc::new(provider));
        }
    }
    for name in named {
        let place = ctx.option("--provider");
        match catalogue::providers().get(name.as_str()) {
            Some(row) if ai.names.claim_text(name, place, ctx) => {
                ai.providers.extend(of_row(row, place, data, upstreams, ctx).map(Arc::new));
            }
            Some(_) => {}
            None => unknown_kind(name, place, ctx),
        }
    }
    if wanted && providers.is_empty() && named.is_empty() {
        ai.providers = of_environment(data, upstreams, ctx);
        for provider in &ai.providers {
            ai.names.claim_text(&provider.name, Place::whole(usize::MAX), ctx);
        }
    }
    ai.read_models(models, ctx);
    ai
}

impl Ai {
    pub(crate) fn is_empty(&self) -> bool {
        self.providers.is_empty()
    }

    fn read_models(&mut self, shapes: &[At<shape::Model>], ctx: &mut Ctx) {
        let mut taken: HashMap<Box<str>, Place> = HashMap::new();
        for shape in shapes {
            let Some(name) = shape.name.given() else { continue };
            if let Some(first) = taken.insert(name.0.clone(), name.place) {
                let first = ctx.place_seen_from(first, name.place);
                ctx.error_with(
                    name.place,
                    format!("name: there is a model `{}` already, at {first}", name.0),
                    "give one of the two another name",
                );
                continue;
            }
            let mut lanes = Vec::new();
            for lane in shape.lanes.given().into_iter().flat_map(|lanes| lanes.iter()) {
                if self.names.require(&lane.lane.provider, "provider", lane.place, ctx) {
                    lanes.push(LaneSpec {
                        provider: lane.lane.provider.as_ref().into(),
                        model: lane.lane.model.as_ref().into(),
                        weight: lane.weight,
                    });
                }
            }
            self.models.push(Arc::new(VirtualModel {
                name: name.0.as_ref().into(),
                choose: shape.choose.value,
                lanes,
            }));
        }
    }

    /// What a service offers.
    pub(crate) fn service(&self, shape: &At<shape::Ai>, ctx: &mut Ctx) -> AiService {
        let providers: Vec<Arc<Provider>> = match shape.providers.given() {
            None => self.providers.clone(),
            Some(names) => {
                let mut chosen = Vec::new();
                for name in names.iter() {
                    if self.names.require(&name.0, "provider", name.place, ctx) {
                        chosen.extend(
                            self.providers.iter().filter(|provider| *provider.name == *name.0).cloned(),
                        );
                    }
                }
                chosen
            }
        };
        if providers.is_empty() && !ctx.has_errors() {
            let message = "ai: there is no provider";
            let hint = "set a provider's variable, such as OPENAI_API_KEY, or name one in `providers`";
            ctx.error_with(shape.place, message, hint);
        }
        let offers = |lane: &LaneSpec| providers.iter().any(|provider| provider.name == lane.provider);
        let models = self.models.iter().filter(|model| model.lanes.iter().any(offers)).cloned().collect();
        AiService { providers, models, key: shape.key.value }
    }
}

/// A provider of the configuration.
fn declared(
    name: &str,
    shape: &At<shape::Provider>,
    data: &Path,
    upstreams: &mut Upstreams,
    ctx: &mut Ctx,
) -> Option<Provider> {
    let kind = shape.kind.given().map_or(name, |kind| &kind.0);
    let row = catalogue::providers().get(kind);
    if row.is_none() && (shape.kind.given().is_some() || shape.url.is_absent()) {
        unknown_kind(kind, shape.place, ctx);
        return None;
    }
    let custom = catalogue::Provider {
        id: name.into(),
        auth: if shape.keys.is_absent() { Auth::None } else { Auth::Bearer },
        speaks: vec!["chat".into()],
        ..catalogue::Provider::default()
    };
    let mut row = row.cloned().unwrap_or(custom);
    if let Some(words) = shape.speaks.given() {
        row.speaks = words.iter().map(|word| word.0.id().into()).collect();
    }
    let url = shape.url.given();
    if url.is_some() {
        row.urls.clear();
        // A copy of a vendor's API at another place wants the same proof, unless there is none.
        if shape.keys.is_absent() && key_of(&row, ctx).is_empty() {
            row.auth = Auth::None;
        }
    }
    let timeouts = timeouts(&shape.timeouts);
    let base = Base { name, place: shape.place, url: url.map(|url| &url.value), timeouts, data };
    let mut provider = base.provider(&row, upstreams, ctx)?;
    if let Some(keys) = shape.keys.given() {
        let secrets: Vec<Secret> = keys.iter().map(|key| key.value.0.clone()).collect();
        provider.keys = keys_of(&secrets, &row.auth, shape.place, ctx);
    }
    check_keys(&provider, &row, shape.place, ctx);
    for (name, value) in &shape.headers.0 {
        provider.headers.retain(|(known, _)| **known != *name.value.0);
        provider.headers.push((name.value.0.clone(), value.value.0.clone()));
    }
    provider.models = shape
        .models
        .given()
        .into_iter()
        .flat_map(|models| models.iter())
        .map(|name| name.value.0.clone())
        .collect();
    Some(provider)
}

/// A provider that has nothing but its row.
fn of_row(
    row: &catalogue::Provider,
    place: Place,
    data: &Path,
    upstreams: &mut Upstreams,
    ctx: &mut Ctx,
) -> Option<Provider> {
    let base = Base { name: &row.id, place, url: None, timeouts: defaults(ctx), data };
    let provider = base.provider(row, upstreams, ctx)?;
    check_keys(&provider, row, place, ctx);
    Some(provider)
}

/// Every provider whose variables are set. One that lacks a part of its URL is not meant.
fn of_environment(data: &Path, upstreams: &mut Upstreams, ctx: &mut Ctx) -> Vec<Arc<Provider>> {
    let mut found = Vec::new();
    for row in catalogue::in_order() {
        let is_meant = !row.env.is_empty() && !key_of(row, ctx).is_empty();
        if is_meant && variables(&row.url).all(|name| ctx.env(name).is_some()) {
            found.extend(of_row(row, Place::whole(usize::MAX), data, upstreams, ctx).map(Arc::new));
        }
    }
    found
}

fn unknown_kind(kind: &str, place: Place, ctx: &mut Ctx) {
    let known = catalogue::providers().keys().map(|id| &**id);
    let hint = match nearest(kind, known) {
        Some(near) => format!("did you mean `{near}`? One of your own needs a `url`"),
        None => "give it a `url`, and `speaks` if that is not OpenAI's protocol".to_owned(),
    };
    ctx.error_with(place, format!("the catalogue has no provider `{kind}`"), hint);
}

fn timeouts(shape: &shape::ProviderTimeouts) -> Timeouts {
    Timeouts {
        connect: shape.connect.0,
        tls: shape.tls.0,
        send: shape.send.0,
        await_head: shape.await_head.0,
        body_idle: shape.body_idle.0,
        attempt: shape.attempt.0.map(|attempt| attempt.0),
        total: shape.total.0.map(|total| total.0),
    }
}

fn defaults(ctx: &mut Ctx) -> Timeouts {
    timeouts(&default("{}", ctx).expect("the time limits of providers must have defaults"))
}

/// The names between braces.
fn variables(url: &str) -> impl Iterator<Item = &str> {
    url.split('{').skip(1).filter_map(|part| part.split('}').next())
}

/// The key that the environment has; AWS's is a pair.
fn key_of(row: &catalogue::Provider, ctx: &Ctx) -> Vec<Secret> {
    if row.auth == Auth::Sigv4 {
        let pair = ctx.env("AWS_ACCESS_KEY_ID").zip(ctx.env("AWS_SECRET_ACCESS_KEY"));
        let bearer = ctx.env("AWS_BEARER_TOKEN_BEDROCK").filter(|token| !token.is_empty());
        return match (bearer, pair) {
            (Some(token), _) => vec![Secret::new(token)],
            (None, Some((id, secret))) => vec![Secret::new(format!("{id}:{secret}"))],
            (None, None) => Vec::new(),
        };
    }
    let found = row.env.iter().find_map(|name| ctx.env(name).filter(|value| !value.trim().is_empty()));
    found.map(|key| Secret::new(key.trim())).into_iter().collect()
}

/// What all protocols of a provider share.
struct Base<'a> {
    name: &'a str,
    place: Place,
    url: Option<&'a WebhookUrl>,
    timeouts: Timeouts,
    data: &'a Path,
}

impl Base<'_> {
    fn provider(
        &self,
        row: &catalogue::Provider,
        upstreams: &mut Upstreams,
        ctx: &mut Ctx,
    ) -> Option<Provider> {
        let mut endpoints = Vec::new();
        let mut made: BTreeMap<Box<str>, Arc<str>> = BTreeMap::new();
        let mut protocols: Vec<AiProtocol> = row.protocols().collect();
        if protocols.is_empty() {
            // Requests are handed on at the paths of OpenAI's family.
            protocols.push(AiProtocol::Chat);
        }
        for protocol in protocols {
            let url = match self.url {
                Some(url) => url.clone(),
                None => self.parse(row.url_of(protocol), ctx)?,
            };
            let upstream = made.entry(url.target.text.clone()).or_insert_with(|| {
                let extra = if endpoints.is_empty() { String::new() } else { format!("-{}", protocol.id()) };
                let name = format!("ai-{}{extra}", self.name);
                upstreams.of_provider(&name, &url.target, self.place, self.timeouts, ctx)
            });
            let path = url.path.expose().trim_end_matches('/').into();
            endpoints.push(ProviderEndpoint { protocol, upstream: upstream.clone(), path });
        }
        let secrets = key_of(row, ctx);
        Some(Provider {
            name: self.name.into(),
            kind: row.id.as_ref().into(),
            endpoints,
            auth: auth(row, ctx),
            keys: keys_of(&secrets, &row.auth, self.place, ctx),
            headers: row.headers.iter().map(|(name, value)| (name.clone(), Secret::new(&**value))).collect(),
            quirks: quirks(row),
            models: Vec::new(),
            forward_only: row.forward_only,
        })
    }

    /// The URL of a row, with its variables filled in.
    fn parse(&self, template: &str, ctx: &mut Ctx) -> Option<WebhookUrl> {
        let mut text = template.to_owned();
        for name in variables(template) {
            let value = ctx.env(name).or_else(|| usual(name));
            let Some(value) = value.filter(|value| !value.is_empty()) else {
                let message = format!("provider `{}` needs the variable {name}", self.name);
                ctx.error_with(
                    self.place,
                    message,
                    format!("it is a part of {template}; set it, or give `url`"),
                );
                return None;
            };
            text = text.replace(&format!("{{{name}}}"), value.trim());
        }
        if let Some(path) = text.strip_prefix("unix:") {
            let target = TargetUrl::unix(Scheme::Http, self.data.join(path));
            return Some(WebhookUrl { target, path: Secret::new("/v1") });
        }
        match WebhookUrl::parse(&text) {
            Ok(url) => Some(url),
            Err(complaint) => {
                ctx.error(self.place, format!("provider `{}`: its URL {}", self.name, complaint.message));
                None
            }
        }
    }
}

/// What a variable usually is where nobody has set it.
fn usual(name: &str) -> Option<String> {
    match name {
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "GOOGLE_CLOUD_LOCATION" => Some("us-central1".to_owned()),
        "WATSONX_REGION" => Some("us-south".to_owned()),
        _ => None,
    }
}

fn auth(row: &catalogue::Provider, ctx: &Ctx) -> ProviderAuth {
    match &row.auth {
        Auth::Bearer => ProviderAuth::Bearer,
        Auth::Header { name, prefix } => ProviderAuth::Header { name: name.clone(), prefix: prefix.clone() },
        Auth::GoogleServiceAccount => ProviderAuth::GoogleServiceAccount,
        Auth::IbmIam => ProviderAuth::IbmIam,
        Auth::None => ProviderAuth::None,
        Auth::Sigv4 => {
            let region = ctx.env("AWS_REGION").or_else(|| usual("AWS_REGION")).unwrap_or_default();
            ProviderAuth::Sigv4 { region: region.into() }
        }
    }
}

fn keys_of(secrets: &[Secret], auth: &Auth, place: Place, ctx: &mut Ctx) -> Vec<Arc<ProviderKey>> {
    let mut keys = Vec::new();
    for (number, secret) in (1..).zip(secrets) {
        let pair = if *auth == Auth::Sigv4 { secret.expose().split_once(':') } else { None };
        let (access_key, secret) = match pair {
            Some((id, secret)) => (Some(id.into()), Secret::new(secret)),
            None => (None, secret.clone()),
        };
        if keys.iter().any(|known: &Arc<ProviderKey>| known.secret == secret) {
            ctx.error_with(place, format!("keys: key {number} stands here twice"), "remove one of the two");
            continue;
        }
        let session_token =
            access_key.is_some().then(|| ctx.env("AWS_SESSION_TOKEN")).flatten().map(Secret::new);
        keys.push(Arc::new(ProviderKey {
            name: number.to_string().into(),
            secret,
            access_key,
            session_token,
        }));
    }
    keys
}

fn check_keys(provider: &Provider, row: &catalogue::Provider, place: Place, ctx: &mut Ctx) {
    if !provider.keys.is_empty() || provider.auth == ProviderAuth::None {
        return;
    }
    let variables: Vec<&str> = row.env.iter().map(|name| &**name).collect();
    let message = format!("provider `{}` has no key", provider.name);
    let hint = match variables.as_slice() {
        [] => "give it `keys`".to_owned(),
        names => format!("set {}, or give it `keys`", names.join(" or ")),
    };
    ctx.error_with(place, message, hint);
}

fn quirks(row: &catalogue::Provider) -> ProviderQuirks {
    let quirks = &row.quirks;
    ProviderQuirks {
        rename: quirks.rename.iter().map(|(from, to)| (from.clone(), to.clone())).collect(),
        drop: quirks.drop.clone(),
        content_as_string: quirks.content_as_string,
        developer_as_system: quirks.developer_as_system,
        short_tool_ids: quirks.short_tool_ids,
        no_stream_options: quirks.no_stream_options,
    }
}
