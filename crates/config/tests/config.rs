//! The configuration as its callers see it: texts in, a gateway or rendered problems out.

#[path = "config/bad.rs"]
mod bad;
#[path = "config/generated.rs"]
mod generated;
#[path = "config/good.rs"]
mod good;
#[path = "config/hostile.rs"]
mod hostile;
#[path = "config/outside.rs"]
mod outside;

use outside::Outside;

/// One source named `clearway.yaml`, without anything on the command line.
fn build(text: &str, outside: &Outside) -> Result<config::Checked, config::Problems> {
    build_all(&[("clearway.yaml", text)], outside)
}

fn build_all(sources: &[(&str, &str)], outside: &Outside) -> Result<config::Checked, config::Problems> {
    let source = |(name, text): &(&str, &str)| config::Source { name: (*name).into(), text: (*text).into() };
    let sources: Vec<config::Source> = sources.iter().map(source).collect();
    config::build(&sources, &config::Overrides::default(), outside)
}
