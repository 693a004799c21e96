//! YAML of others to trees in which every value knows its line. Tags are overlooked, merge keys and several documents are read; the
//! part before a fault is kept.

use std::collections::HashMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

use super::{Origin, Part, Problem};

/// The deepest place of an Envoy configuration in use lies some 20 levels down.
const DEPTH_MAX: usize = 64;
/// Nodes after aliases are copied, so that a few lines cannot grow into gigabytes.
const NODES_MAX: usize = 500_000;

/// Lines of one value, a command for example.
const VALUE_LINES_MAX: usize = 40;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The line of its key, or its own.
    pub(super) line: usize,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Null,
    Text(String),
}

impl Node {
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(known, _)| known == key).map(|(_, node)| node)
    }

    /// The value below a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    pub(super) fn entries(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.value, Value::List(_))
    }

    pub(super) fn text_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.text()
    }
}

/// A text with its lines, to say where a node stands.
pub(super) struct Lines<'t> {
    path: Arc<str>,
    lines: Vec<&'t str>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(path: &str, text: &'t str) -> Lines<'t> {
        Lines { path: Arc::from(path), lines: text.lines().collect() }
    }

    pub(super) fn origin(&self, line: usize) -> Origin {
        let text = self.lines.get(line.saturating_sub(1)).copied().unwrap_or_default();
        Origin::new(&self.path, line, text)
    }

    pub(super) fn of(&self, node: &Node) -> Origin {
        self.origin(node.line)
    }

    /// The lines that a value may be written in.
    pub(super) fn from(&self, line: usize) -> Arc<[String]> {
        let lines = self.lines.iter().skip(line.saturating_sub(1)).take(VALUE_LINES_MAX);
        lines.map(|line| (*line).to_owned()).collect()
    }

    /// A place without the text of its line, which may hold a secret.
    pub(super) fn without_text(&self, node: &Node) -> Origin {
        Origin::new(&self.path, node.line, "")
    }
}

/// The documents of a text.
pub(super) fn documents(path: &str, text: &str, part: &mut Part) -> Vec<Node> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        match reader.document() {
            Ok(Some(node)) => documents.push(node),
            Ok(None) => return documents,
            Err((line, message)) => {
                part.problems.push(Problem::error(path, line, message));
                return documents;
            }
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

type Failure = (usize, String);

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<Option<Node>, Failure> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(None),
                (Event::DocumentStart(_), _) => {
                    let first = self.next()?;
                    return self.node(first, 0).map(Some);
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, usize), Failure> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line().max(1))),
            Some(Err(error)) => {
                Err((error.marker().line().max(1), format!("this is not YAML: {}", error.info())))
            }
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    fn node(&mut self, (event, line): (Event<'t>, usize), depth: usize) -> Result<Node, Failure> {
        self.count(line, 1)?;
        if depth > DEPTH_MAX {
            return Err((line, format!("values must lie at most {DEPTH_MAX} levels deep")));
        }
        let (anchor, value) = match event {
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id).cloned() else {
                    return Err((line, "an alias must not stand inside the value it names".to_owned()));
                };
                self.count(line, size)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, _) => {
                let is_null = style == ScalarStyle::Plain
                    && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                (anchor, if is_null { Value::Null } else { Value::Text(text.into_owned()) })
            }
            Event::SequenceStart(anchor, _) => (anchor, Value::List(self.list(depth)?)),
            Event::MappingStart(anchor, _) => (anchor, Value::Map(self.map(depth)?)),
            _ => return Err((line, "the text ends where a value is expected".to_owned())),
        };
        let node = Node { line, value };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size(&node)));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Failure> {
        let mut items = Vec::new();
        loop {
            let next = self.next()?;
            match next.0 {
                Event::SequenceEnd => return Ok(items),
                Event::StreamEnd => return Err((next.1, "a list has no end".to_owned())),
                _ => items.push(self.node(next, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(String, Node)>, Failure> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut merged: Vec<(String, Node)> = Vec::new();
        loop {
            let next = self.next()?;
            match next.0 {
                Event::MappingEnd => break,
                Event::StreamEnd => return Err((next.1, "a map has no end".to_owned())),
                _ => {}
            }
            let line = next.1;
            let key = self.node(next, depth + 1)?;
            let next = self.next()?;
            let mut value = self.node(next, depth + 1)?;
            let Some(key) = key.text() else { continue };
            if key == "<<" {
                merged.extend(value.entries().to_vec());
                merged.extend(value.items().iter().flat_map(|item| item.entries().to_vec()));
                continue;
            }
            value.line = line;
            entries.push((key.to_owned(), value));
        }
        for (key, value) in merged {
            if !entries.iter().any(|(known, _)| *known == key) {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    fn count(&mut self, line: usize, nodes: usize) -> Result<(), Failure> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err((line, format!("the file must have at most {NODES_MAX} values, aliases counted")));
        }
        Ok(())
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Null => 1,
        Value::Text(text) => 1 + text.len() / 32,
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, value)| 1 + size(value)).sum::<usize>(),
    }
}
