//! Log files: found with what was rotated away from them, read backwards from their end within a time and a number of bytes,
//! and folded, so that a gigabyte of the same failure is a few lines of evidence.
//!
//! What the lines mean is for `parse`.

mod align;
mod compressed;
mod fold;
mod journal;
mod names;
mod series;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::report::{Series, Skipped};
use model::{Evidence, Moment};

use crate::parse::{self, Format, Lines};
pub use align::align;
pub use fold::Fold;
pub use journal::read_journal;
pub use names::name_servers;

/// One step backwards: large enough that its lines are parsed in one go, small enough to look at the clock in between.
const BLOCK_BYTES: u64 = 4 << 20;
/// What one log may cost in memory while a compressed one is read: it cannot be read backwards.
const COMPRESSED_BYTES_MAX: usize = 32 << 20;
/// Lines that have no number yet are counted back from here; no log has as many.
const UNNUMBERED: u64 = 1 << 48;
/// How long behind the deadline lines are still counted: a gigabyte that is in memory takes a fraction of it.
const COUNTING: Duration = Duration::from_millis(500);
/// What is read in one go to count lines.
const COUNTED_BYTES: usize = 1 << 20;
/// The beginning of a file, by which its form is told.
const SNIFFED_BYTES: usize = 64 << 10;
/// Files that were rotated away from one log.
const ROTATED_MAX: usize = 64;

/// What is wanted of a log.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nothing before this; `None` for everything.
    pub since: Option<Moment>,
    /// The present: for times without a year, and as the end of what was read.
    pub now: Option<Moment>,
    pub boot: Option<Moment>,
    /// Seconds that times without a zone are ahead of UTC.
    pub zone_seconds: i64,
    /// When reading must be over.
    pub deadline: Option<Instant>,
    /// Whether rotated and compressed predecessors are read as well, as far as the time reaches back.
    pub rotated: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { since: None, now: None, boot: None, zone_seconds: 0, deadline: None, rotated: true }
    }
}

/// What was read.
#[derive(Debug, Default)]
pub struct LogRead {
    pub evidence: Vec<Evidence>,
    pub skipped: Vec<Skipped>,
    pub series: Vec<Series>,
    /// The form it has; `None` where nobody knows it.
    pub format: Option<Format>,
}

/// Reads a log, and its predecessors as far as wanted. `shown` is what to call it.
pub fn read(path: &Path, shown: &str, format: Option<Format>, options: &Options) -> LogRead {
    let mut out = LogRead::default();
    let mut reader = Reader::new(options);
    let mut files = vec![(path.to_owned(), shown.to_owned())];
    if options.rotated {
        files.extend(predecessors(path, shown));
    }
    for (real, shown) in files {
        match reader.file(&real, &shown, format.or(out.format)) {
            Ok(format) => out.format = format.or(out.format),
            Err(problem) => {
                let check = format!("read {shown}");
                out.skipped.push(Skipped { check, reason: problem.reason(), needs: problem.needs() });
                if real == path {
                    break;
                }
            }
        }
        if reader.coverage.complete || reader.coverage.out_of_time {
            break;
        }
    }
    reader.finish(&mut out, shown);
    out
}

/// How far it was read.
#[derive(Default)]
struct Coverage {
    from: Option<Moment>,
    to: Option<Moment>,
    lines: u64,
    /// Everything that was wanted.
    complete: bool,
    out_of_time: bool,
}

impl Coverage {
    fn evidence(&self, format: Format, shown: &str, options: &Options) -> Evidence {
        let from = if self.out_of_time { self.from } else { options.since.or(self.from) };
        Evidence::new("read")
            .with("what", format.what())
            .with("product", format.product())
            .with("path", shown)
            .with_some("from", from)
            .with_some("to", options.now.or(self.to))
            .with("lines", self.lines)
            .text(format!("{} lines of {shown} were read", self.lines))
            .from("files")
            .at(Place::file(shown, 0))
    }
}

/// Why a file was not read.
enum Problem {
    Io(io::Error),
    Unknown,
    NotAFile,
}

impl Problem {
    fn reason(&self) -> String {
        match self {
            Problem::Io(error) => error.to_string(),
            Problem::Unknown => "its lines have no form that is known".to_owned(),
            Problem::NotAFile => "it is not a file".to_owned(),
        }
    }

