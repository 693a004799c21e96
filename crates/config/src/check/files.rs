//! Files that the configuration names: certificates, keys, error pages. They are read to find out now what would
//! otherwise fail later; what is inside a certificate is judged by who uses it.

use std::path::PathBuf;

use model::gateway::{CertificateFiles, ErrorPage};

use crate::ctx::Ctx;
use crate::decode::At;
use crate::scalar::FilePath;
use crate::shape::Certificate;

const RELATIVE: &str = "a relative path is relative to the file that names it";

/// A certificate and its key.
pub(crate) fn certificate(shape: &Certificate, ctx: &mut Ctx) -> Option<CertificateFiles> {
    let certificate = shape.certificate.given().map(|path| pem("certificate", path, Pem::Certificate, ctx));
    let key = shape.key.given().map(|path| pem("key", path, Pem::Key, ctx));
    Some(CertificateFiles { certificate: certificate?, key: key? })
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pem {
    Certificate,
    Key,
}

/// The resolved path of a PEM file (RFC 7468) that holds what is wanted.
pub(crate) fn pem(label: &str, path: &At<FilePath>, wanted: Pem, ctx: &mut Ctx) -> PathBuf {
    let resolved = ctx.resolve(path.place, &path.0);
    let text = match ctx.read(&resolved) {
        Ok(text) => text,
        Err(reason) => {
            ctx.error_with(path.place, format!("{label}: {reason}"), RELATIVE);
            return resolved;
        }
    };
    let shown = resolved.display();
    let has_certificate = text.contains("-----BEGIN CERTIFICATE-----");
    let has_key = text.contains("PRIVATE KEY-----");
    match wanted {
        Pem::Certificate if !has_certificate => {
            let hint = if has_key {
                "it holds a private key; are the two files swapped?"
            } else {
                "it begins with `-----BEGIN CERTIFICATE-----`"
            };
            ctx.error_with(
                path.place,
                format!("{label}: `{shown}` must hold a certificate in PEM form"),
                hint,
            );
        }
        Pem::Key if !has_key => {
            let hint = if has_certificate {
                "it holds a certificate; are the two files swapped?"
            } else {
                "it begins with `-----BEGIN PRIVATE KEY-----`"
            };
            ctx.error_with(
                path.place,
                format!("{label}: `{shown}` must hold a private key in PEM form"),
                hint,
            );
        }
        Pem::Key if text.contains("ENCRYPTED") => {
            let hint = format!("`openssl pkey -in {shown} -out plain.pem` takes the passphrase off");
            ctx.error_with(path.place, format!("{label}: `{shown}` must not be encrypted"), hint);
        }
        Pem::Certificate | Pem::Key => {}
    }
    resolved
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
