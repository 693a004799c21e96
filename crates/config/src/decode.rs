//! From nodes to values: the small set of readers from which the file shape is put together.
//!
//! A reader notes what is wrong and goes on, so that one run reports everything. What the values mean together is
//! not known here; that is the business of [`crate::check`].

use crate::ctx::Ctx;
use crate::expand::expand;
use crate::suggest::nearest;
use crate::tree::{Key, Node, Place, Scalar as Written, Value, shown};

/// A value with the place where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
    /// Whether a person wrote it; else it is the default and the place is that of the object around it.
    pub(crate) given: bool,
}

impl<T> At<T> {
    pub(crate) fn given(value: T, place: Place) -> At<T> {
        At { value, place, given: true }
    }
}

impl<T> std::ops::Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A field without default.
#[derive(Clone, Debug)]
pub(crate) enum Field<T> {
    Absent,
    /// There, but unusable; the problem is noted already.
    Bad,
    Given(At<T>),
}

impl<T> Field<T> {
    pub(crate) fn given(&self) -> Option<&At<T>> {
        match self {
            Field::Given(at) => Some(at),
            Field::Absent | Field::Bad => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Field::Absent)
    }
}

/// How a value of this type is read, and what schema and reference say about it.
pub(crate) trait Decode: Sized {
    /// `None` when it cannot be used; then at least one problem was noted. The label is the key it stands under.
    fn decode(node: &Node, label: &str, ctx: &mut Ctx) -> Option<Self>;

    fn shape() -> Shape;
}

/// What may stand somewhere.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Scalar(Kind),
    List {
        items: Box<Shape>,
        min: usize,
    },
    Map {
        keys: Kind,
        values: Box<Shape>,
    },
    Object(&'static Object),
    /// An object of which exactly one key is given.
    OneKeyOf(&'static Object),
    /// Either of two, for short forms.
    Either(Box<Shape>, Box<Shape>),
}

/// An object with named keys, as declared by `shape!`.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) fields: &'static [FieldShape],
}

#[derive(Debug)]
pub(crate) struct FieldShape {
    /// The name in Rust; the key has `-` for `_`.
    pub(crate) ident: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) shape: fn() -> Shape,
    pub(crate) presence: Presence,
    /// As YAML on one line; never the default.
    pub(crate) example: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
    /// As YAML on one line, read by the same decoder as what a person writes.
    Default(&'static str),
}

pub(crate) fn key_of(ident: &str) -> String {
    ident.replace('_', "-")
}

/// What is expected of a scalar.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// Its name in the reference page and the schema.
    pub(crate) name: String,
    /// Completes "must be ...".
    pub(crate) expected: String,
    pub(crate) json: Json,
}

/// The scalar in terms of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Boolean,
    Integer {
        min: i64,
        max: i64,
    },
    /// Words of a fixed list, with what each one means.
    Words(Vec<(&'static str, &'static str)>),
    /// Text that the regular expression matches; without one, any text.
    Text(Option<&'static str>),
    /// Text that must not be shown.
    Secret,
}

/// What is wrong with a scalar; shown as "KEY: `VALUE` MESSAGE".
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The value may hold a secret and is not repeated.
    pub(crate) secret: bool,
}

impl Complaint {
    pub(crate) fn new(message: impl Into<String>) -> Complaint {
        Complaint { message: message.into(), hint: None, secret: false }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Complaint {
        self.hint = Some(hint.into());
        self
    }
}

/// A value that is written as one word.
pub(crate) trait Scalar: Sized {
    /// Quotes would make it a text.
    const UNQUOTED: bool = false;
    /// The value is never repeated.
    const SECRET: bool = false;

    fn kind() -> Kind;

    fn parse(text: &str) -> Result<Self, Complaint>;

    /// The complaint for a text that is nothing of the kind.
    fn unlike() -> Complaint {
        Complaint::new(format!("must be {}", Self::kind().expected))
    }
}

impl<T: Scalar> Decode for T {
    fn decode(node: &Node, label: &str, ctx: &mut Ctx) -> Option<T> {
        let written = match &node.value {
            Value::Scalar(written) => written,
            other => {
                not_a(other, &T::kind().expected, node.place, label, ctx);
                return None;
            }
        };
        let expanded = expand(&written.text, label, node.place, ctx)?;
        let parsed = match T::parse(&expanded.text) {
            Ok(_) if T::UNQUOTED && !written.plain && !expanded.from_outside => {
                Err(Complaint::new("must be written without quotes")
                    .hint(format!("write `{}`", written.text)))
            }
            parsed => parsed,
        };
        // A hint may repeat a part of the value.
        let hide = |complaint: Complaint| Complaint {
            secret: T::SECRET || complaint.secret,
            hint: complaint.hint.filter(|_| T::SECRET || !expanded.from_outside),
            ..complaint
        };
        parsed.map_err(|complaint| complain(hide(complaint), written, label, node.place, ctx)).ok()
    }

