//! AI models as they are served: providers with their keys, and the names that clients may call.

use std::sync::Arc;

use crate::{AiProtocol, Secret};

/// What makes a service an AI API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AiService {
    /// Those that it offers, in their order.
    pub providers: Vec<Arc<Provider>>,
    /// Names of its own for models: aliases, and several lanes under one name.
    pub models: Vec<Arc<VirtualModel>>,
    /// Whether a caller must prove who it is. Default true.
    pub key: bool,
}

/// A vendor of models, or software that serves them, as it is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Provider {
    /// Its name in models (`openai/gpt-5`), records and metrics.
    pub name: Arc<str>,
    /// Its row in the catalogue, for prices and limits; a name of its own for one that is not there.
    pub kind: Arc<str>,
    /// The protocols that it speaks, the best one first.
    pub endpoints: Vec<ProviderEndpoint>,
    pub auth: ProviderAuth,
    /// Used in their order. Empty where none is needed.
    pub keys: Vec<Arc<ProviderKey>>,
    /// Header fields that go with every request.
    pub headers: Vec<(Box<str>, Secret)>,
    pub quirks: ProviderQuirks,
    /// Models that the operator names, beside those of the catalogue.
    pub models: Vec<Box<str>>,
    /// Nothing is translated for it.
    pub forward_only: bool,
}

/// Where a protocol is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderEndpoint {
    pub protocol: AiProtocol,
    pub upstream: Arc<str>,
    /// The path before that of the operation, without a slash at its end.
    pub path: Box<str>,
}

/// How a provider is told who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProviderAuth {
    Bearer,
    /// The key in a field, after a word where there is one.
    Header {
        name: Box<str>,
        prefix: Box<str>,
    },
    GoogleServiceAccount,
    IbmIam,
    None,
    /// AWS's signature, version 4.
    Sigv4 {
        region: Box<str>,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct ProviderKey {
    /// In records and metrics: `1`, `2` ... by their order.
    pub name: Arc<str>,
    pub secret: Secret,
    /// AWS's id of the key, where requests are signed.
    pub access_key: Option<Box<str>>,
    pub session_token: Option<Secret>,
}

/// How a provider differs from its protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderQuirks {
    pub rename: Vec<(Box<str>, Box<str>)>,
    pub drop: Vec<Box<str>>,
    pub content_as_string: bool,
    pub developer_as_system: bool,
    pub short_tool_ids: bool,
    pub no_stream_options: bool,
}

/// A name that stands for one or more lanes.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualModel {
    pub name: Arc<str>,
    pub choose: LaneChoice,
    pub lanes: Vec<LaneSpec>,
}

/// Which lane is asked first; the others follow in their order when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneChoice {
    Cheapest,
    Fastest,
    InOrder,
    Weighted,
}

/// A model of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSpec {
    pub provider: Arc<str>,
    pub model: Arc<str>,
    /// 1 to 1,000; default 1.
    pub weight: u32,
}