    fn needs(&self) -> String {
        match self {
            Problem::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                "root, or membership in its group".to_owned()
            }
            Problem::Io(_) | Problem::NotAFile => "a file that can be read".to_owned(),
            Problem::Unknown => "a log of a product that is known".to_owned(),
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Problem {
        Problem::Io(error)
    }
}

/// The files of one log while they are read.
struct Reader<'a> {
    options: &'a Options,
    fold: Fold,
    coverage: Coverage,
    /// The products whose lines are within a log of many.
    inside: BTreeSet<Format>,
}

impl<'a> Reader<'a> {
    fn new(options: &'a Options) -> Reader<'a> {
        Reader { options, fold: Fold::default(), coverage: Coverage::default(), inside: BTreeSet::new() }
    }

    /// What was found, and how far it was read.
    fn finish(self, out: &mut LogRead, shown: &str) {
        let coverage = self.coverage;
        if coverage.out_of_time {
            out.skipped.push(Skipped {
                check: format!(
                    "read {shown} before {}",
                    coverage.from.map_or("its end".to_owned(), |from| from.to_string())
                ),
                reason: "the time for reading was up".to_owned(),
                needs: "a shorter --since, or a larger --budget".to_owned(),
            });
        }
        for format in out.format.into_iter().chain(self.inside) {
            out.evidence.push(coverage.evidence(format, shown, self.options));
        }
        let (evidence, series) = self.fold.finish();
        out.evidence.extend(evidence);
        out.series = series;
    }

    /// Reads one file, and says which form it has.
    fn file(&mut self, path: &Path, shown: &str, format: Option<Format>) -> Result<Option<Format>, Problem> {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(Problem::NotAFile);
        }
        if let Some(kind) = compressed::kind(path) {
            return self.compressed(path, shown, kind, format);
        }
        let mut file = File::open(path)?;
        if metadata.len() == 0 {
            return Ok(format);
        }
        let mut start = vec![0; SNIFFED_BYTES.min(metadata.len() as usize)];
        file.read_exact(&mut start)?;
        let Some(format) = format.or_else(|| parse::sniff(shown, &String::from_utf8_lossy(&start))) else {
            return Err(Problem::Unknown);
        };
        self.backwards(&mut file, metadata.len(), shown, format)?;
        Ok(Some(format))
    }

    /// Block by block from the end, until a block begins before the time that is wanted.
    ///
    /// The number of a line is known when the lines before it are counted: that comes last, because it is worth less than
    /// what the lines say.
    fn backwards(
        &mut self,
        file: &mut File,
        length: u64,
        shown: &str,
        format: Format,
    ) -> Result<(), Problem> {
        let mut end = length;
        let mut after: u64 = 0;
        let mut rest: Vec<u8> = Vec::new();
        while end > 0 {
            let begin = end.saturating_sub(BLOCK_BYTES);
            let mut block = vec![0; (end - begin) as usize];
            file.seek(SeekFrom::Start(begin))?;
            file.read_exact(&mut block)?;
            block.append(&mut rest);
            // The first line of the block may begin before it: it waits for the next block.
            let cut =
                if begin == 0 { 0 } else { memchr::memchr(b'\n', &block).map_or(block.len(), |at| at + 1) };
            rest = block.get(..cut).unwrap_or_default().to_vec();
            let text = String::from_utf8_lossy(block.get(cut..).unwrap_or_default());
            let unfinished = u64::from(!text.is_empty() && !text.ends_with('\n'));
            let lines = memchr::memchr_iter(b'\n', text.as_bytes()).count() as u64 + unfinished;
            let first = UNNUMBERED.saturating_sub(after + lines);
            let earliest = self.block(&text, shown, first, format);
            after += lines;
            end = begin;
            // A line longer than a block would grow without end.
            if rest.len() as u64 > BLOCK_BYTES {
                rest.clear();
            }
            if self.options.since.is_some() && earliest.is_some() && earliest < self.options.since {
                self.coverage.complete = true;
                break;
            }
            if end > 0 && self.is_late(Duration::ZERO) {
                self.coverage.out_of_time = true;
                break;
            }
        }
        // What waits for a block that is not read begins with the end of a line of its own.
        let before = self.lines_before(file, end + rest.len() as u64)?;
        self.fold.number(shown, |line| {
            let back = UNNUMBERED.checked_sub(line)?;
            Some(before.map_or(0, |before| (before + after + 1).saturating_sub(back)))
        });
        Ok(())
    }

