//! The reference page of the configuration, from the declarations of the file shape. Its introduction is prose and
//! lives in `reference.md`.

use std::fmt::Write as _;

use crate::decode::{FieldShape, Json, Kind, Object, Presence, Shape, Shaped, key_of};
use crate::schema::prose;
use crate::shape::Root;

/// The page as Markdown.
pub fn reference() -> String {
    let mut sections = Vec::new();
    collect("", Root::OBJECT, &mut sections);
    let mut page = include_str!("reference.md").to_owned();
    for section in &sections {
        write(section, &mut page);
    }
    page
}

/// An object, and every path that leads to it.
struct Section {
    object: &'static Object,
    paths: Vec<String>,
}

/// In the order in which a reader meets them: each object is followed by what it holds.
fn collect(path: &str, object: &'static Object, sections: &mut Vec<Section>) {
    if let Some(known) = sections.iter_mut().find(|section| section.object.name == object.name) {
        known.paths.push(path.into());
        return;
    }
    sections.push(Section { object, paths: vec![path.into()] });
    for field in object.fields {
        let key = key_of(field.ident);
        let inner = if path.is_empty() { key } else { format!("{path}.{key}") };
        collect_from(&(field.shape)(), &inner, sections);
    }
}

fn collect_from(shape: &Shape, path: &str, sections: &mut Vec<Section>) {
    match shape {
        Shape::Scalar(_) => {}
        Shape::List { items, .. } => collect_from(items, &format!("{path}[]"), sections),
        Shape::Map { values, .. } => collect_from(values, &format!("{path}.*"), sections),
        Shape::Object(object) | Shape::OneKeyOf(object) => collect(path, object, sections),
        Shape::Either(one, other) => {
            collect_from(one, path, sections);
            collect_from(other, path, sections);
        }
    }
}

fn write(section: &Section, page: &mut String) {
    let object = section.object;
    let (title, others) = match section.paths.split_first() {
        Some((first, others)) if !first.is_empty() => (format!("`{first}`"), others),
        _ => ("Top level".to_owned(), &[][..]),
    };
    let _ = write!(page, "\n<a id=\"{}\"></a>\n\n## {title}\n\n{}\n\n", anchor(object), prose(object.doc));
    if !others.is_empty() {
        let others: Vec<String> = others.iter().map(|path| format!("`{path}`")).collect();
        let _ = write!(page, "The same at {}.\n\n", others.join(", "));
    }
    page.push_str("| Key | Value | Default | Meaning |\n|---|---|---|---|\n");
    for field in object.fields {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {}{} |",
            key_of(field.ident),
            value(&(field.shape)()),
            default(field),
            cell(&prose(field.doc)),
            words(&(field.shape)()),
        );
    }
    page.push_str("\nEach key by example:\n\n```yaml\n");
    for field in object.fields {
        let _ = writeln!(page, "{}: {}", key_of(field.ident), field.example);
    }
    page.push_str("```\n");
}

fn anchor(object: &Object) -> String {
    object.name.to_ascii_lowercase()
}

fn default(field: &FieldShape) -> String {
    match field.presence {
        Presence::Required => "**required**".into(),
        Presence::Optional | Presence::Default("{}" | "[]" | "[{}]") => String::new(),
        Presence::Default(default) => format!("`{}`", cell(default)),
    }
}

fn value(shape: &Shape) -> String {
    match shape {
        Shape::Scalar(kind) => scalar(kind),
        Shape::List { items, .. } => format!("list of {}", value(items)),
        Shape::Map { keys, values } => format!("{} to {}", keys.name, value(values)),
        Shape::Object(object) => format!("[{}](#{})", object.name, anchor(object)),
        Shape::OneKeyOf(object) => format!("one key of [{}](#{})", object.name, anchor(object)),
        Shape::Either(one, other) => format!("{} or {}", value(one), value(other)),
    }
}

fn scalar(kind: &Kind) -> String {
    match &kind.json {
        Json::Integer { min, max } => format!("number, {min} to {max}"),
        Json::Words(words) => {
            words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ")
        }
        Json::Boolean | Json::Text(_) | Json::Secret => kind.name.clone(),
    }
}

fn words(shape: &Shape) -> String {
    let Shape::Scalar(Kind { json: Json::Words(words), .. }) = shape else { return String::new() };
    let described: Vec<String> = words.iter().map(|(word, doc)| format!("`{word}`: {doc}")).collect();
    format!(" {}.", cell(&described.join("; ")))
}

/// A pipe would end the cell of the table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
