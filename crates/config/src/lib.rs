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

pub use problem::{Problem, Problems, Severity};
pub use reference::reference;
pub use schema::schema;

/// A text to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path of the file as the user knows it; paths inside are relative to its directory.
    pub name: String,
    pub text: String,
}

/// What the configuration may refer to outside its own text.
pub trait Lookup {
    /// The value of an environment variable, for `${env:NAME}`.
    fn env(&self, name: &str) -> Option<String>;

    /// The text of a file: error pages, certificates, `${file:PATH}`. The path is relative to the working directory.
    fn file(&self, path: &Path) -> Result<String, std::io::Error>;
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
