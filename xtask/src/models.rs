//! `cargo xtask models FILE`: writes the table of AI models from LiteLLM's, whose facts are under the MIT licence.
//!
//! FILE is `model_prices_and_context_window_backup.json` of the package `litellm`, in a version that its index still has (1.107.0 was
//! compromised). What is read: models for conversations and embeddings of the providers of our own catalogue.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

/// LiteLLM's names of providers that are others here.
const NAMES: &[(&str, &str)] = &[
    ("aiml", "aimlapi"),
    ("bedrock_converse", "bedrock"),
    ("cohere_chat", "cohere"),
    ("featherless_ai", "featherless"),
    ("fireworks_ai", "fireworks"),
    ("friendliai", "friendli"),
    ("lambda_ai", "lambda"),
    ("meta_llama", "llama"),
    ("nvidia_nim", "nvidia"),
    ("text-completion-openai", "openai"),
    ("together_ai", "together"),
    ("vercel_ai_gateway", "vercel"),
    ("vertex_ai-language-models", "vertex"),
];
const MODES: [&str; 4] = ["chat", "completion", "embedding", "responses"];
/// The simulator is no vendor's.
const OWN: &str = "demo\tdemo\t\t\t0\t0\t0\t0";
const TABLE: &str = "crates/ai/catalogue/models.tsv";

pub fn run(root: &Path, file: &Path, source: &str) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
    let all: Value = serde_json::from_str(&text).context("failed to understand the table")?;
    let known = std::fs::read_to_string(root.join("crates/ai/catalogue/providers.json"))
        .context("failed to read the providers")?;
    let known: Value = serde_json::from_str(&known).context("failed to understand the providers")?;
    let known: Vec<&str> =
        known.as_array().into_iter().flatten().filter_map(|row| row.get("id")?.as_str()).collect();
    let Some(all) = all.as_object() else { bail!("failed to find models: the table is no object") };
    let mut rows: BTreeMap<(String, String), String> = BTreeMap::new();
    for (key, row) in all {
        if let Some((provider, name)) = identity(key, row, &known) {
            let line = format!("{provider}\t{name}\t{}", facts(row));
            rows.insert((provider, name), line);
        }
    }
    rows.insert(("demo".to_owned(), "demo".to_owned()), OWN.to_owned());
    let mut table = format!(
        "# Models of providers: provider, model, context, most output, and prices of input, cache read, cache write and output in \
         billionths of a US dollar\n# per million tokens; an empty price is not known. From {source} (MIT licence, copyright \
         Berri AI); facts only.\n# Written by `cargo xtask models`.\n"
    );
    for line in rows.values() {
        writeln!(table, "{line}")?;
    }
    std::fs::write(root.join(TABLE), table).with_context(|| format!("failed to write {TABLE}"))?;
    crate::say(&format!("models: {} in {TABLE}", rows.len()));
    Ok(())
}

/// The provider and the model as they are called here; `None` for what is not wanted.
fn identity(key: &str, row: &Value, known: &[&str]) -> Option<(String, String)> {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    if !MODES.contains(&text("mode")?) {
        return None;
    }
    let theirs = text("litellm_provider")?;
    let provider = ours(theirs);
    if !known.contains(&provider) {
        return None;
    }
    let name = match key.split_once('/') {
        Some((prefix, name)) if prefix == theirs || ours(prefix) == provider => name,
        _ => key,
    };
    let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
    is_plain.then(|| (provider.to_owned(), name.to_owned()))
}

fn ours(theirs: &str) -> &str {
    NAMES.iter().find(|(name, _)| *name == theirs).map_or(theirs, |(_, ours)| ours)
}

fn facts(row: &Value) -> String {
    let count = |name: &str| row.get(name).and_then(Value::as_u64).filter(|count| *count > 0);
    let context = count("max_input_tokens").or_else(|| count("max_tokens"));
    let counts = [context, count("max_output_tokens")];
    let prices = [
        "input_cost_per_token",
        "cache_read_input_token_cost",
        "cache_creation_input_token_cost",
        "output_cost_per_token",
    ];
    let cells = counts.into_iter().chain(prices.into_iter().map(|name| price(row.get(name)?.as_f64()?)));
    let cells: Vec<String> =
        cells.map(|cell| cell.map(|number| number.to_string()).unwrap_or_default()).collect();
    cells.join("\t")
}

/// Dollars per token as billionths of a dollar per million tokens. No price has more digits than a double holds exactly.
fn price(dollars: f64) -> Option<u64> {
    let nanos = (dollars * 1e15).round();
    (0.0..1e18).contains(&nanos).then_some(nanos as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_ours() {
        let row = serde_json::json!({
            "litellm_provider": "together_ai", "mode": "chat", "max_tokens": 8192, "input_cost_per_token": 3.75e-8,
            "output_cost_per_token": 0.0,
        });
        let known = ["together"];
        let identity_of = |key: &str| identity(key, &row, &known);
        assert_eq!(identity_of("together_ai/a/b"), Some(("together".to_owned(), "a/b".to_owned())));
        assert_eq!(identity_of("a/b"), Some(("together".to_owned(), "a/b".to_owned())));
        assert_eq!(identity_of("a b"), None);
        assert_eq!(identity("x", &row, &[]), None);
        assert_eq!(facts(&row), "8192\t\t37500000\t\t\t0");
    }
}
