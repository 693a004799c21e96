//! Sessions of PostgreSQL, and which of them waits for which, by the `psql` of the machine.
//!
//! As the user of the server's own process where the server is here and the doctor is root (the usual `peer` line of
//! pg_hba.conf), else with the connection string of the application. Read only, with a time limit of the server's.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::{Evidence, Want};

use super::{Answer, Budget, probed, program, skipped};
use crate::discover::Scene;
use crate::host::process;
use crate::host::product::Product;

const WAIT: Duration = Duration::from_millis(1_500);
/// Sessions that wait, and are told one by one.
const BLOCKED_MAX: usize = 20;

/// Each row is one line with fields between vertical bars. Literals of queries are not asked for.
const QUERY: &str = "\
set default_transaction_read_only = on; set statement_timeout = '1200ms'; \
select 'sessions', count(*) filter (where state = 'active'), count(*) filter (where state like 'idle in transaction%'), count(*), \
current_setting('max_connections'), \
coalesce(extract(epoch from max(now() - query_start) filter (where state = 'active' and pid <> pg_backend_pid()))::numeric(10,1), 0), \
coalesce(extract(epoch from max(now() - xact_start) filter (where pid <> pg_backend_pid()))::numeric(10,1), 0), pg_is_in_recovery(), \
extract(epoch from pg_postmaster_start_time())::bigint \
from pg_stat_activity where backend_type = 'client backend'; \
select 'blocked', w.pid, b.pid, extract(epoch from now() - w.query_start)::numeric(10,1), w.wait_event_type, b.state, \
extract(epoch from now() - b.xact_start)::numeric(10,1), regexp_replace(regexp_replace(left(w.query, 120), '''[^'']*''', '?', 'g'), '\\s+', ' ', 'g') \
from pg_stat_activity w join pg_stat_activity b on b.pid = any(pg_blocking_pids(w.pid)) limit 20";

pub(super) fn probe(scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    // One question answers both kinds.
    let begun = Instant::now();
    let attempts = commands(scene);
    if attempts.is_empty() {
        return Answer {
            skipped: vec![skipped(
                want,
                "no way to ask PostgreSQL is known",
                "psql, and root or DATABASE_URL in the worker's environment",
            )],
            ..Answer::default()
        };
    }
    let mut why = String::new();
    for mut attempt in attempts {
        match run(&mut attempt, budget.at_most(WAIT)) {
            Ok(said) => {
                let evidence = read(&said);
                return Answer {
                    evidence,
                    probed: vec![probed("pg_stat_activity of PostgreSQL", "answered", begun)],
                    ..Answer::default()
                };
            }
            Err(reason) => why = reason,
        }
    }
    Answer {
        skipped: vec![skipped(want, why, "a user that may connect")],
        probed: vec![probed("pg_stat_activity of PostgreSQL", "refused", begun)],
        ..Answer::default()
    }
}

/// Ways to ask, the surest first.
fn commands(scene: &Scene) -> Vec<Command> {
    let mut commands = Vec::new();
    let masters = scene.host.masters(Product::Postgres);
    // SAFETY: asks for the own user, nothing else.
    let root = unsafe { libc::geteuid() } == 0;
    if root {
        for master in masters.iter().filter(|master| near(scene, master.netns)) {
            let beside = master.exe.as_ref().and_then(|exe| exe.parent()).map(|folder| folder.join("psql"));
            let program = beside.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("psql"));
            let mut command = Command::new(program);
            command.uid(master.uid).gid(master.gid).env_clear().env("PATH", "/usr/bin:/bin");
            command.args(["-d", "postgres"]);
            if let Some((folder, port)) = socket_of(scene, master.pid) {
                command.args(["-h", &folder, "-p", &port]);
            }
            commands.push(command);
        }
    }
    let dsn = scene.workers.iter().find_map(|pid| {
        let environment = process::environment(*pid)?;
        environment
            .into_iter()
            .find(|(name, value)| name == "DATABASE_URL" && value.starts_with("postgres"))
            .map(|(_, value)| value)
    });
    if let Some(dsn) = dsn {
        let (scheme, rest) = dsn.split_once("://").unwrap_or(("postgres", ""));
        let _ = scheme;
        let mut command = Command::new("psql");
        // In the environment, where other users do not see it, and not on the command line.
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        command.env("PGPASSWORD", password);
        let at = if name.is_empty() { String::new() } else { format!("{name}@") };
        command.args(["-d", &format!("postgresql://{at}{place}")]);
        commands.push(command);
    }
    commands
}