    fn shape() -> Shape {
        Shape::Scalar(T::kind())
    }
}

/// Repeats the text as written, so that a value from the environment or a file is not shown.
fn complain(complaint: Complaint, written: &Written, label: &str, place: Place, ctx: &mut Ctx) {
    let Complaint { message, hint, secret } = complaint;
    let message = match (secret, written.text.is_empty()) {
        (true, _) => format!("{label}: the value {message}"),
        (false, true) => format!("{label}: the empty text {message}"),
        (false, false) => format!("{label}: `{}` {message}", shown(&written.text)),
    };
    ctx.push(crate::Severity::Error, place, message, hint);
}

/// The value is of another form altogether.
pub(crate) fn not_a(found: &Value, expected: &str, place: Place, label: &str, ctx: &mut Ctx) {
    match found {
        Value::Null => {
            let message = format!("{label}: must be {expected}, but has no value");
            ctx.error_with(place, message, "give it a value, or remove the key");
        }
        Value::Scalar(written) => {
            ctx.error(place, format!("{label}: must be {expected}, not the text `{}`", shown(&written.text)));
        }
        Value::List(_) => ctx.error(place, format!("{label}: must be {expected}, not a list")),
        Value::Map(_) => ctx.error(place, format!("{label}: must be {expected}, not keys with values")),
    }
}

/// A list of at least `MIN` entries. The label of an entry is that of the list.
#[derive(Clone, Debug)]
pub(crate) struct List<T, const MIN: usize = 0>(pub(crate) Vec<At<T>>);

impl<T, const MIN: usize> List<T, MIN> {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, At<T>> {
        self.0.iter()
    }
}

impl<T: Decode, const MIN: usize> Decode for List<T, MIN> {
    fn decode(node: &Node, label: &str, ctx: &mut Ctx) -> Option<Self> {
        let items = match &node.value {
            Value::List(items) => items,
            Value::Scalar(written) if matches!(T::shape(), Shape::Scalar(_) | Shape::Either(..)) => {
                if matches!(T::shape(), Shape::Scalar(Kind { json: Json::Secret, .. })) {
                    let message = format!("{label}: must be a list, not one text");
                    ctx.error_with(node.place, message, "begin each entry with `- `");
                    return None;
                }
                let text = shown(&written.text);
                let message = format!("{label}: must be a list, not the text `{text}`");
                ctx.error_with(node.place, message, format!("write `{label}: [\"{text}\"]`"));
                return None;
            }
            Value::Map(_) if !matches!(T::shape(), Shape::Scalar(_)) => {
                let message = format!("{label}: must be a list, not keys with values");
                ctx.error_with(node.place, message, "begin each entry with `- `");
                return None;
            }
            other => {
                not_a(other, "a list", node.place, label, ctx);
                return None;
            }
        };
        if items.len() < MIN {
            ctx.error_with(
                node.place,
                format!("{label}: must have at least one entry"),
                "add one, or remove the key",
            );
            return None;
        }
        // A bad entry is left out, so that the others are still checked together.
        let read = |item: &Node| Some(At::given(T::decode(item, label, ctx)?, item.place));
        Some(List(items.iter().filter_map(read).collect()))
    }

    fn shape() -> Shape {
        Shape::List { items: Box::new(T::shape()), min: MIN }
    }
}

/// Keys that the user chooses, with values of one type, in the order of the text.
#[derive(Clone, Debug)]
pub(crate) struct Map<K, V>(pub(crate) Vec<(At<K>, At<V>)>);

impl<K: Scalar + PartialEq, V: Decode> Decode for Map<K, V> {
    fn decode(node: &Node, label: &str, ctx: &mut Ctx) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            not_a(&node.value, "keys with values", node.place, label, ctx);
            return None;
        };
        let mut read: Vec<(At<K>, At<V>)> = Vec::new();
        for (key, value) in entries {
            let written = Written { text: key.text.clone(), plain: true };
            let parsed = K::parse(&key.text);
            let value = V::decode(value, &format!("{label}.{}", shown(&key.text)), ctx)
                .map(|decoded| At::given(decoded, value.place));
            let parsed = match parsed {
                Ok(parsed) => parsed,
                Err(complaint) => {
                    complain(complaint, &written, label, key.place, ctx);
                    continue;
                }
            };
            if read.iter().any(|(known, _)| known.value == parsed) {
                ctx.error(key.place, format!("{label}: `{}` stands twice", shown(&key.text)));
                continue;
            }
            if let Some(value) = value {
                read.push((At::given(parsed, key.place), value));
            }
        }
        Some(Map(read))
    }

    fn shape() -> Shape {
        Shape::Map { keys: K::kind(), values: Box::new(V::shape()) }
    }
}

/// An object declared by `shape!`.
pub(crate) trait Shaped {
    const OBJECT: &'static Object;
}

/// An object that may be written as the value of one of its keys alone.
#[derive(Clone, Debug)]
pub(crate) struct Short<T>(pub(crate) T);

