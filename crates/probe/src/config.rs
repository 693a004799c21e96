//! Configurations of proxies, servers, units and orchestrators to settings at their places, in one vocabulary for all
//! products, and to the chain they make: sites with their targets, servers with their addresses.
//!
//! Texts in, facts out: what is included is asked of [`Files`], and nothing is ever executed. What depends on the world at run
//! time (variables of the environment, the number of CPUs) is `unknown`, or `uncertain` where a fallback is written.

pub mod address;
pub mod files;
mod format;
mod join;
mod tier;
mod versions;
mod vocabulary;

mod apache;
mod argument;
mod caddy;
mod command;
mod compose;
mod dockerfile;
mod envoy;
mod gunicorn;
mod haproxy;
pub mod kubeconfig;
mod kubernetes;
mod nginx;
mod quantity;
mod sysctl;
mod systemd;
mod uwsgi;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::evidence::Evidence;

pub use files::{Disk, Files, Given, Layered};
pub use format::Format;
pub use tier::{
    Bind, Listen, Matching, Origin, Problem, Role, Route, Server, Setting, Site, Software, Target, Wide,
};
pub use vocabulary::{NAMES, Name};

/// The largest file that is read: the longest generated proxy configurations have a few hundred KiB.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// Facts that are kept of one set: enough for some thousand locations, and a bound on what a hostile set can ask for.
const EVIDENCE_MAX: usize = 100_000;

/// A configuration that is read for its own sake, not because another includes it.
#[derive(Clone, Debug)]
pub struct Source {
    pub path: String,
    pub text: String,
    /// `None` to tell it from name and text.
    pub format: Option<Format>,
}

/// What a set of configurations says.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// `setting` and `software`, in the order of the files.
    pub evidence: Vec<Evidence>,
    pub sites: Vec<Site>,
    pub servers: Vec<Server>,
    /// What is about a process, unit or workload as a whole.
    pub wide: Vec<Wide>,
    pub software: Vec<Software>,
    /// What could not be read, and what was left out.
    pub problems: Vec<Problem>,
    /// Sources of which nothing is known to be read.
    pub unknown: Vec<String>,
    /// Every file that was read, includes too.
    pub read: BTreeSet<String>,
}

/// Reads a set of files whose formats are told from names and texts; includes are looked for in the set only.
pub fn read(files: &[(String, String)]) -> Configuration {
    let sources: Vec<Source> = files
        .iter()
        .map(|(path, text)| Source { path: path.clone(), text: text.clone(), format: None })
        .collect();
    read_sources(&sources, &Given::new(files.iter().cloned()), &[])
}

/// Reads a set of sources; what they include is asked of `files`. Versions decide which defaults are in force: those that are
/// not among `software` are taken from the sources where they tell them (images, requirements).
pub fn read_sources(sources: &[Source], files: &dyn Files, software: &[Software]) -> Configuration {
    let mut known = software.to_vec();
    known.extend(sources.iter().flat_map(versions::of_source));
    let versions: BTreeMap<String, String> =
        known.iter().rev().map(|known| (known.product.clone(), known.version.clone())).collect();
    let cluster = Arc::new(kubernetes::cluster(sources));
    let mut parts: Vec<(String, Part)> = Vec::new();
    let mut unknown = Vec::new();
    for source in sources {
        let Some(format) = source.format.or_else(|| Format::of(&source.path, &source.text)) else {
            unknown.push(source.path.clone());
            continue;
        };
        let mut part = Part { versions: versions.clone(), cluster: Arc::clone(&cluster), ..Part::default() };
        part.read.insert(source.path.clone());
        if source.text.len() > FILE_BYTES_MAX {
            let message =
                format!("has {} bytes, of which at most {FILE_BYTES_MAX} are read", source.text.len());
            part.problems.push(Problem::error(&source.path, 0, message));
        } else {
            format::read(format, source, files, &mut part);
        }
        parts.push((source.path.clone(), part));
    }
    let mut configuration = Configuration { software: known, unknown, ..Configuration::default() };
    // What another source includes has its meaning there, and was read there.
    let included: BTreeSet<String> =
        parts.iter().flat_map(|(_, part)| part.included.iter().cloned()).collect();
    for (path, part) in parts {
        configuration.read.extend(part.read);
        if included.contains(&path) {
            continue;
        }
        configuration.read.extend(part.included);
        configuration.sites.extend(part.sites);
        configuration.servers.extend(part.servers);
        configuration.wide.extend(part.wide);
        configuration.problems.extend(part.problems);
    }
    join::finish(&mut configuration);
    configuration
}

/// What one source and its includes say.
#[derive(Default)]
pub(crate) struct Part {
    pub(crate) sites: Vec<Site>,
    pub(crate) servers: Vec<Server>,
    pub(crate) wide: Vec<Wide>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) included: BTreeSet<String>,
    pub(crate) read: BTreeSet<String>,
    /// The version of each product that is known.
    pub(crate) versions: BTreeMap<String, String>,
    /// What Kubernetes manifests of the whole set say of each other.
    cluster: Arc<kubernetes::Cluster>,
}

impl Part {
    /// Whether the product is known to be at least of this version; `None` where its version is unknown.
    pub(crate) fn is_at_least(&self, product: &str, version: &[u64]) -> Option<bool> {
        let known = self.versions.get(product)?;
        let numbers: Vec<u64> = known.split('.').map_while(|part| part.parse().ok()).collect();
        (!numbers.is_empty()).then(|| numbers.as_slice() >= version)
    }
}