fn near(scene: &Scene, netns: Option<u64>) -> bool {
    netns.is_none() || netns == Some(scene.host.own_netns) || netns == scene.proxy_netns
}

/// The folder and port of the Unix socket that a server listens on: `/var/run/postgresql/.s.PGSQL.5432`.
fn socket_of(scene: &Scene, pid: u32) -> Option<(String, String)> {
    let sockets = scene.host.sockets.values().flatten();
    sockets
        .filter(|socket| scene.host.owners.get(&socket.inode).is_some_and(|owners| owners.contains(&pid)))
        .find_map(|socket| {
            let path = socket.local.to_string();
            let (folder, file) = path.strip_prefix("unix:")?.rsplit_once('/')?;
            Some((folder.to_owned(), file.strip_prefix(".s.PGSQL.")?.to_owned()))
        })
}

fn run(command: &mut Command, limit: Duration) -> Result<String, String> {
    command.args(["-X", "-A", "-t", "-q", "-w", "-F", "|", "-c", QUERY]).env("PGCONNECT_TIMEOUT", "2");
    program::run(command, limit)
}

fn read(said: &str) -> Vec<Evidence> {
    let mut found = Vec::new();
    let mut blocked = 0;
    for line in said.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let field = |index: usize| fields.get(index).copied().filter(|field| !field.is_empty());
        match field(0) {
            Some("sessions") => found.push(
                Evidence::new("postgres.sessions")
                    .with_some("active", field(1))
                    .with_some("idle-in-transaction", field(2))
                    .with_some("total", field(3))
                    .with_some("max", field(4))
                    .with_some("oldest-query", field(5))
                    .with_some("oldest-transaction", field(6))
                    .with_some("recovery", field(7))
                    .with_some("started", field(8))
                    .text(format!(
                        "{} sessions of at most {}, {} active, {} idle in transaction, the oldest query runs for {} s",
                        field(3).unwrap_or("?"),
                        field(4).unwrap_or("?"),
                        field(1).unwrap_or("?"),
                        field(2).unwrap_or("?"),
                        field(5).unwrap_or("?")
                    )),
            ),
            Some("blocked") if blocked < BLOCKED_MAX => {
                blocked += 1;
                found.push(
                    Evidence::new("postgres.blocked")
                        .with_some("pid", field(1))
                        .with_some("by", field(2))
                        .with_some("wait", field(3))
                        .with_some("blocker-state", field(5))
                        .with_some("blocker-age", field(6))
                        .with_some("query", field(7))
                        .text(format!(
                            "session {} has waited {} s for session {}, which is {}: {}",
                            field(1).unwrap_or("?"),
                            field(3).unwrap_or("?"),
                            field(2).unwrap_or("?"),
                            field(5).unwrap_or("?"),
                            field(7).unwrap_or("")
                        )),
                );
            }
            _ => {}
        }
    }
    found
        .into_iter()
        .map(|evidence| evidence.from("pg_stat_activity").at(Place::Object("pg_stat_activity".to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_evidence() {
        let said = "sessions|3|1|9|100|12.5|95.0|f|1764000000\nblocked|4711|4650|12.4|Lock|idle in transaction|95.0|update orders set state = ?\n";
        let shown: Vec<String> = read(said).iter().map(|evidence| evidence.text.clone()).collect();
        assert_eq!(
            shown,
            [
                "9 sessions of at most 100, 3 active, 1 idle in transaction, the oldest query runs for 12.5 s",
                "session 4711 has waited 12.4 s for session 4650, which is idle in transaction: update orders set state = ?",
            ]
        );
    }
}
