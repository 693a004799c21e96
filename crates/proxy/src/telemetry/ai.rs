//! Metrics of AI calls: tokens, money and the time to the first content, by service and provider.
//!
//! A model is no label: clients may name any of a provider's. Records have it.

use std::sync::Arc;

use model::{AiCall, Exchange, Timeline};

use super::exposition::{Exposition, Kind};
use super::metrics::Histogram;

/// What the calls of a service to a provider came to.
#[derive(Debug)]
struct Calls {
    service: Arc<str>,
    provider: Arc<str>,
    first_content: Histogram,
    /// In the order of [`KINDS`].
    tokens: [u64; KINDS.len()],
    cost_nanos: u64,
    /// From the first content to the end, of streams.
    streaming_micros: u64,
    streamed_tokens: u64,
}

/// Buckets that do not overlap.
const KINDS: [&str; 4] = ["input", "cache-read", "cache-write", "output"];

/// All of them. Few pairs occur, so that a list is faster than a map.
#[derive(Debug, Default)]
pub(super) struct Totals(Vec<Calls>);

impl Totals {
    pub(super) fn observe(&mut self, exchange: &Exchange, call: &AiCall) {
        let (Some(service), Some(provider)) = (&exchange.service, &call.provider) else { return };
        let known = self.0.iter().position(|calls| calls.service == *service && calls.provider == *provider);
        let index = known.unwrap_or_else(|| {
            self.0.push(Calls {
                service: service.clone(),
                provider: provider.clone(),
                first_content: Histogram::default(),
                tokens: [0; KINDS.len()],
                cost_nanos: 0,
                streaming_micros: 0,
                streamed_tokens: 0,
            });
            self.0.len() - 1
        });
        let Some(calls) = self.0.get_mut(index) else { return };
        let usage = &call.usage;
        let written = usage.cache_write + usage.cache_write_long;
        let counted = [usage.input + usage.audio_input, usage.cache_read, written, usage.output_all()];
        for (total, tokens) in calls.tokens.iter_mut().zip(counted) {
            *total += tokens;
        }
        calls.cost_nanos += call.cost_nanos.unwrap_or(0);
        if let Some(micros) = call.first_content_micros {
            calls.first_content.observe(micros);
            let Timeline { done_micros, .. } = exchange.timeline;
            if call.stream {
                calls.streaming_micros += done_micros.saturating_sub(micros);
                calls.streamed_tokens += usage.output_all();
            }
        }
    }

    /// Forgets services that are gone.
    pub(super) fn retain(&mut self, is_served: impl Fn(&str) -> bool) {
        self.0.retain(|calls| is_served(&calls.service));
    }

    pub(super) fn write(&self, text: &mut Exposition) {
        text.family("clearway_ai_tokens_total", Kind::Counter, "Tokens of AI models, by disjoint kind.");
        for calls in &self.0 {
            for (kind, tokens) in KINDS.iter().zip(calls.tokens) {
                let labels = [("service", &*calls.service), ("provider", &*calls.provider), ("kind", kind)];
                text.sample("clearway_ai_tokens_total", &labels, tokens as f64);
            }
        }
        type Of = fn(&Calls) -> f64;
        let families: [(&str, &str, Of); 3] = [
            (
                "clearway_ai_cost_dollars_total",
                "What calls of AI models cost, where the price is known.",
                |calls| calls.cost_nanos as f64 / 1e9,
            ),
            (
                "clearway_ai_streamed_tokens_total",
                "Tokens out of streams; divided by the seconds of streams, tokens per second.",
                |calls| calls.streamed_tokens as f64,
            ),
            (
                "clearway_ai_stream_seconds_total",
                "From the first content of streams to their end, together.",
                |calls| calls.streaming_micros as f64 / 1e6,
            ),
        ];
        for (family, help, of) in families {
            text.family(family, Kind::Counter, help);
            for calls in &self.0 {
                let labels = [("service", &*calls.service), ("provider", &*calls.provider)];
                text.sample(family, &labels, of(calls));
            }
        }
        const FIRST: &str = "clearway_ai_time_to_first_content_seconds";
        text.family(
            FIRST,
            Kind::Histogram,
            "From the first byte of a call to the first content of its answer.",
        );
        for calls in &self.0 {
            calls.first_content.write(
                text,
                FIRST,
                &[("service", &calls.service), ("provider", &calls.provider)],
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{AiProtocol, Usage};

    use super::*;
    use crate::telemetry::sample::answered;

    #[test]
    fn calls_are_counted_by_service_and_provider() {
        let call = AiCall {
            protocol: AiProtocol::Chat,
            operation: "generate".into(),
            asked: "openai/m".into(),
            provider: Some("openai".into()),
            model: Some("m".into()),
            key: None,
            stream: true,
            usage: Usage { input: 7, cache_read: 3, output: 4, ..Usage::default() },
            usage_is_estimated: false,
            cost_nanos: Some(2_500_000_000),
            first_content_micros: Some(100_000),
            losses: Vec::new(),
        };
        let mut exchange = answered();
        exchange.timeline.done_micros = 600_000;
        let mut totals = Totals::default();
        totals.observe(&exchange, &call);
        totals.observe(&exchange, &call);
        let nobody = AiCall { provider: None, ..call };
        totals.observe(&exchange, &nobody);
        let mut text = Exposition::default();
        totals.write(&mut text);
        let text = text.into_text();
        let labels = r#"service="shop",provider="openai""#;
        for line in [
            format!("clearway_ai_tokens_total{{{labels},kind=\"input\"}} 14"),
            format!("clearway_ai_tokens_total{{{labels},kind=\"cache-read\"}} 6"),
            format!("clearway_ai_tokens_total{{{labels},kind=\"output\"}} 8"),
            format!("clearway_ai_cost_dollars_total{{{labels}}} 5"),
            format!("clearway_ai_streamed_tokens_total{{{labels}}} 8"),
            format!("clearway_ai_stream_seconds_total{{{labels}}} 1"),
            format!("clearway_ai_time_to_first_content_seconds_bucket{{{labels},le=\"0.1\"}} 2"),
            format!("clearway_ai_time_to_first_content_seconds_count{{{labels}}} 2"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        totals.retain(|service| service != "shop");
        assert!(totals.0.is_empty());
    }
}
