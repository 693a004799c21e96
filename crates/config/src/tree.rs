//! YAML text to a tree in which every node knows its place.
//!
//! Only what a configuration needs: one document, text keys, no tags, no merge keys. Anchors and aliases work; an
//! alias is a copy of its anchor, counted against the same bound, so that a few lines cannot grow into gigabytes.
//! What a scalar means (a number, a duration ...) is decided by who reads it, not here.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

/// The largest source that is read.
pub const SOURCE_BYTES_MAX: usize = 4 << 20;
/// Nodes of one source after aliases are copied: far above 10,000 routes, far below what hurts.
const NODES_MAX: usize = 1_000_000;
/// The deepest place of the file shape lies 9 levels down; the rest is room.
const DEPTH_MAX: usize = 32;

/// Where something stands. The file is an index into the names that [`crate::decode::Ctx`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) file: usize,
    /// From 1; 0 for the source as a whole.
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Place {
    /// The source as a whole.
    pub(crate) fn whole(file: usize) -> Place {
        Place { file, line: 0, column: 0 }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A scalar as it is written; `plain` without quotes.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) text: Box<str>,
    pub(crate) plain: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: Box<str>,
}

/// A complaint about the text itself.
#[derive(Debug)]
pub(crate) struct TreeProblem {
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

/// Reads a source. `None` where it holds nothing, or nothing usable; then there is a problem.
pub(crate) fn parse(text: &str, file: usize) -> (Option<Node>, Vec<TreeProblem>) {
    if text.len() > SOURCE_BYTES_MAX {
        let (message, hint) = too_large();
        let problem = TreeProblem { place: Place::whole(file), message, hint: Some(hint.into()) };
        return (None, vec![problem]);
    }
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        file,
        anchors: HashMap::new(),
        nodes: 0,
        problems: Vec::new(),
    };
    let root = builder.document().unwrap_or(None);
    (root, builder.problems)
}

/// What is said of a source that is too large.
pub(crate) fn too_large() -> (String, &'static str) {
    let message = format!("the file must be at most {} MiB", SOURCE_BYTES_MAX >> 20);
    (message, "split it into several files of one directory")
}

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    file: usize,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    problems: Vec<TreeProblem>,
}

/// The source cannot be read on; the problem is noted.
struct Stop;

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        let mut documents = 0;
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let hint = "one file is one document: remove `---`, or move what follows into a file of its own";
                        return Err(self.stop(place, "a second document begins here", hint));
                    }
                    let first = self.next()?;
                    root = Some(self.node(first, 0)?);
                }
                _ => {}
            }
        }
    }

    fn node(&mut self, (event, place): (Event<'t>, Place), depth: usize) -> Result<Node, Stop> {
        self.count(place, 1)?;
        if depth > DEPTH_MAX {
            return Err(self.stop(place, "too many levels inside each other", "no key lies this deep"));
        }
        let (anchor, value) = match event {
            Event::Alias(id) => return self.alias(id, place),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), place);
                (anchor, scalar(&text, style))
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), place);
                (anchor, Value::List(self.list(depth)?))
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_tag(tag.as_deref(), place);
                (anchor, Value::Map(self.map(depth)?))
            }
            _ => {
                return Err(self.stop(
                    place,
                    "the text ends where a value is expected",
                    "complete the value",
                ));
            }
        };
        let node = Node { place, value };
        if anchor > 0 {
            let size = size(&node);
            self.count(place, size)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        loop {
            let next = self.next()?;
            if next.0 == Event::SequenceEnd {
                return Ok(items);
            }
            items.push(self.node(next, depth + 1)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<(Key, Node)>, Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut places: HashMap<Box<str>, Place> = HashMap::new();
        loop {
            let next = self.next()?;
            if next.0 == Event::MappingEnd {
                return Ok(entries);
            }
            let key = self.node(next, depth + 1)?;
            let next = self.next()?;
            let value = self.node(next, depth + 1)?;
            let Value::Scalar(Scalar { text, .. }) = key.value else {
                self.problem(key.place, "a key must be a text".into(), None);
                continue;
            };
            if let Some(first) = places.get(&text) {
                let message =
                    format!("the key `{}` stands twice, first at line {}", shown(&text), first.line);
                self.problem(key.place, message, Some("remove one of the two".into()));
                continue;
            }
            places.insert(text.clone(), key.place);
            entries.push((Key { place: key.place, text }, value));
        }
    }

    fn alias(&mut self, id: usize, place: Place) -> Result<Node, Stop> {
        let Some((node, size)) = self.anchors.get(&id).cloned() else {
            // The parser itself refuses an unknown name, so this is an alias inside the value it names.
            return Err(self.stop(
                place,
                "this alias stands inside the value it names",
                "write the value out",
            ));
        };
        self.count(place, size)?;
        Ok(node)
    }

    fn count(&mut self, place: Place, nodes: usize) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            return Err(self.stop(
                place,
                "aliases make this file too large",
                "write the values out, or use fewer aliases",
            ));
        }
        Ok(())
    }

    fn next(&mut self) -> Result<(Event<'t>, Place), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.place(&span))),
            Some(Err(error)) => {
                let place = self.place(&Span::empty(*error.marker()));
                let hint = yaml_hint(error.info());
                self.problem(place, format!("this is not YAML: {}", error.info()), hint.map(Into::into));
                Err(Stop)
            }
            None => Err(Stop),
        }
    }

    fn place(&self, span: &Span) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place {
            file: self.file,
            line: number(span.start.line()).max(1),
            column: number(span.start.col() + 1),
        }
    }

    fn refuse_tag(&mut self, tag: Option<&saphyr_parser::Tag>, place: Place) {
        if let Some(tag) = tag {
            let message = format!("the tag `{}` must not stand here", shown(&tag.to_string()));
            let hint = "values from outside are written `${env:NAME}` or `${file:PATH}`";
            self.problem(place, message, Some(hint.into()));
        }
    }

    fn problem(&mut self, place: Place, message: String, hint: Option<String>) {
        self.problems.push(TreeProblem { place, message, hint });
    }

    fn stop(&mut self, place: Place, message: &str, hint: &str) -> Stop {
        self.problem(place, message.into(), Some(hint.into()));
        Stop
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let plain = style == ScalarStyle::Plain;
    // The core schema of YAML 1.2 section 10.3.2.
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    Value::Scalar(Scalar { text: text.into(), plain })
}

