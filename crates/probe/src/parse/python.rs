//! Tracebacks of Python, and messages of its libraries, in the log of whatever server ran it.

use model::evidence::Place;
use model::{Evidence, Moment};

use crate::kinds::{Field, Kind};

/// How a traceback begins.
pub(crate) const START: &str = "Traceback (most recent call last):";
/// What stands between tracebacks of which one came of the other.
pub(crate) const CHAINED: [&str; 2] = [
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
];
/// Lines of one traceback: recursion makes thousands, of which the last tells enough.
const LINES_MAX: usize = 4_000;
/// The message of an exception that is kept.
const MESSAGE_MAX: usize = 600;

pub(crate) const KINDS: &[Kind] = &[Kind {
    name: "python.exception",
    doc: "an exception with its traceback, or a library's line about one",
    fields: &[
        Field { name: "exception", doc: "its class, without modules" },
        Field { name: "module", doc: "the module of the class" },
        Field { name: "message", doc: "its text" },
        Field { name: "file", doc: "of the innermost frame that is not a library's" },
        Field { name: "line", doc: "in that file" },
        Field { name: "function", doc: "there" },
        Field { name: "innermost", doc: "the file of the innermost frame" },
        Field { name: "phase", doc: "boot where the traceback goes through the import of the application" },
        Field {
            name: "framework",
            doc: "the framework whose code the traceback goes through: flask, django, starlette ...",
        },
        Field { name: "inner", doc: "yes where another exception came of it" },
        Field { name: "pid", doc: "of the process that wrote it" },
    ],
}];

/// What became of a line that was offered to a traceback.
pub(crate) enum Taken {
    /// It belongs to it, and more may come.
    More,
    /// It is its last line.
    Last,
    /// It does not belong to it.
    Not,
}

/// A traceback while it is read.
pub(crate) struct Traceback<'a> {
    path: &'a str,
    number: u64,
    time: Option<Moment>,
    source: &'static str,
    pid: Option<&'a str>,
    indent: usize,
    lines: usize,
    frames: Vec<Frame<'a>>,
    last: Option<&'a str>,
}

struct Frame<'a> {
    file: &'a str,
    line: &'a str,
    function: &'a str,
}

impl<'a> Traceback<'a> {
    /// Begins with the line that says so; what stands before it in the line is kept as indent.
    pub(crate) fn begin(
        path: &'a str,
        number: u64,
        message: &'a str,
        time: Option<Moment>,
        source: &'static str,
        pid: Option<&'a str>,
    ) -> Option<Traceback<'a>> {
        let start = message.find(START)?;
        // Exception groups indent theirs with `  | `.
        let before = message.get(..start)?;
        before.chars().all(|c| matches!(c, ' ' | '|' | '+' | '-')).then_some(())?;
        Some(Traceback {
            path,
            number,
            time,
            source,
            pid,
            indent: start,
            lines: 0,
            frames: Vec::new(),
            last: None,
        })
    }

    pub(crate) fn take(&mut self, line: &'a str) -> Taken {
        self.lines += 1;
        let line = line.get(self.indent..).unwrap_or("");
        if self.lines > LINES_MAX {
            return Taken::Not;
        }
        if line.starts_with(' ') {
            if let Some(frame) = frame(line) {
                self.frames.push(frame);
            }
            return Taken::More;
        }
        if line.trim().is_empty() {
            return Taken::Not;
        }
        self.last = Some(line);
        Taken::Last
    }

    pub(crate) fn finish(self) -> Option<Evidence> {
        let last = self.last?;
        let evidence = exception(last)?;
        let library = |frame: &&Frame<'_>| {
            ["site-packages", "dist-packages", "/lib/python", "<frozen"]
                .iter()
                .any(|part| frame.file.contains(part))
        };
        let own = self
            .frames
            .iter()
            .rev()
            .find(|frame| !library(frame))
            .or_else(|| self.frames.iter().rev().find(|frame| !frame.file.starts_with('<')));
        let through = |part: &str| self.frames.iter().any(|frame| frame.file.contains(part));
        let boot = self.frames.iter().any(|frame| {
            matches!(
                frame.function,
                "load_wsgiapp" | "import_app" | "load_wsgi" | "import_from_string" | "lifespan" | "startup"
            )
        });
        let framework = ["flask", "django", "starlette", "fastapi", "falcon", "bottle", "aiohttp"]
            .into_iter()
            .find(|name| through(&format!("/{name}/")));
        Some(
            evidence
                .with_some("file", own.map(|frame| frame.file))
                .with_some("line", own.map(|frame| frame.line))
                .with_some("function", own.map(|frame| frame.function).filter(|name| !name.is_empty()))
                .with_some("innermost", self.frames.last().map(|frame| frame.file))
                .with_some("phase", boot.then_some("boot"))
                .with_some("framework", framework)
                .with_some("pid", self.pid)
                .text(last)
                .from(self.source)
                .at(Place::file(self.path, self.number))
                .time(self.time),
        )
    }
}

/// `  File "app.py", line 7, in view`
fn frame(line: &str) -> Option<Frame<'_>> {
    let (file, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
    let (line, function) = rest.split_once(", in ").unwrap_or((rest, ""));
    Some(Frame { file, line, function: function.trim() })
}

/// `psycopg2.OperationalError: connection to server ...`
fn exception(line: &str) -> Option<Evidence> {
    let (class, message) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
    let named = !class.is_empty()
        && class.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_'))
        && class
            .rsplit('.')
            .next()
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_'));
    // Timeouts of the standard library are written in small letters: socket.timeout, asyncio.exceptions.
    let small = matches!(class, "socket.timeout" | "socket.gaierror" | "redis.exceptions" | "select.error");
    if !named && !small {
        return None;
    }
    let (module, name) = class.rsplit_once('.').unwrap_or(("", class));
    let end = message.char_indices().nth(MESSAGE_MAX).map_or(message.len(), |(end, _)| end);
    Some(
        Evidence::new("python.exception")
            .with("exception", name)
            .with_some("module", Some(module).filter(|module| !module.is_empty()))
            .with_some("message", message.get(..end).map(str::trim).filter(|message| !message.is_empty())),
    )
}

/// A line that ends with an exception, as applications log them without a traceback: only classes whose module is told, so
/// that prose is not taken for one.
pub(crate) fn message(text: &str) -> Option<Evidence> {
    const MODULES: &[&str] = &[
        "psycopg2.",
        "psycopg.",
        "asyncpg.",
        "sqlalchemy.",
        "redis.",
        "pika.",
        "requests.",
        "urllib3.",
        "httpx.",
        "pymysql.",
        "MySQLdb.",
        "(psycopg",
    ];
    let start = MODULES.iter().filter_map(|module| text.find(module)).min()?;
    exception(text.get(start..)?.trim_start_matches('(')).filter(|evidence| {
        evidence.get("message").is_some()
            && evidence
                .get("exception")
                .is_some_and(|name| name.ends_with("Error") || name.ends_with("Timeout"))
    })
}
