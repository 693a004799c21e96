//! The reference page of the configuration, from the declarations of the file shape. Its introduction is prose and
//! lives in `reference.md`.

use std::fmt::Write;

use crate::decode::{FieldShape, Json, Kind, Object, Presence, Shape, Shaped, key_of};
use crate::schema::prose;
use crate::shape::Root;

/// The page as Markdown.
pub fn reference() -> String {
    let mut page = include_str!("reference.md").to_owned();
    let mut sections = vec![("".to_owned(), Root::OBJECT)];
    let mut next = 0;
    while let Some((path, object)) = sections.get(next).cloned() {
        section(&path, object, &mut page);
        for field in object.fields {
            let inner =
                if path.is_empty() { key_of(field.ident) } else { format!("{path}.{}", key_of(field.ident)) };
            objects(&(field.shape)(), &inner, &mut sections);
        }
        next += 1;
    }
    page
}

/// Every object once, at the first path that leads to it.
fn objects(shape: &Shape, path: &str, sections: &mut Vec<(String, &'static Object)>) {
    match shape {
        Shape::Scalar(_) => {}
        Shape::List { items, .. } => objects(items, &format!("{path}[]"), sections),
        Shape::Map { values, .. } => objects(values, &format!("{path}.*"), sections),
        Shape::Object(object) | Shape::OneKeyOf(object) => {
            if !sections.iter().any(|(_, known)| known.name == object.name) {
                sections.push((path.into(), object));
            }
        }
        Shape::Either(one, other) => {
            objects(one, path, sections);
            objects(other, path, sections);
        }
    }
}

fn section(path: &str, object: &Object, page: &mut String) {
    let title = if path.is_empty() { "Top level".to_owned() } else { format!("`{path}`") };
    let _ = write!(page, "\n<a id=\"{}\"></a>\n## {title}\n\n{}\n\n", anchor(object), prose(object.doc));
    page.push_str("| Key | Value | Default | |\n|---|---|---|---|\n");
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
    page.push_str("\nExample, with every key:\n\n```yaml\n");
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