/// What a copy of the node costs, in nodes; long texts count for several.
fn size(node: &Node) -> usize {
    let text = |text: &str| 1 + text.len() / 32;
    match &node.value {
        Value::Null => 1,
        Value::Scalar(scalar) => text(&scalar.text),
        Value::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Map(entries) => {
            1 + entries.iter().map(|(key, value)| text(&key.text) + size(value)).sum::<usize>()
        }
    }
}

/// What usually stands behind a complaint of the parser.
fn yaml_hint(info: &str) -> Option<&'static str> {
    if info.contains("tab") {
        return Some("indent with spaces");
    }
    if info.contains("unknown anchor") {
        return Some("a text that begins with `*` or `&` needs quotes");
    }
    if info.contains("mapping values are not allowed") {
        return Some("a text that holds `: ` needs quotes; or the line is indented wrongly");
    }
    if info.contains("block") || info.contains("simple key") {
        return Some(
            "look for a missing `:`, or for a line that is indented more or less than its neighbours",
        );
    }
    if info.contains("flow") {
        return Some(
            "look for a missing `]`, `}` or `,`; inside them, texts that hold `{`, `}`, `[`, `]` or `,` need quotes",
        );
    }
    None
}

/// A piece of the source for a message: control characters escaped, cut at 60 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == 60 {
            out.push_str("...");
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let (node, problems) = parse(text, 0);
        let mut out = node.map(|node| render(&node)).unwrap_or_default();
        for problem in problems {
            out.push_str(&format!("\n{}:{} {}", problem.place.line, problem.place.column, problem.message));
        }
        assert_eq!(out, expected, "{text:?}");
    }

    fn render(node: &Node) -> String {
        let join = |parts: Vec<String>| parts.join(" ");
        let value = match &node.value {
            Value::Null => "null".into(),
            Value::Scalar(scalar) if scalar.plain => scalar.text.to_string(),
            Value::Scalar(scalar) => format!("{:?}", scalar.text),
            Value::List(items) => format!("[{}]", join(items.iter().map(render).collect())),
            Value::Map(entries) => {
                let entry = |(key, value): &(Key, Node)| format!("{}: {}", key.text, render(value));
                format!("{{{}}}", join(entries.iter().map(entry).collect()))
            }
        };
        format!("{value}@{}:{}", node.place.line, node.place.column)
    }

    #[test]
    fn every_node_knows_its_place() {
        check("a: 1\nb:\n  - x\n  - 'y'\n", "{a: 1@1:4 b: [x@3:5 \"y\"@4:5]@3:3}@1:1");
        check("a: ~\n", "{a: null@1:4}@1:1");
        check("", "");
        check("# only a comment\n", "");
    }

    #[test]
    fn anchors_are_copied() {
        check("a: &x {k: v}\nb: *x\n", "{a: {k: v@1:11}@1:4 b: {k: v@1:11}@1:4}@1:1");
    }

    #[test]
    fn what_is_refused() {
        check("a: 1\na: 2\n", "{a: 1@1:4}@1:1\n2:1 the key `a` stands twice, first at line 1");
        check("a: 1\n---\nb: 2\n", "\n2:1 a second document begins here");
        check("a: !env X\n", "{a: X@1:4}@1:1\n1:4 the tag `!env` must not stand here");
        check("[x]: 1\n", "{}@1:1\n1:1 a key must be a text");
        check("a: &x [*x]\n", "\n1:8 this alias stands inside the value it names");
    }

    #[test]
    fn a_small_text_cannot_grow_without_bound() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let (node, problems) = parse(&text, 0);
        assert!(node.is_none());
        assert_eq!(problems[0].message, "aliases make this file too large");

        let (_, problems) = parse(&"[".repeat(40), 0);
        assert_eq!(problems[0].message, "too many levels inside each other");
        let (_, problems) = parse(&" ".repeat(SOURCE_BYTES_MAX + 1), 0);
        assert_eq!(problems[0].message, "the file must be at most 4 MiB");
    }
}
