//! Caddyfiles: sites and what `reverse_proxy` sends where, with snippets and imports.

mod proxy;
mod tree;

use super::address::Address;
use super::files::Files;
use super::quantity::go_time;
use super::{Listen, Matching, Origin, Part, Role, Setting, Site, Source, Wide};
use tree::Directive;

pub(super) const PRODUCT: &str = "caddy";

pub(super) fn read(source: &Source, files: &dyn Files, part: &mut Part) {
    let directives = tree::parse(&source.path, &source.text, files, part);
    for directive in &directives {
        if directive.words.is_empty() {
            global(directive, part);
        } else if directive.block.is_some() && !directive.is_snippet() {
            let site = site(&directive.words, directive.children(), &directive.origin);
            part.sites.push(site);
        }
    }
    // A file may be one site without braces: its address, then its directives.
    let bare = directives.iter().find(|directive| !directive.words.is_empty());
    if let Some(first) = bare.filter(|first| first.block.is_none() && is_address(first.word(0))) {
        let rest: Vec<Directive> =
            directives.iter().skip_while(|other| other.origin != first.origin).skip(1).cloned().collect();
        part.sites.push(site(&first.words, &rest, &first.origin));
    }
}

fn is_address(word: &str) -> bool {
    word.starts_with(':')
        || word.starts_with("http://")
        || word.starts_with("https://")
        || word.contains('.')
        || word == "localhost"
}

fn site(addresses: &[String], contents: &[Directive], origin: &Origin) -> Site {
    let mut site = Site { product: PRODUCT, origin: origin.clone(), ..Site::default() };
    for text in addresses.iter().flat_map(|word| word.split(',')).filter(|text| !text.is_empty()) {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse::<u16>().ok()),
            _ => (authority, None),
        };
        // Names get certificates by themselves, unless the scheme or port says otherwise.
        let tls = scheme != "http" && !matches!(port, Some(80)) && !host.is_empty();
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        if !host.is_empty() {
            site.names.push(host.to_owned());
        }
        let address = format!("0.0.0.0:{port}");
        if !site.listens.iter().any(|listen| listen.address == address) {
            let settings = Vec::new();
            site.listens.push(Listen { address, tls, default: false, settings, origin: origin.clone() });
        }
    }
    contents_of(contents, "/", Matching::Prefix, &mut site);
    site
}

/// Directives of a site, or of a block within it that is about a path.
fn contents_of(directives: &[Directive], around: &str, how: Matching, site: &mut Site) {
    for directive in directives {
        match directive.word(0) {
            "reverse_proxy" => site.routes.push(proxy::route(directive, around, how, directives)),
            "handle" | "handle_path" | "route" => {
                let (path, matching) = matcher(directive.word(1), around, how, directives);
                contents_of(directive.children(), &path, matching, site);
            }
            "bind" => {
                for listen in &mut site.listens {
                    let port = listen.address.rsplit(':').next().and_then(|port| port.parse().ok());
                    if let Some(address) = Address::parse(directive.word(1), port) {
                        listen.address = address.to_string();
                    }
                }
            }
            "log" => {
                let output = directive.children().iter().find(|inner| inner.word(0) == "output");
                let value = match output {
                    Some(output) if output.word(1) == "file" => output.word(2),
                    Some(output) => output.word(1),
                    None => "stderr",
                };
                let at = output.map_or(&directive.origin, |output| &output.origin);
                site.settings.push(Setting::new("access-log", value, at));
            }
            _ => {}
        }
    }
}

/// The path that a matcher is about: `/api/*`, or a named one that has a path.
fn matcher(word: &str, around: &str, how: Matching, siblings: &[Directive]) -> (String, Matching) {
    let of = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => (prefix.to_owned(), Matching::Prefix),
        None => (pattern.to_owned(), Matching::Exact),
    };
    if word.starts_with('/') {
        return of(word);
    }
    if word.starts_with('@') {
        let named = siblings.iter().find(|directive| directive.word(0) == word);
        let inline = named.filter(|directive| directive.word(1) == "path").map(|directive| directive.word(2));
        let inner =
            named.and_then(|directive| directive.children().iter().find(|inner| inner.word(0) == "path"));
        if let Some(pattern) = inline.or_else(|| inner.map(|inner| inner.word(1))) {
            return of(pattern);
        }
    }
    (around.to_owned(), how)
}

/// The block of options at the top.
fn global(directive: &Directive, part: &mut Part) {
    let mut settings = Vec::new();
    for inner in directive.children() {
        if inner.word(0) == "log" {
            let output = inner.children().iter().find(|inner| inner.word(0) == "output");
            if let Some(output) = output {
                let value = if output.word(1) == "file" { output.word(2) } else { output.word(1) };
                settings.push(Setting::new("error-log", value, &output.origin));
            }
        }
        if inner.word(0) == "servers" {
            for timeout in inner
                .children()
                .iter()
                .filter(|inner| inner.word(0) == "timeouts")
                .flat_map(Directive::children)
            {
                if timeout.word(0) == "idle"
                    && let Some(time) = go_time(timeout.word(1))
                {
                    settings.push(Setting::new("keep-alive", time, &timeout.origin));
                }
            }
        }
    }
    if !settings.is_empty() {
        part.wide.push(Wide { product: PRODUCT, role: Role::Proxy, unit: None, of: None, settings });
    }
}
