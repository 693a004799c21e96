//! Servers that a proxy's log calls by their names, by the addresses they have in its configuration.

use std::collections::HashMap;

use model::Evidence;

/// Puts addresses where HAProxy's log has `backend/server`.
pub fn name_servers(evidence: &mut [Evidence]) {
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
