//! Where the parts of the chain write their logs: what their configurations say, and what they have open.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::report::Skipped;

use super::configuration::Seen;
use super::proxies::Front;
use super::{LogFile, Scene};
use crate::host::process;
use crate::host::product::{Product, Tier};
use crate::parse::{self, Format};

/// Logs of the system, by distribution.
const SYSTEM: &[&str] = &["/var/log/kern.log", "/var/log/syslog", "/var/log/messages"];
/// Logs of one process; a server that appends to hundreds of files has something else in them.
const OPEN_MAX: usize = 20;
/// Where programs and syslog write, and how many folders below it are looked into.
const SYSTEM_LOGS: &str = "/var/log";
const FOLDERS_DEEP: usize = 1;
/// A log that nobody wrote to for longer says nothing of the present.
const LATELY: Duration = Duration::from_secs(3600);
const LATELY_MAX: usize = 64;
/// What is read of a log to see whose it is.
const TAIL_BYTES: u64 = 16 << 10;

pub(super) fn find(scene: &mut Scene, fronts: &[Front]) {
    for front in fronts {
        configured(scene, front.pid, front.product, "proxy");
        open(scene, front.pid, front.product);
    }
    let servers: Vec<u32> = scene.workers.clone();
    for pid in servers {
        let Some(product) = scene.host.processes.get(&pid).and_then(|process| process.product) else {
            continue;
        };
        if scene.host.processes.get(&pid).is_some_and(|process| scene.host.master_of(process).pid == pid) {
            configured(scene, pid, product, "server");
            open(scene, pid, product);
        }
    }
    for product in [Product::Postgres, Product::Mysql, Product::Redis, Product::Rabbitmq] {
        let masters: Vec<u32> = scene.host.masters(product).iter().map(|master| master.pid).collect();
        for pid in masters {
            if related(scene, pid) {
                open(scene, pid, product);
            }
        }
    }
    left_behind(scene);
    for path in SYSTEM.iter().map(PathBuf::from).filter(|path| path.exists()) {
        scene.add_log(LogFile { path, format: Some(Format::Kernel), product: "kernel" });
    }
}

/// Logs below /var/log that were written lately by a program of the chain: one that has ended has nothing open any more, and
/// syslog writes for those that have no file.
fn left_behind(scene: &mut Scene) {
    let mut found = Vec::new();
    for path in recent(Path::new(SYSTEM_LOGS), FOLDERS_DEEP) {
        if scene.logs.iter().any(|log| log.path == path)
            || SYSTEM.iter().any(|known| path == Path::new(known))
        {
            continue;
        }
        let Some(text) = tail(&path) else { continue };
        let Some(format) = parse::sniff(&path.display().to_string(), &text) else { continue };
        if matches!(format.what(), "server-log" | "proxy-log" | "dependency-log") {
            found.push(LogFile { path, format: Some(format), product: format.product() });
        }
    }
    found.into_iter().for_each(|log| scene.add_log(log));
}

/// Files that were written to lately, at most [`LATELY_MAX`] of them, the youngest first.
fn recent(folder: &Path, deep: usize) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_owned(), deep)];
    while let Some((folder, deep)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && deep > 0 {
                folders.push((entry.path(), deep - 1));
            }
            let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
            if metadata.is_file() && metadata.len() > 0 && age.is_some_and(|age| age < LATELY) {
                files.push((age, entry.path()));
            }
        }
    }
    files.sort();
    files.into_iter().take(LATELY_MAX).map(|(_, path)| path).collect()
}

/// The last lines of a file.
fn tail(path: &Path) -> Option<String> {
    let mut file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a dependency is one of this chain: in the same namespace, or connected to.
fn related(scene: &Scene, pid: u32) -> bool {
    let Some(process) = scene.host.processes.get(&pid) else { return false };
    process.netns.is_none()
        || process.netns == scene.proxy_netns.or(Some(scene.host.own_netns))
        || scene.workers.iter().any(|worker| {
            scene.host.processes.get(worker).is_some_and(|worker| worker.netns == process.netns)
        })
}

/// Paths that settings name, in the product's own view of the file system.
fn configured(scene: &mut Scene, pid: u32, product: Product, role: &str) {
    let seen = Seen::by(pid);
    let mut found = Vec::new();
    for setting in
        scene.evidence.iter().filter(|item| item.kind == "setting" && item.get("role") == Some(role))
    {
        let (Some(name @ ("error-log" | "access-log")), Some(value)) =
            (setting.get("name"), setting.get("value"))
        else {
            continue;
        };
        if setting.get("product").is_some_and(|of| of != product.name()) || !value.starts_with('/') {
            continue;
        }
        let path = seen.path(value.split(' ').next().unwrap_or(value));
        if path.is_file() {
            found.push(LogFile {
                path: outside(path, value),
                format: format(product, name),
                product: product.name(),
            });
        } else if setting.get("default") != Some("yes") {
            scene.skipped.push(Skipped {
                check: format!("read {value}"),
                reason: "there is no such file".to_owned(),
                needs: format!("the {name} of {}", product.name()),
            });
        }
    }
    found.into_iter().for_each(|log| scene.add_log(log));
}

/// The plain path where it is the same file: it is what a person can open.
fn outside(seen: PathBuf, plain: &str) -> PathBuf {
    let plain = PathBuf::from(plain);
    let same = match (fs::metadata(&seen), fs::metadata(&plain)) {
        (Ok(a), Ok(b)) => {
            use std::os::unix::fs::MetadataExt;
            (a.dev(), a.ino()) == (b.dev(), b.ino())
        }
        _ => false,
    };
    if same { plain } else { seen }
}

fn format(product: Product, name: &str) -> Option<Format> {
    match (product, name) {
        (Product::Nginx, "error-log") => Some(Format::NginxError),
        (Product::Nginx, _) => Some(Format::NginxAccess),
        (Product::Apache, "error-log") => Some(Format::ApacheError),
        (Product::Apache, _) => Some(Format::ApacheAccess),
        (Product::Gunicorn, "access-log") => Some(Format::GunicornAccess),
        (Product::Gunicorn, _) => Some(Format::Gunicorn),
        (Product::Uwsgi, _) => Some(Format::Uwsgi),
        _ => None,
    }
}

/// Files that the process appends to, and those that its output goes to.
fn open(scene: &mut Scene, pid: u32, product: Product) {
    let mut files = process::appended_files(pid);
    files.extend(process::output_files(pid));
    files.sort();
    files.dedup();
    let format = match product.tier() {
        Tier::Server => match product {
            Product::Uwsgi => Some(Format::Uwsgi),
            Product::Uvicorn => Some(Format::Uvicorn),
            Product::Hypercorn => Some(Format::Hypercorn),
            Product::Daphne => Some(Format::Daphne),
            // An access log is one of its files as well: the lines decide.
            _ => None,
        },
        Tier::Dependency => match product {
            Product::Postgres => Some(Format::Postgres),
            Product::Redis => Some(Format::Redis),
            Product::Rabbitmq => Some(Format::Rabbitmq),
            _ => Some(Format::Mysql),
        },
        Tier::Proxy => None,
    };
    let root = process::folder(pid).join("root");
    for file in files.into_iter().take(OPEN_MAX) {
        let seen = root.join(file.strip_prefix("/").unwrap_or(&file));
        let path = if seen.is_file() { outside(seen, &file.display().to_string()) } else { file };
        let database = path.to_string_lossy().ends_with(".aof") || path.to_string_lossy().ends_with(".pid");
        if path.is_file() && !database {
            scene.add_log(LogFile { path, format, product: product.name() });
        }
    }
}