    fn is_late(&self, by: Duration) -> bool {
        self.options.deadline.is_some_and(|deadline| Instant::now() >= deadline + by)
    }

    /// How many lines end before a place of the file; `None` where the time is up before they are counted.
    fn lines_before(&self, file: &mut File, place: u64) -> io::Result<Option<u64>> {
        file.seek(SeekFrom::Start(0))?;
        let mut buffer = vec![0; COUNTED_BYTES];
        let (mut lines, mut left) = (0, place);
        while left > 0 {
            if self.is_late(COUNTING) {
                return Ok(None);
            }
            let wanted = buffer.len().min(left as usize);
            let read = file.read(buffer.get_mut(..wanted).unwrap_or_default())?;
            let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else { break };
            lines += memchr::memchr_iter(b'\n', part).count() as u64;
            left -= read as u64;
        }
        Ok(Some(lines))
    }

    /// Parses lines, leaves out what is too old, and says when they begin.
    fn block(&mut self, text: &str, shown: &str, first: u64, format: Format) -> Option<Moment> {
        let Options { since, now, boot, zone_seconds, .. } = *self.options;
        let lines = Lines { path: shown, text, first, zone: zone_seconds, now, boot };
        let earliest = parse::first_time(format, &lines);
        self.inside.extend(parse::inside(format, &lines));
        self.coverage.lines += text.lines().count() as u64;
        self.coverage.from = earliest.or(self.coverage.from);
        let fold = &mut self.fold;
        let read = parse::read_requests(format, &lines, &mut |time, failed, elapsed| {
            if since.is_none_or(|since| time >= since) {
                fold.request(time, failed, elapsed);
            }
        });
        for item in read {
            self.coverage.to = self.coverage.to.max(item.time);
            if since.is_none_or(|since| item.time.is_none_or(|time| time >= since)) {
                self.fold.add(item);
            }
        }
        earliest
    }

    fn compressed(
        &mut self,
        path: &Path,
        shown: &str,
        kind: compressed::Kind,
        format: Option<Format>,
    ) -> Result<Option<Format>, Problem> {
        let bytes = compressed::tail(path, kind, COMPRESSED_BYTES_MAX, self.options.deadline)?;
        let text = String::from_utf8_lossy(&bytes.tail);
        let Some(format) = format.or_else(|| parse::sniff(shown, &text)) else {
            return Err(Problem::Unknown);
        };
        let earliest = self.block(&text, shown, bytes.lines_before + 1, format);
        self.coverage.out_of_time |= bytes.cut;
        let since = self.options.since;
        self.coverage.complete = since.is_some() && earliest.is_some() && earliest < since;
        Ok(Some(format))
    }
}

