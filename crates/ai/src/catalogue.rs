//! The providers that are known, as data; what an operator adds in the configuration has the same form.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::Protocol;

/// A vendor of models, or software that serves them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provider {
    pub id: Box<str>,
    pub name: Box<str>,
    /// Where its API is, without the place of an operation. `{NAME}` stands for a variable of the environment.
    pub url: Box<str>,
    /// Protocols that it speaks, the best one first.
    pub speaks: Vec<Box<str>>,
    /// Where a protocol is spoken that is not at `url`.
    pub urls: BTreeMap<Box<str>, Box<str>>,
    pub auth: Auth,
    /// Variables of the environment that usually hold its key.
    pub env: Vec<Box<str>>,
    pub docs: Box<str>,
    /// Header fields that it wants in every request.
    pub headers: BTreeMap<Box<str>, Box<str>>,
    pub quirks: Quirks,
    /// Its answers cannot be translated: jobs that are polled, sound; requests are handed on as they are.
    pub forward_only: bool,
    /// It runs on the operator's own machines.
    pub local: bool,
}

/// How a provider wants to be told who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    #[default]
    Bearer,
    /// A header field of this name with the key as it is, or after a word: `Token`.
    Header {
        name: Box<str>,
        #[serde(default)]
        prefix: Box<str>,
    },
    /// A token that Google gives for a service account's key.
    GoogleServiceAccount,
    /// A token that IBM gives for an API key.
    IbmIam,
    None,
    /// AWS's signature, version 4; a bearer key is used where there is one.
    Sigv4,
}

/// How a provider differs from its protocol.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Quirks {
    /// Parameters under another name.
    pub rename: BTreeMap<Box<str>, Box<str>>,
    /// Parameters that it refuses.
    pub drop: Vec<Box<str>>,
    /// Texts are strings only, not lists of parts.
    pub content_as_string: bool,
    /// The role `developer` is unknown: it is `system`.
    pub developer_as_system: bool,
    /// Ids of tool calls are nine letters and digits.
    pub short_tool_ids: bool,
    /// `stream_options` is refused; usage comes without being asked for.
    pub no_stream_options: bool,
}

impl Provider {
    pub fn protocols(&self) -> impl Iterator<Item = Protocol> {
        self.speaks.iter().filter_map(|id| Protocol::by_id(id))
    }

    /// The protocol to speak for a client of this one: the client's own where that is possible.
    pub fn protocol_for(&self, client: Protocol) -> Option<Protocol> {
        self.protocols().find(|protocol| *protocol == client).or_else(|| self.protocols().next())
    }

    /// Where this protocol is spoken.
    pub fn url_of(&self, protocol: Protocol) -> &str {
        self.urls.get(protocol.id()).unwrap_or(&self.url)
    }
}

/// The rows in the order of the file.
pub fn in_order() -> &'static [Provider] {
    static ROWS: LazyLock<Vec<Provider>> = LazyLock::new(|| {
        let text = include_str!("../catalogue/providers.json");
        serde_json::from_str(text).expect("the catalogue of providers must be valid")
    });
    &ROWS
}

/// All rows, by id.
pub fn providers() -> &'static BTreeMap<Box<str>, Provider> {
    static PROVIDERS: LazyLock<BTreeMap<Box<str>, Provider>> =
        LazyLock::new(|| in_order().iter().map(|provider| (provider.id.clone(), provider.clone())).collect());
    &PROVIDERS
}

/// A model that is known: what fits into it, and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub name: Box<str>,
    /// Tokens that fit into a conversation; 0 where it is not known.
    pub context: u64,
    pub output_max: u64,
    pub prices: Prices,
}

/// In billionths of a US dollar per million tokens, because some tokens cost less than one; `None` where a price is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    pub input: Option<u64>,
    pub cache_read: Option<u64>,
    pub cache_write: Option<u64>,
    pub output: Option<u64>,
}

