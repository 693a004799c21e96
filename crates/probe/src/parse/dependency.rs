//! Logs of databases, caches and brokers: PostgreSQL, MySQL and MariaDB, Redis, RabbitMQ.

use model::Evidence;
use model::evidence::Place;

use super::pattern::{Table, patterns};
use super::{Format, Lines, clock};

/// Messages of PostgreSQL 9.6 to 18 (postmaster.c, auth.c, postgres.c).
pub(crate) static POSTGRES: Table = Table::new(patterns! {
    "postgres.too-many-clients" "max_connections is reached" { } "sorry, too many clients already" ""
    "postgres.too-many-clients" "only reserved connections are left" { } "remaining connection slots are reserved" ""
    "postgres.auth-failed" "a password or user was refused" { "user" } "authentication failed for user" r#"for user "(?<user>[^"]*)""#
    "postgres.auth-failed" "pg_hba.conf has no line for the client" { } "no pg_hba.conf entry" ""
    "postgres.statement-timeout" "a statement was ended at statement_timeout" { } "canceling statement due to statement timeout" ""
    "postgres.lock-timeout" "a statement was ended at lock_timeout" { } "canceling statement due to lock timeout" ""
    "postgres.deadlock" "two sessions waited for each other" { } "deadlock detected" ""
    "postgres.lock-wait" "a session waited longer than deadlock_timeout, with log_lock_waits on" { "mode" "after" } "still waiting for" r"process (?<pid>\d+) still waiting for (?<mode>\w+) on .* after (?<after>[\d.]+) ms"
    "postgres.slow-query" "a statement took longer than log_min_duration_statement" { "duration" } "duration: " r"duration: (?<duration>[\d.]+) ms"
    "postgres.starting-up" "it refuses while it starts or recovers" { } "the database system is starting up" ""
    "postgres.starting-up" "it refuses while it recovers" { } "the database system is in recovery mode" ""
    "postgres.shutdown" "it shuts down" { } "shutdown request" r"received (?:fast|smart|immediate) shutdown request"
    "postgres.shutdown" "it shuts down" { } "database system is shut down" ""
    "postgres.starting" "it started" { "version" } "starting PostgreSQL" r"starting PostgreSQL (?<version>[\d.]+)"
    "postgres.ready" "it takes connections" { } "database system is ready to accept connections" ""
    "postgres.terminated" "a session was ended by an administrator" { } "terminating connection due to administrator command" ""
    "postgres.read-only" "a write on a read-only server" { } "in a read-only transaction" ""
    "postgres.disk-full" "no space left" { } "No space left on device" ""
    "postgres.crash" "a server process crashed; all sessions are ended" { "signal" } "was terminated by signal" r"was terminated by signal (?<signal>\d+)"
});

/// Messages of MySQL 8 and MariaDB 10 (sql/mysqld.cc).
pub(crate) static MYSQL: Table = Table::new(patterns! {
    "mysql.too-many-connections" "max_connections is reached" { } "Too many connections" ""
    "mysql.access-denied" "a user was refused" { } "Access denied for user" ""
    "mysql.aborted-connection" "a connection ended without a goodbye" { "reason" } "Aborted connection" r"\((?<reason>[^)]*)\)\s*$"
    "mysql.starting" "it started" { "version" } "Starting MariaDB " r"Starting MariaDB (?<version>[\d.]+)"
    "mysql.ready" "it takes connections" { } "ready for connections" ""
    "mysql.shutdown" "it shuts down" { } "Normal shutdown" ""
    "mysql.shutdown" "it shuts down" { } "Shutdown complete" ""
    "mysql.disk-full" "no space left" { } "Disk is full" ""
    "mysql.deadlock" "two sessions waited for each other" { } "Deadlock found" ""
});

/// Messages of Redis 6 to 8 (server.c, rdb.c, networking.c).
pub(crate) static REDIS: Table = Table::new(patterns! {
    "redis.ready" "it takes connections" { } "Ready to accept connections" ""
    "redis.shutdown" "it shuts down" { } "User requested shutdown" ""
    "redis.shutdown" "it shuts down" { } "Received SIGTERM" ""
    "redis.cannot-save" "a snapshot could not be written" { "reason" } "Failed opening the temp RDB file" r"for saving: (?<reason>.*)"
    "redis.cannot-save" "a snapshot failed" { } "Background saving error" ""
    "redis.cannot-fork" "a snapshot needs a fork, which failed" { } "Can't save in background: fork" ""
    "redis.max-clients" "maxclients is reached" { } "max number of clients reached" ""
    "redis.loading" "it loads its data" { } "Loading RDB produced by" ""
    "redis.master-lost" "a replica lost its primary" { } "Connection with master lost" ""
    "redis.master-lost" "a replica cannot reach its primary" { } "Error condition on socket for SYNC" ""
    "redis.became-replica" "it became a replica, which takes no writes" { } "REPLICAOF " r"REPLICAOF \S+ enabled"
    "redis.became-primary" "it became a primary" { } "MASTER MODE enabled" ""
    "redis.starting" "it started" { "version" } "Redis version=" r"Redis version=(?<version>[\d.]+)"
});

