//! Which directives are in force at a place: those of the block itself, else those of the blocks around it.

use std::collections::BTreeMap;

use super::tree::Directive;

/// Directives of which all of a block are in force together, and none of the blocks around once there is one.
const LISTS: &[&str] = &[
    "access_log",
    "add_header",
    "error_log",
    "fastcgi_param",
    "grpc_set_header",
    "proxy_set_header",
    "uwsgi_param",
];

#[derive(Clone, Default)]
pub(super) struct Scope<'a> {
    single: BTreeMap<&'a str, &'a Directive>,
    lists: BTreeMap<&'static str, Vec<&'a Directive>>,
    /// Variables with a text that holds no other variable.
    variables: BTreeMap<&'a str, &'a Directive>,
}

impl<'a> Scope<'a> {
    /// The scope within a block.
    #[must_use]
    pub(super) fn within(&self, block: &'a [Directive]) -> Scope<'a> {
        let mut scope = self.clone();
        let mut replaced: Vec<&'static str> = Vec::new();
        for directive in block {
            if directive.name == "set" {
                scope.variables.insert(directive.first().trim_start_matches('$'), directive);
            } else if let Some(list) = LISTS.iter().find(|list| **list == directive.name) {
                let known = scope.lists.entry(list).or_default();
                if !replaced.contains(list) {
                    replaced.push(list);
                    known.clear();
                }
                known.push(directive);
            } else if directive.block.is_none() {
                scope.single.insert(directive.name.as_str(), directive);
            }
        }
        scope
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Directive> {
        self.single.get(name).copied()
    }

    pub(super) fn list(&self, name: &str) -> &[&'a Directive] {
        self.lists.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The last field of this name that is set for requests to the upstream.
    pub(super) fn header(&self, list: &str, field: &str) -> Option<&'a Directive> {
        self.list(list).iter().rev().find(|directive| directive.first().eq_ignore_ascii_case(field)).copied()
    }

    /// A text with the variables that are known; `None` where one is not.
    pub(super) fn expanded(&self, text: &str) -> Option<(String, bool)> {
        let mut out = String::new();
        let mut rest = text;
        let mut had = false;
        while let Some((before, after)) = rest.split_once('$') {
            had = true;
            out.push_str(before);
            let braced = after.strip_prefix('{').and_then(|after| after.split_once('}'));
            let (name, after) = match braced {
                Some(split) => split,
                None => {
                    let end =
                        after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                    after.split_at(end)
                }
            };
            let value = self.variables.get(name).and_then(|set| set.arguments.get(1))?;
            // A variable that is made of others is not followed: it depends on the request.
            if value.contains('$') {
                return None;
            }
            out.push_str(value);
            rest = after;
        }
        out.push_str(rest);
        Some((out, had))
    }
}
