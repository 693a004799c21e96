//! How requests are changed for providers that differ from their protocol. What a row does not name passes as it is.

use model::gateway::ProviderQuirks;
use serde_json::{Map, Value};

/// The request as this provider takes it; `None` where nothing has to change, so that the bytes can go on as they are.
pub fn fit(body: &[u8], quirks: &ProviderQuirks) -> Option<Vec<u8>> {
    if !may_matter(body, quirks) {
        return None;
    }
    let mut value: Value = serde_json::from_slice(body).ok()?;
    let before = value.clone();
    fit_value(&mut value, quirks);
    (value != before).then(|| value.to_string().into_bytes())
}

/// A look at the bytes alone: most requests have nothing of what a row names.
fn may_matter(body: &[u8], quirks: &ProviderQuirks) -> bool {
    let has = |name: &str| memchr::memmem::find(body, name.as_bytes()).is_some();
    let names = quirks.rename.iter().map(|(from, _)| from).chain(&quirks.drop);
    names.into_iter().any(|name| has(name))
        || quirks.developer_as_system && has("developer")
        || quirks.short_tool_ids && has("tool_call")
        || quirks.content_as_string && has("\"content\"")
        || quirks.no_stream_options && has("stream_options")
}

/// The same on a request that is about to be written.
pub fn fit_value(value: &mut Value, quirks: &ProviderQuirks) {
    let Some(map) = value.as_object_mut() else { return };
    for name in &quirks.drop {
        map.shift_remove(&**name);
    }
    if quirks.no_stream_options {
        map.shift_remove("stream_options");
    }
    for (from, to) in &quirks.rename {
        rename(map, from, to);
    }
    let Some(Value::Array(messages)) = map.get_mut("messages") else { return };
    for message in messages.iter_mut().filter_map(Value::as_object_mut) {
        if quirks.developer_as_system && message.get("role").is_some_and(|role| role == "developer") {
            message.insert("role".to_owned(), "system".into());
        }
        if quirks.short_tool_ids {
            shorten_ids(message);
        }
        if quirks.content_as_string
            && let Some(content) = message.get_mut("content")
        {
            flatten(content);
        }
    }
}

/// In its place, unless the other name is there as well: then that one counts.
fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if !map.contains_key(from) {
        return;
    }
    let has_both = map.contains_key(to);
    let entries = std::mem::take(map);
    for (name, value) in entries {
        match name == from {
            true if has_both => {}
            true => {
                map.insert(to.to_owned(), value);
            }
            false => {
                map.insert(name, value);
            }
        }
    }
}

/// Mistral wants nine letters and digits, and gets the same ones for the same id.
fn shorten_ids(message: &mut Map<String, Value>) {
    if let Some(Value::String(id)) = message.get_mut("tool_call_id") {
        *id = short_id(id);
    }
    if let Some(Value::Array(calls)) = message.get_mut("tool_calls") {
        for call in calls {
            if let Some(Value::String(id)) = call.get_mut("id") {
                *id = short_id(id);
            }
        }
    }
}

fn short_id(id: &str) -> String {
    if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    // FNV-1a: the ids of one conversation are few, and nobody gains by a collision.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in id.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    let digit = |number: u64| char::from_digit((number % 36) as u32, 36).unwrap_or('0');
    (0..9u32).map(|place| digit(hash / 36u64.pow(place))).collect()
}

/// The texts of a list of parts, if it has nothing else.
fn flatten(content: &mut Value) {
    let Value::Array(parts) = &*content else { return };
    let texts: Option<Vec<&str>> = parts.iter().map(|part| part.get("text")?.as_str()).collect();
    if let Some(texts) = texts {
        *content = texts.join("\n").into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_rename_drop_and_flatten_and_leave_the_rest_alone() {
        let quirks = ProviderQuirks {
            rename: vec![("max_completion_tokens".into(), "max_tokens".into())],
            drop: vec!["user".into()],
            content_as_string: true,
            developer_as_system: true,
            short_tool_ids: true,
            no_stream_options: false,
        };
        let body = r#"{"model":"m","max_completion_tokens":5,"user":"u","unknown":{"a":1.0},"messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"tool","tool_call_id":"call_1234567890","content":"x"}]}"#;
        let fitted = String::from_utf8(fit(body.as_bytes(), &quirks).unwrap()).unwrap();
        let id = short_id("call_1234567890");
        assert_eq!(
            fitted,
            format!(
                r#"{{"model":"m","max_tokens":5,"unknown":{{"a":1.0}},"messages":[{{"role":"system","content":"a\nb"}},{{"role":"tool","tool_call_id":"{id}","content":"x"}}]}}"#
            )
        );
        assert_eq!(id.len(), 9);
        assert_eq!(fit(br#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#, &quirks), None);
    }
}
