//! From texts to one checked [`model::Gateway`], with **all** problems at once: each with its place, a message that
//! says what to do, and often a hint.
//!
//! Nothing here opens a file, reads the environment or a clock: callers hand over the texts and a [`Lookup`].
//!
//! Three types in one direction: the file shape (`shape`, declared once with default, documentation and example, and
//! read by `decode`), the checked gateway (`check`), and the running objects, which are built elsewhere.

mod check;
mod ctx;
mod decode;
mod expand;
mod problem;
mod reference;
mod scalar;
mod schema;
mod shape;
mod suggest;
mod tree;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use model::gateway::CertificateFiles;

pub use ctx::FILE_BYTES_MAX;
pub use problem::{Problem, Problems, Severity};
pub use reference::reference;
pub use schema::schema;
pub use suggest::nearest;
pub use tree::SOURCE_BYTES_MAX;

/// A text to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path of the file as the user knows it; paths inside are relative to its directory.
    pub name: String,
    pub text: String,
}

impl Source {
    /// From what was read of a file, of which nobody needs to read more than a byte beyond [`SOURCE_BYTES_MAX`].
    pub fn from_bytes(name: String, bytes: Vec<u8>) -> Result<Source, Problem> {
        let problem = |line, column, message: String, hint: &str| Problem {
            severity: Severity::Error,
            file: name.clone(),
            line,
            column,
            message,
            hint: Some(hint.to_owned()),
        };
        if bytes.len() > SOURCE_BYTES_MAX {
            let (message, hint) = tree::too_large();
            return Err(problem(0, 0, message, hint));
        }
        String::from_utf8(bytes).map(|text| Source { name: name.clone(), text }).map_err(|error| {
            let (good, bad) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
            let line_begin = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            let lines = 1 + good.iter().filter(|byte| **byte == b'\n').count();
            let columns =
                1 + String::from_utf8_lossy(good.get(line_begin..).unwrap_or_default()).chars().count();
            let message =
                format!("the byte 0x{:02x} is no UTF-8 text", bad.first().copied().unwrap_or_default());
            problem(lines as u32, columns as u32, message, "save the file as UTF-8")
        })
    }
}

/// What the configuration may refer to outside its own text. What is not looked at cannot be wrong.
pub trait Lookup {
    /// The value of an environment variable, for `${env:NAME}`.
    fn env(&self, name: &str) -> Option<String>;

    /// The text of a file: error pages, certificates, `${file:PATH}`. The path is relative to the working directory.
    /// Nobody needs to read more than a byte beyond [`FILE_BYTES_MAX`].
    fn file(&self, path: &Path) -> Result<String, std::io::Error>;

    /// Whether a certificate and a key in PEM form can be used together; the reason names the file.
    fn certificate(&self, _: &CertificateFiles) -> Result<(), String> {
        Ok(())
    }

    /// Whether the certificates in a file can be authorities; the reason names the file.
    fn authorities(&self, _: &Path) -> Result<(), String> {
        Ok(())
    }

    /// What keeps a file from being written at this path.
    fn obstacle(&self, _: &Path) -> Option<Obstacle> {
        None
    }
}

/// What stands where a file is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A directory has its name.
    Directory,
    /// There is no directory for it.
    NoDirectory,
}

/// What the command line says beside the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--to URL`: a service `default` with one route that takes everything.
    pub to: Option<String>,
    /// `--listen ADDRESS`: these listeners instead of those of the files.
    pub listen: Vec<String>,
    /// `--admin ADDRESS`: instead of the key `admin`.
    pub admin: Option<String>,
    /// `--data DIRECTORY`: instead of the key `data`.
    pub data: Option<PathBuf>,
    /// `--provider NAME`: providers of the catalogue, and a service that offers them if there is no other.
    pub providers: Vec<String>,
}

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    pub gateway: model::Gateway,
    /// What probably was not meant. Every one is a [`Severity::Warning`].
    pub warnings: Vec<Problem>,
    pub process: ProcessSettings,
    /// Every file that was named: a change of one is a change of the configuration.
    pub files: Vec<PathBuf>,
}

/// What the process needs before and beside the gateway; a change takes effect at the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    /// Where the management interface listens.
    pub admin: SocketAddr,
    /// The data directory.
    pub data: PathBuf,
}

/// Whether a key stands at the top of a configuration of ours: tells our files from YAML of others.
pub fn is_root_key(key: &str) -> bool {
    use decode::Shaped;
    shape::Root::OBJECT.fields.iter().any(|field| decode::key_of(field.ident) == key)
}

/// Reads and checks the sources as one configuration. With no source and no override: the default listener and no
/// service.
pub fn build(sources: &[Source], overrides: &Overrides, lookup: &dyn Lookup) -> Result<Checked, Problems> {
    let mut ctx = ctx::Ctx::new(sources, lookup);
    let checked = check::build(sources, overrides, &mut ctx);
    let usable = !ctx.has_errors();
    let (problems, files) = ctx.finish();
    match usable {
        true => Ok(Checked { gateway: checked.gateway, warnings: problems, process: checked.process, files }),
        false => Err(Problems(problems)),
    }
}