/// Messages of RabbitMQ 3.8 to 4 (rabbit_alarm, rabbit_reader, vm_memory_monitor).
pub(crate) static RABBITMQ: Table = Table::new(patterns! {
    "rabbitmq.alarm" "publishers are blocked" { "resource" } "resource limit alarm set on node" r"(?<resource>memory|disk) resource limit alarm set"
    "rabbitmq.alarm-cleared" "publishers go on" { "resource" } "resource limit alarm cleared" r"(?<resource>memory|disk) resource limit alarm cleared"
    "rabbitmq.disk-low" "the disk is below disk_free_limit" { } "Free disk space is insufficient" ""
    "rabbitmq.missed-heartbeats" "a client gave no sign of life" { "client" } "missed heartbeats from client" ""
    "rabbitmq.closed-abruptly" "a client left without a goodbye" { } "client unexpectedly closed TCP connection" ""
    "rabbitmq.bad-header" "something spoke that is no AMQP" { } "{bad_header," ""
    "rabbitmq.access-refused" "a user was refused" { } "invalid credentials" ""
    "rabbitmq.ready" "it takes connections" { } "Server startup complete" ""
    "rabbitmq.shutdown" "it shuts down" { } "RabbitMQ is asked to stop" ""
});

pub(crate) fn read(lines: &Lines<'_>, format: Format, out: &mut Vec<Evidence>) {
    let (table, source) = match format {
        Format::Mysql => (&MYSQL, "mysql log"),
        Format::Redis => (&REDIS, "redis log"),
        Format::Rabbitmq => (&RABBITMQ, "rabbitmq log"),
        _ => (&POSTGRES, "postgresql log"),
    };
    let mut time = None;
    for (number, line) in lines.iter() {
        let own = match format {
            // `1234:M 23 Nov 2026 07:06:57.123 # text`
            Format::Redis => redis_time(line, lines.zone),
            _ => clock::iso(line, lines.zone).map(|(time, _)| time),
        };
        time = own.or(time);
        if let Some(mut evidence) = table.read(line) {
            if evidence.kind == "postgres.slow-query" {
                // Milliseconds there, seconds here.
                let seconds = evidence.number("duration").map(|duration| duration / 1000.0);
                evidence = evidence.with_some("duration", seconds);
            }
            let evidence = evidence.text(line).from(source).at(Place::file(lines.path, number)).time(time);
            if let Some(version) = evidence.get("version") {
                let mut software = evidence.clone();
                software.kind = "software".into();
                software.fields.clear();
                out.push(
                    software
                        .with("product", format.product())
                        .with("version", version)
                        .with("role", "dependency"),
                );
            }
            out.push(evidence);
        }
    }
}

pub(crate) fn redis_time(line: &str, zone: clock::Zone) -> Option<model::Moment> {
    let mut words = line.split(' ').skip(1);
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    clock::common_log(&format!("{day}/{month}/{year}:{time}"), zone).map(|(time, _)| time)
}

pub(crate) fn sniff(line: &str) -> Option<Format> {
    let redis = line.split_once(':').is_some_and(|(pid, rest)| {
        pid.bytes().all(|b| b.is_ascii_digit())
            && !pid.is_empty()
            && ["M ", "S ", "C ", "X "].iter().any(|role| rest.starts_with(role))
    });
    let levels = ["LOG:  ", "FATAL:  ", "ERROR:  ", "STATEMENT:  ", "DETAIL:  ", "HINT:  ", "WARNING:  "];
    let dated = clock::iso(line, 0).is_some();
    if redis {
        Some(Format::Redis)
    } else if dated && levels.iter().any(|level| line.contains(level)) {
        Some(Format::Postgres)
    } else if dated
        && (line.contains("[Note]")
            || line.contains("[Warning]")
            || line.contains("[ERROR]")
            || line.contains("[System]"))
    {
        Some(Format::Mysql)
    } else if dated
        && (line.contains("> [")
            || line.contains("[info] <")
            || line.contains("[warning] <")
            || line.contains("[error] <"))
    {
        Some(Format::Rabbitmq)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patterns_hold() {
        [&POSTGRES, &MYSQL, &REDIS, &RABBITMQ].into_iter().for_each(super::super::pattern::check);
    }
}
