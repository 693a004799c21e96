//! `clearway admin-token`: a new token for the management interface, from the running process or, when none runs, in its
//! data directory.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use store::DataDir;

use crate::args::Rotate;
use crate::ask::{Asked, ask};
use crate::calls::block_on;
use crate::control::Request;
use crate::output;

/// Prints the new token, and nothing else, on standard output.
pub(crate) fn rotate(args: &Rotate) -> anyhow::Result<ExitCode> {
    let mut token = None;
    let asked = ask(&args.data, &Request::RotateAdminToken, |document| {
        token = Some(serde_json::from_str::<String>(document.get()).context("failed to read the token")?);
        Ok(())
    })?;
    let token = match (asked, token) {
        (Asked::Answered, Some(token)) => token,
        (Asked::Answered, None) => bail!("the process of {} gave no token", args.data.display()),
        (Asked::NotRunning, _) => block_on(rotate_in(&args.data))??,
    };
    output::print(format!("{token}\n").as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

async fn rotate_in(data: &Path) -> anyhow::Result<String> {
    let failed_to = |error: store::StoreError| anyhow::anyhow!("failed to {error}");
    // A directory of a wrong name must not become one that has a token.
    if !DataDir::open_read_only(data).map_err(failed_to)?.database_path().exists() {
        bail!("{} holds no admin token yet: the first `clearway up` makes one and prints it", data.display());
    }
    let directory = DataDir::open(data).map_err(failed_to)?;
    let database = directory.database().await.map_err(failed_to)?;
    let token = database.admin_token_replace().await.map_err(failed_to)?;
    database.checkpoint().await.map_err(failed_to)?;
    Ok(token)
}