/// The models of `catalogue/models.tsv`, by provider; in it a line is provider, model, context, most output, and the four prices.
fn all_models() -> &'static BTreeMap<Box<str>, Vec<Model>> {
    static MODELS: LazyLock<BTreeMap<Box<str>, Vec<Model>>> = LazyLock::new(|| {
        let mut models: BTreeMap<Box<str>, Vec<Model>> = BTreeMap::new();
        let lines = include_str!("../catalogue/models.tsv").lines();
        for line in lines.filter(|line| !line.starts_with('#')) {
            let mut cells = line.split('\t');
            let (Some(provider), Some(name)) = (cells.next(), cells.next()) else { continue };
            let mut number = || cells.next().and_then(|cell| cell.parse::<u64>().ok());
            let (context, output_max) = (number().unwrap_or(0), number().unwrap_or(0));
            let prices =
                Prices { input: number(), cache_read: number(), cache_write: number(), output: number() };
            models.entry(provider.into()).or_default().push(Model {
                name: name.into(),
                context,
                output_max,
                prices,
            });
        }
        models
    });
    &MODELS
}

/// The known models of a provider, in the order of their names.
pub fn models(provider: &str) -> impl Iterator<Item = &'static Model> {
    all_models().get(provider).into_iter().flatten()
}

pub fn model(provider: &str, name: &str) -> Option<&'static Model> {
    let models = all_models().get(provider)?;
    let found = models.binary_search_by(|model| (*model.name).cmp(name)).ok()?;
    models.get(found)
}

/// Tokens that fit into a model; 0 where it is not known.
pub fn context(provider: &str, name: &str) -> u64 {
    model(provider, name).map_or(0, |model| model.context)
}

/// What a usage costs, in billionths of a US dollar. `None` where a price that is needed is not known: unknown is not free.
pub fn cost(provider: &str, name: &str, usage: &model::Usage) -> Option<u64> {
    let prices = model(provider, name)?.prices;
    let part = |tokens: u64, price: Option<u64>| match tokens {
        0 => Some(0),
        tokens => Some(u128::from(tokens) * u128::from(price?)),
    };
    // Sound has prices of its own, which are not in the catalogue.
    if usage.audio_input > 0 || usage.audio_output > 0 {
        return None;
    }
    let parts = [
        part(usage.input, prices.input)?,
        part(usage.cache_read, prices.cache_read.or(prices.input))?,
        part(usage.cache_write, prices.cache_write.or(prices.input))?,
        part(usage.cache_write_long, None)?,
        part(usage.output, prices.output)?,
    ];
    // Rounded up: a budget errs against over-spending.
    u64::try_from(parts.into_iter().sum::<u128>().div_ceil(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_many_and_found_by_name_and_costs_are_exact() {
        let all: usize = in_order().iter().map(|provider| models(&provider.id).count()).sum();
        assert!(all >= 1500, "{all} models");
        for provider in in_order() {
            for known in models(&provider.id) {
                assert_eq!(model(&provider.id, &known.name).map(|found| &found.name), Some(&known.name));
            }
        }
        let usage = model::Usage { input: 1000, cache_read: 10, output: 3, ..model::Usage::default() };
        let prices = model("openai", "gpt-4o-mini").unwrap().prices;
        assert_eq!(
            (prices.input, prices.cache_read, prices.output),
            (Some(150_000_000), Some(75_000_000), Some(600_000_000))
        );
        assert_eq!(cost("openai", "gpt-4o-mini", &usage), Some(152_550));
        assert_eq!(cost("openai", "no-such-model", &usage), None);
    }

    #[test]
    fn every_row_is_complete() {
        let rows = in_order();
        assert_eq!(rows.len(), providers().len(), "an id stands twice");
        assert!(rows.len() >= 60, "{} providers", rows.len());
        for row in rows {
            let id = &row.id;
            assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{id}");
            assert!(!row.name.is_empty() && row.docs.starts_with("https://"), "{id}");
            assert!(row.url.starts_with("https://") || row.local && row.url.starts_with(['h', 'u']), "{id}");
            assert!(row.forward_only || row.protocols().count() > 0, "{id} speaks nothing");
            assert_eq!(row.protocols().count(), row.speaks.len(), "{id}");
            assert!(row.auth == Auth::None || !row.env.is_empty(), "{id} has a key and no variable");
            assert!(!row.url.ends_with('/'), "{id}");
        }
    }
}