/// Which key the short form stands for.
pub(crate) trait HasShort: Decode + Shaped {
    const KEY: &'static str;
    type Value: Decode;
}

impl<T: HasShort> Decode for Short<T> {
    fn decode(node: &Node, label: &str, ctx: &mut Ctx) -> Option<Self> {
        if !matches!(node.value, Value::Scalar(_)) {
            return T::decode(node, label, ctx).map(Short);
        }
        let key = Key { place: node.place, text: T::KEY.into() };
        let object = Node { place: node.place, value: Value::Map(vec![(key, node.clone())]) };
        T::decode(&object, label, ctx).map(Short)
    }

    fn shape() -> Shape {
        Shape::Either(Box::new(T::Value::shape()), Box::new(T::shape()))
    }
}

/// An object of which exactly one key is given.
#[derive(Clone, Debug)]
pub(crate) struct OneKey<T>(pub(crate) T);

impl<T: Decode + Shaped> Decode for OneKey<T> {
    fn decode(node: &Node, label: &str, ctx: &mut Ctx) -> Option<Self> {
        if let Value::Map(entries) = &node.value
            && entries.len() != 1
        {
            let message = format!("{label}: an entry must have exactly one key, not {}", entries.len());
            ctx.error_with(node.place, message, "begin each one with `- `");
            return None;
        }
        T::decode(node, label, ctx).map(OneKey)
    }

    fn shape() -> Shape {
        Shape::OneKeyOf(T::OBJECT)
    }
}

/// The entries of an object under reading.
pub(crate) struct Entries<'n> {
    place: Place,
    label: String,
    object: &'static Object,
    entries: &'n [(Key, Node)],
}

impl<'n> Entries<'n> {
    /// Notes every key that the object does not have.
    pub(crate) fn open(
        node: &'n Node,
        label: &str,
        object: &'static Object,
        ctx: &mut Ctx,
    ) -> Option<Entries<'n>> {
        let Value::Map(entries) = &node.value else {
            not_a(&node.value, "keys with values", node.place, label, ctx);
            return None;
        };
        let keys: Vec<String> = object.fields.iter().map(|field| key_of(field.ident)).collect();
        for (key, _) in entries {
            if !keys.iter().any(|known| **known == *key.text) {
                unknown_key(key, label, &keys, ctx);
            }
        }
        Some(Entries { place: node.place, label: label.into(), object, entries })
    }

    fn find(&self, key: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(known, _)| *known.text == *key).map(|(_, node)| node)
    }

    pub(crate) fn optional<T: Decode>(&self, ident: &str, ctx: &mut Ctx) -> Field<T> {
        let key = key_of(ident);
        match self.find(&key) {
            None => Field::Absent,
            Some(node) => match T::decode(node, &key, ctx) {
                Some(value) => Field::Given(At::given(value, node.place)),
                None => Field::Bad,
            },
        }
    }

    pub(crate) fn required<T: Decode>(&self, ident: &str, ctx: &mut Ctx) -> Field<T> {
        let field = self.optional(ident, ctx);
        if field.is_absent() {
            let key = key_of(ident);
            let example = self.object.fields.iter().find(|field| field.ident == ident);
            let hint = format!("for example `{key}: {}`", example.map_or("", |field| field.example));
            ctx.error_with(self.place, format!("{}: must have `{key}`", self.label), hint);
        }
        field
    }

    pub(crate) fn or_default<T: Decode>(&self, ident: &str, default: &str, ctx: &mut Ctx) -> At<T> {
        match self.optional(ident, ctx) {
            Field::Given(at) => at,
            Field::Absent | Field::Bad => {
                let value = self::default(default, ctx).expect("a default must be readable");
                At { value, place: self.place, given: false }
            }
        }
    }
}

/// Reads a default. They are part of the program, and a test reads every one.
pub(crate) fn default<T: Decode>(text: &str, ctx: &mut Ctx) -> Option<T> {
    let place = Place::whole(usize::MAX);
    let node = match text {
        // The two most frequent ones, for each route again.
        "{}" => Node { place, value: Value::Map(Vec::new()) },
        "[]" => Node { place, value: Value::List(Vec::new()) },
        _ if text.starts_with(['{', '[']) => crate::tree::parse(text, usize::MAX).0?,
        _ => Node { place, value: Value::Scalar(Written { text: text.into(), plain: true }) },
    };
    T::decode(&node, "default", ctx)
}

fn unknown_key(key: &Key, label: &str, known: &[String], ctx: &mut Ctx) {
    let text = shown(&key.text);
    if &*key.text == "<<" {
        let hint = "repeat the keys; an alias for a whole value (`timeouts: *slow`) works";
        ctx.error_with(key.place, format!("{label}: merge keys (`<<`) must not be used"), hint);
        return;
    }
    let hint = match nearest(&key.text, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the keys here are {}", known.join(", ")),
    };
    ctx.error_with(key.place, format!("{label}: there is no key `{text}`"), hint);
}
