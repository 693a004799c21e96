//! Servers that a proxy's log calls by their names, or not at all, by the addresses they have in its configuration.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use model::Evidence;

/// Puts addresses where HAProxy's log has `backend/server`, and where a log tells none and there is only one.
pub fn name_servers(evidence: &mut [Evidence]) {
    name_only_server(evidence);
    let mut addresses: HashMap<(String, String), String> = HashMap::new();
    for setting in
        evidence.iter().filter(|item| item.kind == "setting" && item.get("name") == Some("server-name"))
    {
        if let (Some(group), Some(name), Some(target)) =
            (setting.get("group"), setting.get("value"), setting.get("target"))
        {
            addresses.insert((group.to_owned(), name.to_owned()), target.to_owned());
        }
    }
    if addresses.is_empty() {
        return;
    }
    for item in evidence.iter_mut().filter(|item| item.get("proxy") == Some("haproxy")) {
        let Some((group, server)) = item.get("upstream").and_then(|upstream| upstream.split_once('/')) else {
            continue;
        };
        if let Some(address) = addresses.get(&(group.to_owned(), server.to_owned())) {
            *item = std::mem::replace(item, Evidence::new("")).with("upstream", address);
        }
    }
}

/// What a proxy with a single target failed to send went to that.
fn name_only_server(evidence: &mut [Evidence]) {
    let mut targets: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for setting in evidence.iter().filter(|item| item.kind == "setting" && item.get("role") == Some("proxy"))
    {
        if let (Some(product), Some(target)) = (setting.get("product"), setting.get("target")) {
            targets.entry(product.to_owned()).or_default().insert(target.to_owned());
        }
    }
    for item in evidence.iter_mut().filter(|item| item.kind == "failure" && item.get("upstream").is_none()) {
        let sent = matches!(item.get("phase"), Some("connect" | "tls" | "send" | "head" | "body"));
        let only = item.get("proxy").and_then(|proxy| targets.get(proxy)).filter(|all| all.len() == 1);
        if let (true, Some(target)) = (sent, only.and_then(|all| all.first())) {
            *item = std::mem::replace(item, Evidence::new("")).with("upstream", target);
        }
    }
}
