//! Files that the configuration names: certificates, keys, error pages, the log. They are looked at to find out now what
//! would otherwise fail later; what is inside a certificate is judged by who uses it.

use std::path::{Path, PathBuf};

use model::gateway::{CertificateFiles, ErrorPage};

use crate::Obstacle;
use crate::ctx::Ctx;
use crate::decode::At;
use crate::scalar::FilePath;
use crate::shape::Certificate;

const RELATIVE: &str = "a relative path is relative to the file that names it";

/// A certificate and its key.
pub(crate) fn certificate(shape: &Certificate, ctx: &mut Ctx) -> Option<CertificateFiles> {
    let (certificate_at, key_at) = (shape.certificate.given(), shape.key.given());
    let certificate = certificate_at.map(|path| pem("certificate", path, Pem::Certificate, ctx));
    let key = key_at.map(|path| pem("key", path, Pem::Key, ctx));
    let (certificate, key) = (certificate?, key?);
    let are_readable = certificate.is_good && key.is_good;
    let files = CertificateFiles { certificate: certificate.path, key: key.path };
    if are_readable
        && let Err(reason) = ctx.lookup.certificate(&files)
        && let Some(at) = certificate_at
    {
        let hint = "`openssl x509 -noout -pubkey -in CERTIFICATE` and `openssl pkey -pubout -in KEY` print the same \
                    for a pair";
        ctx.error_with(at.place, format!("certificate: {reason}"), hint);
    }
    Some(files)
}

/// The certificates of authorities.
pub(crate) fn authorities(label: &str, path: &At<FilePath>, ctx: &mut Ctx) -> PathBuf {
    let file = pem(label, path, Pem::Certificate, ctx);
    if file.is_good
        && let Err(reason) = ctx.lookup.authorities(&file.path)
    {
        ctx.error_with(
            path.place,
            format!("{label}: {reason}"),
            "it must hold certificates of authorities only",
        );
    }
    file.path
}

/// A file that lines are appended to.
pub(crate) fn log(label: &str, path: &At<FilePath>, ctx: &mut Ctx) -> PathBuf {
    let resolved = ctx.resolve(path.place, &path.0);
    let shown = resolved.display();
    match ctx.lookup.obstacle(&resolved) {
        Some(Obstacle::Directory) => {
            let hint = format!("name a file in it, for example `{}`", resolved.join("access.log").display());
            ctx.error_with(path.place, format!("{label}: `{shown}` is a directory"), hint);
        }
        Some(Obstacle::NoDirectory) => {
            let folder = resolved.parent().unwrap_or(Path::new("")).display();
            let message = format!("{label}: there is no directory `{folder}` for `{shown}`");
            ctx.error_with(path.place, message, format!("make it with `mkdir -p {folder}`; {RELATIVE}"));
        }
        None => {}
    }
    resolved
}

/// A directory for files that have no names.
pub(crate) fn spool(label: &str, path: &At<FilePath>, ctx: &mut Ctx) -> PathBuf {
    let resolved = ctx.resolve(path.place, &path.0);
    match ctx.lookup.obstacle(&resolved) {
        Some(Obstacle::NoDirectory) => {
            let folder = resolved.parent().unwrap_or(Path::new("")).display();
            let message = format!("{label}: there is no directory `{folder}` for `{}`", resolved.display());
            ctx.error_with(path.place, message, format!("make it with `mkdir -p {folder}`; {RELATIVE}"));
        }
        Some(Obstacle::Directory) | None => {}
    }
    resolved
}

/// A file that was looked at; if it is not good, the problem is noted.
struct PemFile {
    path: PathBuf,
    is_good: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pem {
    Certificate,
    Key,
}

/// A PEM file (RFC 7468) that holds what is wanted.
fn pem(label: &str, path: &At<FilePath>, wanted: Pem, ctx: &mut Ctx) -> PemFile {
    let resolved = ctx.resolve(path.place, &path.0);
    let problem = match ctx.read(&resolved) {
        Ok(text) => {
            let problem = pem_problem(&text, wanted, &resolved.display().to_string());
            problem.map(|(message, hint)| (format!("`{}` {message}", resolved.display()), hint))
        }
        Err(reason) => Some((reason, RELATIVE.to_owned())),
    };
    let is_good = problem.is_none();
    if let Some((message, hint)) = problem {
        ctx.error_with(path.place, format!("{label}: {message}"), hint);
    }
    PemFile { path: resolved, is_good }
}

/// What a text lacks, and a hint.
fn pem_problem(text: &str, wanted: Pem, shown: &str) -> Option<(&'static str, String)> {
    let has_certificate = text.contains("-----BEGIN CERTIFICATE-----");
    let has_key = text.contains("PRIVATE KEY-----");
    match wanted {
        Pem::Certificate if !has_certificate => {
            let hint = if has_key {
                "it holds a private key; are the two files swapped?"
            } else {
                "it begins with `-----BEGIN CERTIFICATE-----`"
            };
            Some(("must hold a certificate in PEM form", hint.to_owned()))
        }
        Pem::Key if !has_key => {
            let hint = if has_certificate {
                "it holds a certificate; are the two files swapped?"
            } else {
                "it begins with `-----BEGIN PRIVATE KEY-----`"
            };
            Some(("must hold a private key in PEM form", hint.to_owned()))
        }
        Pem::Key if text.contains("ENCRYPTED") => {
            let hint = format!("`openssl pkey -in {shown} -out plain.pem` takes the passphrase off");
            Some(("must not be encrypted", hint))
        }
        Pem::Certificate | Pem::Key => None,
    }
}

/// An error page; its type is told by its name.
pub(crate) fn error_page(status: u16, path: &At<FilePath>, ctx: &mut Ctx) -> Option<ErrorPage> {
    let label = format!("error-pages.{status}");
    let resolved = ctx.resolve(path.place, &path.0);
    let content_type = match resolved.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/problem+json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => {
            let message = format!("{label}: `{}` must end with .html, .json or .txt", resolved.display());
            ctx.error_with(path.place, message, "the ending decides the content type");
            return None;
        }
    };
    match ctx.read(&resolved) {
        Ok(body) => Some(ErrorPage { content_type: content_type.into(), body: body.into() }),
        Err(reason) => {
            ctx.error_with(path.place, format!("{label}: {reason}"), RELATIVE);
            None
        }
    }
}
