//! Apache httpd: virtual hosts, what is passed on by mod_proxy, and applications in mod_wsgi.

mod pass;
mod site;
mod tree;
mod wsgi;

use super::files::Files;
use super::{Part, Source};

pub(super) const PRODUCT: &str = "apache";

pub(super) fn read(source: &Source, files: &dyn Files, part: &mut Part) {
    let tree = tree::parse(&source.path, &source.text, files, part);
    site::read(&tree, part);
}
