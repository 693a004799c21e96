//! The main database: what must outlive a restart and is not a record. Now the admin token, small facts and incidents
//! (`incidents.rs`); later configuration, identities and secrets.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnection, SqliteSynchronous};
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::Mutex;

use crate::{StoreError, schema, sqlite};

/// What every admin token begins with, so that secret scanners and people recognise one.
pub const ADMIN_TOKEN_PREFIX: &str = "cw_admin_";

/// The configuration and identity database. Clones share one connection.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) path: PathBuf,
    pub(crate) connection: Arc<Mutex<SqliteConnection>>,
}

/// How a key of callers begins: what it is can be seen where it should not be.
const CALLER_KEY_PREFIX: &str = "cw-";
/// Under this name the hash of the callers' key is kept.
const CALLER_KEY: &str = "caller-key-sha256";

/// A hash from its hexadecimal digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

impl Database {
    pub(crate) async fn open(path: &Path) -> Result<Database, StoreError> {
        // What is written here must survive a power failure, so every commit waits for the disk.
        let mut connection =
            sqlite::open(path, SqliteSynchronous::Full).await.map_err(StoreError::database(path, "open"))?;
        schema::migrate(&mut connection, path, schema::MIGRATIONS).await?;
        Ok(Database { path: path.to_owned(), connection: Arc::new(Mutex::new(connection)) })
    }

    pub(crate) async fn open_read_only(path: &Path) -> Result<Database, StoreError> {
        let mut connection =
            sqlite::open_read_only(path).await.map_err(StoreError::database(path, "open"))?;
        schema::check(&mut connection, path).await?;
        Ok(Database { path: path.to_owned(), connection: Arc::new(Mutex::new(connection)) })
    }

    /// Writes what the log beside the file holds into the file, so that it is complete without the log.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut *self.connection.lock().await)
            .await
            .map(|_| ())
            .map_err(StoreError::database(&self.path, "write"))
    }

    /// A small fact by its name.
    pub async fn meta(&self, name: &str) -> Result<Option<String>, StoreError> {
        sqlx::query_scalar("SELECT value FROM meta WHERE name = ?")
            .bind(name)
            .fetch_optional(&mut *self.connection.lock().await)
            .await
            .map_err(StoreError::database(&self.path, "read"))
    }

    /// Sets a small fact.
    pub async fn set_meta(&self, name: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(&mut *self.connection.lock().await)
        .await
        .map(|_| ())
        .map_err(StoreError::database(&self.path, "write"))
    }

    /// Makes the first admin token. Its clear text is returned this once and kept nowhere; `None` if there is one.
    pub async fn admin_token_create_if_absent(&self) -> Result<Option<String>, StoreError> {
        let token = new_token(ADMIN_TOKEN_PREFIX)?;
        let made = sqlx::query(
            "INSERT INTO token (kind, hash, created_unix_millis)
             SELECT 'admin', ?, ? WHERE NOT EXISTS (SELECT 1 FROM token WHERE kind = 'admin')",
        )
        .bind(digest(&token).to_vec())
        .bind(schema::unix_millis(SystemTime::now()))
        .execute(&mut *self.connection.lock().await)
        .await
        .map_err(StoreError::database(&self.path, "write"))?;
        Ok((made.rows_affected() > 0).then_some(token))
    }

    /// Makes a new admin token in place of every earlier one, for when it was lost or seen.
    pub async fn admin_token_replace(&self) -> Result<String, StoreError> {
        let token = new_token(ADMIN_TOKEN_PREFIX)?;
        self.replace(&digest(&token)).await.map_err(StoreError::database(&self.path, "write"))?;
        Ok(token)
    }

    /// The key that callers of AI models may use where the configuration has none: its SHA-256, and the key itself if it was made
    /// just now. It is made once.
    pub async fn caller_key(&self) -> Result<([u8; 32], Option<String>), StoreError> {
        if let Some(kept) = self.meta(CALLER_KEY).await?.as_deref().and_then(unhex) {
            return Ok((kept, None));
        }
        let key = new_token(CALLER_KEY_PREFIX)?;
        let digest = digest(&key);
        let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.set_meta(CALLER_KEY, &text).await?;
        Ok((digest, Some(key)))
    }

    async fn replace(&self, hash: &[u8; 32]) -> Result<(), sqlx::Error> {
        let mut connection = self.connection.lock().await;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM token WHERE kind = 'admin'").execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO token (kind, hash, created_unix_millis) VALUES ('admin', ?, ?)")
            .bind(hash.to_vec())
            .bind(schema::unix_millis(SystemTime::now()))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Whether this is an admin token. Takes as long for a near miss as for any other text: hashes are compared, each
    /// whole, and all of them.
    pub async fn admin_token_verify(&self, presented: &str) -> Result<bool, StoreError> {
        let hashes: Vec<Vec<u8>> = sqlx::query_scalar("SELECT hash FROM token WHERE kind = 'admin'")
            .fetch_all(&mut *self.connection.lock().await)
            .await
            .map_err(StoreError::database(&self.path, "read"))?;
        let presented = digest(presented);
        let matched =
            hashes.iter().fold(Choice::from(0), |any, hash| any | hash.as_slice().ct_eq(&presented));
        Ok(matched.into())
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// 256 bits from the operating system, in base64url without padding (RFC 4648 section 5).
fn new_token(prefix: &str) -> Result<String, StoreError> {
    let mut secret = [0u8; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut secret))
        .map_err(StoreError::Randomness)?;
    let mut token = String::with_capacity(prefix.len() + 43);
    token.push_str(prefix);
    push_base64url(&mut token, &secret);
    Ok(token)
}

fn push_base64url(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            let digit = bits >> (18 - 6 * place) & 63;
            text.push(DIGITS.get(digit as usize).copied().map_or('A', char::from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_follows_the_test_vectors_of_rfc_4648() {
        for (bytes, expect) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff, 0xfe], "-__-"),
        ] {
            let mut text = String::new();
            push_base64url(&mut text, bytes);
            assert_eq!(text, expect);
        }
    }
}