/// Files that were rotated away, the newest first: `error.log.1`, `error.log.2.gz`, `error.log-20261126.zst`.
fn predecessors(path: &Path, shown: &str) -> Vec<(PathBuf, String)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(std::time::SystemTime, String)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            let rest = file.strip_prefix(name)?;
            let number = rest.strip_prefix(['.', '-'])?;
            let plain = number.trim_end_matches(".gz").trim_end_matches(".zst");
            let rotated =
                !plain.is_empty() && plain.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'_');
            let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
            rotated.then_some((modified, file))
        })
        .collect();
    found.sort();
    let shown_of = |file: &str| format!("{}{}", shown.strip_suffix(name).unwrap_or(""), file);
    found.into_iter().rev().take(ROTATED_MAX).map(|(_, file)| (folder.join(&file), shown_of(&file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LINE: &str = "[error] 812#812: *5 connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.9, server: x, request: \"GET /cart HTTP/1.1\", upstream: \"http://127.0.0.1:8000/cart\"";

    fn line(second: u32) -> String {
        format!("2026/11/23 07:{:02}:{:02} {LINE}\n", second / 60 % 60, second % 60)
    }

    fn read_it(path: &Path, since: Option<&str>) -> LogRead {
        let since = since.map(|since| since.parse().expect("a moment"));
        read(path, "/var/log/nginx/error.log", None, &Options { since, ..Options::default() })
    }

    fn failures(read: &LogRead) -> Vec<&Evidence> {
        read.evidence.iter().filter(|evidence| evidence.kind == "failure").collect()
    }

    #[test]
    fn lines_have_the_numbers_that_an_editor_shows_though_they_are_read_from_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("error.log");
        // More than three blocks, and no end of line at the end.
        let count = 4 * BLOCK_BYTES as usize / line(0).len();
        let mut text: String = (0..count).map(|index| line(index as u32 / 40)).collect();
        text.push_str(line(0).trim_end().replace("/cart", "/last").as_str());
        std::fs::write(&path, &text).expect("a file");
        let read = read_it(&path, None);
        let last = failures(&read)
            .into_iter()
            .find(|evidence| evidence.get("uri") == Some("/last"))
            .expect("the last line");
        assert_eq!(last.place, Place::file("/var/log/nginx/error.log", count as u64 + 1));
        let others: Vec<_> =
            failures(&read).into_iter().filter(|evidence| evidence.get("uri") == Some("/cart")).collect();
        assert_eq!(others.len(), 200);
        let counted: usize = others
            .iter()
            .map(|one| one.get("count").map_or(1, |count| count.parse().expect("a count")))
            .sum();
        assert_eq!(counted, count);
        assert!(others.iter().all(|one| {
            let Place::File { line: number, .. } = &one.place else { return false };
            text.lines().nth(*number as usize - 1) == Some(one.text.as_str())
        }));
    }

    #[test]
    fn only_as_far_back_as_wanted_and_into_rotated_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("error.log");
        std::fs::write(&path, line(600)).expect("a file");
        std::fs::write(folder.path().join("error.log.1"), line(500) + &line(550)).expect("a file");
        let gzip = File::create(folder.path().join("error.log.2.gz")).expect("a file");
        let mut gzip = flate2::write::GzEncoder::new(gzip, flate2::Compression::fast());
        gzip.write_all((line(10) + &line(400)).as_bytes()).and_then(|()| gzip.finish()).expect("a file");
        let old = std::time::SystemTime::now() - Duration::from_secs(3600);
        for (name, age) in [("error.log.1", 1), ("error.log.2.gz", 2)] {
            let file = File::options().append(true).open(folder.path().join(name)).expect("a file");
            file.set_modified(old - Duration::from_secs(age)).expect("a time");
        }
        std::fs::write(folder.path().join("error.log.bak"), line(1)).expect("a file");
        let places = |since| {
            failures(&read_it(&path, since)).iter().map(|one| one.place.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(
            places(Some("2026-11-23T07:09:05Z")),
            ["/var/log/nginx/error.log:1", "/var/log/nginx/error.log.1:2"]
        );
        assert_eq!(places(None).len(), 5);
        assert!(places(None).contains(&"/var/log/nginx/error.log.2.gz:1".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let skipped = |path: &Path| {
            let read = read_it(path, None);
            assert!(
                read.evidence.iter().all(|evidence| evidence.kind != "read"),
                "what was not read proves nothing"
            );
            read.skipped.into_iter().map(|skipped| skipped.reason).collect::<Vec<_>>()
        };
        assert_eq!(skipped(folder.path()), ["it is not a file"]);
        assert_eq!(skipped(&folder.path().join("none")), ["No such file or directory (os error 2)"]);
        let prose = folder.path().join("prose");
        std::fs::write(&prose, "some words\n\u{0}\u{1}\n").expect("a file");
        assert_eq!(skipped(&prose), ["its lines have no form that is known"]);
        let broken = folder.path().join("broken.gz");
        std::fs::write(&broken, [0x1f, 0x8b, 8, 0, 1, 2, 3]).expect("a file");
        assert_eq!(skipped(&broken).len(), 1);
    }

    #[test]
    fn when_the_time_is_up_the_end_has_been_read_and_the_rest_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("error.log");
        let count = 3 * BLOCK_BYTES as usize / line(0).len();
        std::fs::write(&path, (0..count).map(|index| line(index as u32 / 40)).collect::<String>())
            .expect("a file");
        let options = Options { deadline: Some(Instant::now()), ..Options::default() };
        let read = read(&path, "/e.log", None, &options);
        assert_eq!(read.skipped.len(), 1);
        assert!(read.skipped[0].check.starts_with("read /e.log before 2026-11-23T07:"), "{:?}", read.skipped);
        let coverage = read.evidence.iter().find(|evidence| evidence.kind == "read").expect("coverage");
        assert_ne!(coverage.get("from"), None);
    }
}
