//! The JSON Schema of a file (draft 2020-12), from the declarations of the file shape. Editors use it to complete and
//! check while typing; what only the whole configuration shows is left to `clearway check`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::decode::{FieldShape, Json, Kind, Object, Presence, Shape, Shaped, key_of};
use crate::shape::Root;

/// The schema as indented JSON, with a line end.
pub fn schema() -> String {
    let mut definitions = BTreeMap::new();
    let mut root = object(Root::OBJECT, &mut definitions);
    if let Value::Object(root) = &mut root {
        root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
        root.insert("title".into(), json!("clearway.yaml"));
        root.insert("$defs".into(), json!(definitions));
    }
    let mut text = serde_json::to_string_pretty(&root).expect("a JSON value must print");
    text.push('\n');
    text
}

/// `None` stands for an object that is being described further up.
type Definitions = BTreeMap<String, Option<Value>>;

fn object(object: &Object, definitions: &mut Definitions) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in object.fields {
        let key = key_of(field.ident);
        if field.presence == Presence::Required {
            required.push(key.clone());
        }
        properties.insert(key, property(field, definitions));
    }
    let mut schema = json!({
        "type": "object",
        "description": prose(object.doc),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        insert(&mut schema, "required", json!(required));
    }
    schema
}

fn property(field: &FieldShape, definitions: &mut Definitions) -> Value {
    let mut schema = shape(&(field.shape)(), definitions);
    insert(&mut schema, "description", json!(prose(field.doc)));
    insert(&mut schema, "examples", json!([as_json(field.example)]));
    if let Presence::Default(default) = field.presence {
        insert(&mut schema, "default", as_json(default));
    }
    schema
}

fn shape(shape: &Shape, definitions: &mut Definitions) -> Value {
    match shape {
        Shape::Scalar(kind) => scalar(kind),
        Shape::List { items, min } => {
            let mut schema = json!({ "type": "array", "items": self::shape(items, definitions) });
            if *min > 0 {
                insert(&mut schema, "minItems", json!(min));
            }
            schema
        }
        Shape::Map { keys, values } => {
            let mut schema = json!({
                "type": "object",
                "additionalProperties": self::shape(values, definitions),
            });
            if let Json::Text(Some(pattern)) = keys.json {
                insert(&mut schema, "propertyNames", json!({ "pattern": pattern }));
            }
            schema
        }
        Shape::Object(object) => reference(object, definitions),
        Shape::OneKeyOf(object) => {
            let mut schema = reference(object, definitions);
            insert(&mut schema, "minProperties", json!(1));
            insert(&mut schema, "maxProperties", json!(1));
            schema
        }
        Shape::Either(one, other) => {
            json!({ "anyOf": [self::shape(one, definitions), self::shape(other, definitions)] })
        }
    }
}

fn reference(object: &'static Object, definitions: &mut Definitions) -> Value {
    if !definitions.contains_key(object.name) {
        definitions.insert(object.name.into(), None);
        let described = self::object(object, definitions);
        definitions.insert(object.name.into(), Some(described));
    }
    json!({ "$ref": format!("#/$defs/{}", object.name) })
}

/// Anything can also be `${env:NAME}` or `${file:PATH}`, which is a text.
fn scalar(kind: &Kind) -> Value {
    let from_outside = json!({ "type": "string", "pattern": r"\$\{(env|file):" });
    match &kind.json {
        Json::Boolean => json!({ "anyOf": [{ "type": "boolean" }, from_outside] }),
        Json::Integer { min, max } => {
            json!({ "anyOf": [{ "type": "integer", "minimum": min, "maximum": max }, from_outside] })
        }
        Json::Words(words) => {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            json!({ "anyOf": [{ "enum": words }, from_outside] })
        }
        Json::Text(Some(pattern)) => {
            json!({ "type": "string", "anyOf": [{ "pattern": pattern }, { "pattern": r"\$\{(env|file):" }] })
        }
        // A value such as `2` or `true` is read as the text that stands there.
        Json::Text(None) => json!({ "type": ["string", "number", "boolean"] }),
        Json::Secret => json!({ "type": "string", "writeOnly": true }),
    }
}

fn insert(schema: &mut Value, key: &str, value: Value) {
    if let Value::Object(schema) = schema {
        schema.insert(key.into(), value);
    }
}

pub(crate) fn prose(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// A default or example, which is YAML, as JSON.
fn as_json(yaml: &str) -> Value {
    use crate::tree::{Node, Value as Tree, parse};
    fn convert(node: &Node) -> Value {
        match &node.value {
            Tree::Null => Value::Null,
            Tree::List(items) => items.iter().map(convert).collect(),
            Tree::Map(entries) => {
                entries.iter().map(|(key, value)| (key.text.to_string(), convert(value))).collect()
            }
            Tree::Scalar(scalar) if !scalar.plain => json!(scalar.text),
            Tree::Scalar(scalar) => match &*scalar.text {
                "true" => json!(true),
                "false" => json!(false),
                text => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
            },
        }
    }
    parse(yaml, 0).0.map_or(Value::Null, |node| convert(&node))
}
