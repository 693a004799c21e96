//! Versions: of proxies from their programs, of servers and libraries from what pip wrote beside them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use model::Evidence;
use model::evidence::Place;

use super::Scene;
use super::configuration::software_of;
use crate::config::Software;
use crate::host::process;
use crate::host::product::{Product, Tier};

/// Libraries whose version decides what a failure looks like.
const LIBRARIES: &[&str] = &[
    "redis",
    "psycopg2",
    "psycopg2_binary",
    "psycopg",
    "sqlalchemy",
    "requests",
    "urllib3",
    "httpx",
    "pika",
    "flask",
    "django",
    "fastapi",
    "starlette",
    "gevent",
    "h11",
    "httptools",
];
/// How long a program may take to say its version.
const VERSION_WAIT: Duration = Duration::from_millis(800);

pub(super) fn look(scene: &mut Scene) {
    let mut told: BTreeMap<(String, String), Evidence> = BTreeMap::new();
    let pids: Vec<u32> = scene.workers.iter().copied().chain(scene.proxy_pid).collect();
    for pid in pids {
        let Some(process) = scene.host.processes.get(&pid) else { continue };
        let Some(product) = process.product else { continue };
        if product.tier() == Tier::Proxy {
            if let Some(version) = version_of(scene, pid, product) {
                told.entry((product.name().to_owned(), version.clone()))
                    .or_insert_with(|| evidence(product.name(), &version, "proxy", pid));
            }
            continue;
        }
        let Some(packages) = site_packages(pid) else { continue };
        for (name, version) in installed(&packages) {
            let known = if name == product.name() { "server" } else { "library" };
            if known == "server" || LIBRARIES.contains(&name.as_str()) {
                let shown = match name.as_str() {
                    "redis" => "redis-py",
                    name => name,
                };
                told.entry((shown.to_owned(), version.clone()))
                    .or_insert_with(|| evidence(shown, &version, known, pid));
            }
        }
    }
    scene.evidence.extend(told.into_values());
    for hop in &mut scene.chain {
        if hop.version.is_none() {
            let of = scene
                .evidence
                .iter()
                .find(|item| item.kind == "software" && item.get("product") == Some(hop.product.as_str()));
            hop.version = of.and_then(|item| item.get("version")).map(str::to_owned);
        }
    }
}

fn evidence(product: &str, version: &str, role: &str, pid: u32) -> Evidence {
    Evidence::new("software")
        .with("product", product)
        .with("version", version)
        .with("role", role)
        .with("pid", pid)
        .text(format!("{product} {version}"))
        .from("installed software")
        .at(Place::Process(pid))
}

/// What the reader of a proxy's configuration must know: defaults depend on the version.
pub(super) fn of_proxy(scene: &Scene, pid: u32, product: Product) -> Vec<Software> {
    version_of(scene, pid, product).map(|version| software_of(product.name(), &version)).into_iter().collect()
}

/// The version of a product: asked of the program of a proxy, read beside the program of a Python server.
pub(super) fn version_of(scene: &Scene, pid: u32, product: Product) -> Option<String> {
    if product.tier() == Tier::Server {
        return installed(&site_packages(pid)?).remove(product.name());
    }
    let exe = scene.host.processes.get(&pid)?.exe.clone()?;
    let arguments: &[&str] = match product {
        Product::Nginx | Product::Apache | Product::Haproxy => &["-v"],
        Product::Caddy => &["version"],
        Product::Envoy => &["--version"],
        _ => return None,
    };
    // Through the process, so that the program of a container is found; it runs here, without rights that it does not have.
    let program = process::folder(pid).join("exe");
    let program = if program.exists() { program } else { exe };
    let said = output(Command::new(program).args(arguments))?;
    first_version(&said)
}

/// What a program says within its time.
fn output(command: &mut Command) -> Option<String> {
    use std::io::Read;
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
    let until = Instant::now() + VERSION_WAIT;
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                // It has gone, or goes now.
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
    let mut said = String::new();
    child.stdout.take()?.take(64 << 10).read_to_string(&mut said).ok()?;
    child.stderr.take()?.take(64 << 10).read_to_string(&mut said).ok()?;
    Some(said)
}

/// The first word that is a version: `nginx/1.22.1`, `Apache/2.4.71`, `version 2.6.12-1`, `v2.11.7`, `1.40.0/Clean`.
fn first_version(said: &str) -> Option<String> {
    said.split(|c: char| c.is_whitespace() || matches!(c, '/' | '(' | ')')).find_map(|word| {
        let word = word.trim_start_matches('v');
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let version = word.get(..end)?.trim_matches('.');
        (version.matches('.').count() >= 1 && version.starts_with(|c: char| c.is_ascii_digit()))
            .then(|| version.to_owned())
    })
}

/// The folder of packages of the interpreter that a process runs in: that of its virtual environment, by the script it runs or
/// by its environment, else that of the interpreter.
fn site_packages(pid: u32) -> Option<PathBuf> {
    let root = process::folder(pid).join("root");
    let inside = |path: &Path| {
        let through = root.join(path.strip_prefix("/").unwrap_or(path));
        if through.exists() { through } else { path.to_owned() }
    };
    let process = process::read(pid, None)?;
    let scripts = process
        .command
        .iter()
        .filter(|word| word.starts_with('/') && word.contains("/bin/"))
        .map(PathBuf::from);
    let own = process::environment(pid)
        .and_then(|environment| environment.into_iter().find(|(name, _)| name == "VIRTUAL_ENV"))
        .map(|(_, value)| PathBuf::from(value).join("bin/python"));
    let candidates = scripts.chain(own).chain(process.exe.clone());
    for candidate in candidates {
        let Some(prefix) = candidate.parent().and_then(Path::parent) else { continue };
        for lib in ["lib", "lib64", "local/lib"] {
            let Ok(entries) = fs::read_dir(inside(&prefix.join(lib))) else { continue };
            for entry in entries.flatten() {
                if entry.file_name().to_string_lossy().starts_with("python3") {
                    for packages in ["site-packages", "dist-packages"] {
                        let folder = entry.path().join(packages);
                        if installed(&folder).keys().any(|name| {
                            LIBRARIES.contains(&name.as_str())
                                || ["gunicorn", "uvicorn", "hypercorn", "daphne", "uwsgi"]
                                    .contains(&name.as_str())
                        }) {
                            return Some(folder);
                        }
                    }
                }
            }
        }
    }
    None
}

/// Names and versions by the folders `NAME-VERSION.dist-info`.
fn installed(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (name, version) = name.strip_suffix(".dist-info")?.rsplit_once('-')?;
            Some((name.to_ascii_lowercase(), version.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let check = |said: &str, expected: &str| assert_eq!(first_version(said).as_deref(), Some(expected));
        check("nginx version: nginx/1.22.1\n", "1.22.1");
        check("Server version: Apache/2.4.71 (Debian)\nServer built: 2026-10-01", "2.4.71");
        check("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n", "2.6.12");
        check("v2.11.7 h1:abc=\n", "2.11.7");
        check("envoy  version: 0a1b2c/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0");
        assert_eq!(first_version("no such thing"), None);
    }

    #[test]
    fn a_program_that_says_nothing_is_not_waited_for() {
        let begun = Instant::now();
        assert_eq!(output(Command::new("sleep").arg("60")), None);
        assert!(begun.elapsed() < Duration::from_secs(30));
    }
}
