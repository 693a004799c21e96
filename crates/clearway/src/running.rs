//! The running gateway as those who manage it see it: the management API and the control socket.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use admin::{
    Answer, CallFilter, CallPage, Control, ControlError, IncidentFilter, IncidentPage, IncidentRow,
    Readiness, RouteRow, TargetRow, UpstreamRow,
};
use model::gateway::{Balance, NamedMatch, Policy, Route};
use model::{Exchange, IncidentId, RequestId};
use proxy::Shared;
use proxy::telemetry::exposition::{Exposition, Kind};
use proxy::telemetry::log;
use proxy::telemetry::metrics::Metrics;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{BlockCounts, Database, Follower, Page, Query, RecordReader, RecordState, RecordStatus};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use upstream::Standing;

use crate::incidents;
use crate::own_records::{self, OwnRecords};
use crate::recorder::Command;
use crate::system::Usage;

/// How long a question waits for the recorder, which may be waiting for the disk.
const RECORD_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that can be asked of a running gateway.
pub(crate) struct Running {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Arc<Mutex<Metrics>>,
    pub(crate) reader: RecordReader,
    pub(crate) record_status: Arc<RecordStatus>,
    pub(crate) log_lines_dropped: Arc<AtomicU64>,
    pub(crate) database: Database,
    pub(crate) recorder: mpsc::Sender<Command>,
    pub(crate) started: SystemTime,
    pub(crate) readiness: AtomicU8,
    /// Reloads that were taken over and refused.
    pub(crate) reloads: [AtomicU64; 2],
    pub(crate) upgrades: mpsc::Sender<UpgradeRequest>,
    pub(crate) upgrades_failed: AtomicU64,
    pub(crate) incidents: Arc<Mutex<incidents::Tally>>,
    pub(crate) untold: Arc<incidents::webhook::Untold>,
}

/// Somebody wants another process to take the place of this one.
#[derive(Debug)]
pub(crate) struct UpgradeRequest {
    /// How long it may take to get ready.
    pub(crate) timeout: Duration,
    pub(crate) answer: oneshot::Sender<Result<Upgraded, String>>,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Upgraded {
    pub(crate) old_pid: u32,
    pub(crate) new_pid: u32,
    /// Requests that the old process finishes.
    pub(crate) in_flight: usize,
}

impl Running {
    pub(crate) fn set_readiness(&self, readiness: Readiness) {
        self.readiness.store(readiness as u8, Ordering::Relaxed);
    }

    /// Exchanges that match, as they end. `None` while stopping.
    pub(crate) async fn follow(&self, query: Query) -> Option<Follower> {
        let (answer, follower) = oneshot::channel();
        self.recorder.send(Command::Follow(query, answer)).await.ok()?;
        follower.await.ok()
    }

    /// Hands over to a new process, or says why not.
    pub(crate) async fn upgrade(&self, timeout: Duration) -> Result<Upgraded, String> {
        let (answer, upgraded) = oneshot::channel();
        let stopping = || "this process is stopping".to_owned();
        self.upgrades.send(UpgradeRequest { timeout, answer }).await.map_err(|_| stopping())?;
        upgraded.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// What the records say of a request and of those around it.
    pub(crate) async fn evidence(&self, id: RequestId) -> Result<Option<OwnRecords>, ControlError> {
        self.record_what_waits().await;
        own_records::of_request(&self.reader, id).await
    }

    /// Whoever asks right after an answer finds its exchange: the recorder takes what it is collecting.
    async fn record_what_waits(&self) {
        let (answer, recorded) = oneshot::channel();
        // One that has no room for the question has enough to do, or is gone; what is recorded can be asked for anyway.
        if self.recorder.try_send(Command::Record(answer)).is_ok() {
            let _ = timeout(RECORD_TIMEOUT, recorded).await;
        }
    }
}

impl Control for Running {
    fn readiness(&self) -> Readiness {
        match self.readiness.load(Ordering::Relaxed) {
            ready if ready == Readiness::Ready as u8 => Readiness::Ready,
            draining if draining == Readiness::Draining as u8 => Readiness::Draining,
            _ => Readiness::Starting,
        }
    }

    fn metrics(&self) -> String {
        let mut text = Exposition::default();
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner).write(&mut text, &self.shared);
        write_records(&mut text, &self.record_status);
        text.family(
            "clearway_log_lines_dropped_total",
            Kind::Counter,
            "Log lines that could not be written.",
        );
        let dropped = self.log_lines_dropped.load(Ordering::Relaxed);
        text.sample("clearway_log_lines_dropped_total", &[], dropped as f64);
        text.family(
            "clearway_reloads_total",
            Kind::Counter,
            "Changes of the configuration, by what became of them.",
        );
        for (result, count) in ["taken", "refused"].into_iter().zip(&self.reloads) {
            let count = count.load(Ordering::Relaxed);
            text.sample("clearway_reloads_total", &[("result", result)], count as f64);
        }
        text.family(
            "clearway_upgrades_failed_total",
            Kind::Counter,
            "Processes that were to take the place of this one and did not.",
        );
        let failed = self.upgrades_failed.load(Ordering::Relaxed);
        text.sample("clearway_upgrades_failed_total", &[], failed as f64);
        self.incidents.lock().unwrap_or_else(PoisonError::into_inner).write(&mut text);
        text.family("clearway_build_info", Kind::Gauge, "Always 1; the labels say what runs.");
        text.sample("clearway_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        write_process(&mut text, self.started);
        text.into_text()
    }

    fn is_admin_token<'a>(&'a self, presented: &'a str) -> Answer<'a, bool> {
        Box::pin(async {
            let verified = self.database.admin_token_verify(presented).await;
            verified.map_err(|error| ControlError::Unreadable(format!("failed to {error}")))
        })
    }

    fn search<'a>(&'a self, filter: &'a CallFilter) -> Answer<'a, CallPage> {
        Box::pin(async {
            let query = filter.query(SystemTime::now()).map_err(ControlError::Question)?;
            self.record_what_waits().await;
            search(&self.reader, &query).await
        })
    }

    fn find(&self, id: RequestId) -> Answer<'_, Option<Box<RawValue>>> {
        Box::pin(async move {
            self.record_what_waits().await;
            find(&self.reader, id).await
        })
    }

    fn incidents<'a>(&'a self, filter: &'a IncidentFilter) -> Answer<'a, IncidentPage> {
        Box::pin(incidents::list(&self.database, filter))
    }

    fn incident(&self, id: IncidentId) -> Answer<'_, Option<IncidentRow>> {
        Box::pin(incidents::find(&self.database, id))
    }

    fn routes(&self) -> Vec<RouteRow> {
        let gateway = self.shared.serving.load().gateway.clone();
        let mut rows = Vec::new();
        for service in &gateway.services {
            for route in &service.routes {
                let upstream = gateway.upstreams.get(&route.upstream);
                let targets = upstream.iter().flat_map(|upstream| &upstream.targets);
                let targets = targets.map(|target| target.url.to_string()).collect();
                rows.push(route_row(&service.name, route, targets));
            }
        }
        rows
    }

    fn upstreams(&self) -> Vec<UpstreamRow> {
        let serving = self.shared.serving.load_full();
        let running = serving.gateway.upstreams.keys().filter_map(|name| serving.upstreams.get(name));
        running.map(|upstream| upstream_row(upstream)).collect()
    }
}

/// Asks the store, wherever it is read from.
pub(crate) async fn search(reader: &RecordReader, query: &Query) -> Result<CallPage, ControlError> {
    let Page { exchanges, next, blocks } =
        reader.search(query).await.map_err(|error| ControlError::Unreadable(format!("failed to {error}")))?;
    let BlockCounts { decoded: _, skipped: _, corrupt, files_unreadable } = blocks;
    let warning = left_out(corrupt, files_unreadable);
    Ok(CallPage {
        calls: exchanges.iter().map(document).collect(),
        next: next.map(|id| id.to_string()),
        warning,
    })
}

fn left_out(blocks: usize, files: usize) -> Option<String> {
    let counted = |count: usize, one: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        _ => Some(format!("{count} {one}s")),
    };
    let what: Vec<String> =
        [counted(blocks, "damaged block"), counted(files, "unreadable file")].into_iter().flatten().collect();
    let be = if blocks + files == 1 { "was" } else { "were" };
    (!what.is_empty()).then(|| format!("{} {be} left out; see the data directory", what.join(" and ")))
}

/// The exchange with this id, wherever it is read from.
pub(crate) async fn find(
    reader: &RecordReader,
    id: RequestId,
) -> Result<Option<Box<RawValue>>, ControlError> {
    let found = reader.find(id).await;
    let found = found.map_err(|error| ControlError::Unreadable(format!("failed to {error}")))?;
    Ok(found.as_ref().map(document))
}

/// An exchange as the JSON of its log line.
pub(crate) fn document(exchange: &Exchange) -> Box<RawValue> {
    let mut line = Vec::new();
    log::json(&mut line, exchange);
    let text = String::from_utf8(line).expect("a log line must be UTF-8: it is made of texts");
    RawValue::from_string(text).expect("a log line must be JSON")
}

fn route_row(service: &str, route: &Route, targets: Vec<String>) -> RouteRow {
    let matches = &route.matches;
    let named = |list: &[NamedMatch]| {
        let shown = |one: &NamedMatch| match &one.value {
            Some(value) => format!("{}={value}", one.name),
            None => one.name.to_string(),
        };
        list.iter().map(shown).collect()
    };
    RouteRow {
        service: service.to_owned(),
        route: route.name.to_string(),
        priority: route.priority,
        hosts: matches.hosts.iter().map(ToString::to_string).collect(),
        paths: matches.paths.iter().map(ToString::to_string).collect(),
        methods: matches.methods.iter().map(ToString::to_string).collect(),
        headers: named(&matches.headers),
        query: named(&matches.query),
        cookies: named(&matches.cookies),
        policies: route.policies.iter().map(policy_text).collect(),
        upstream: route.upstream.to_string(),
        targets,
    }
}

fn policy_text(policy: &Policy) -> String {
    match policy {
        Policy::AiKey => "ai-key".to_owned(),
        Policy::ApiKey(_) => "api-key".to_owned(),
    }
}

fn upstream_row(upstream: &upstream::Upstream) -> UpstreamRow {
    let now = Instant::now();
    let standings = upstream.standings(now);
    let targets: Vec<TargetRow> = upstream
        .targets
        .iter()
        .zip(standings)
        .map(|(target, standing)| target_row(upstream, target, standing, now))
        .collect();
    let settings = &upstream.settings;
    UpstreamRow {
        upstream: settings.name.to_string(),
        balance: settings.balance.id().to_owned(),
        key: match &settings.balance {
            Balance::Hash { key, .. } => Some(key.to_string()),
            Balance::LeastRequests | Balance::PeakEwma | Balance::Random | Balance::RoundRobin => None,
        },
        sticky_cookie: settings.stickiness.as_ref().map(|stickiness| stickiness.cookie.to_string()),
        zone: settings.zone.as_deref().map(str::to_owned),
        in_flight: targets.iter().map(|target| target.in_flight).sum(),
        waiting: upstream.waiting(),
        targets,
    }
}

fn target_row(
    upstream: &upstream::Upstream,
    target: &upstream::Target,
    standing: Standing,
    now: Instant,
) -> TargetRow {
    let (addresses, resolve_error) = match target.addresses() {
        Ok(addresses) => (addresses.iter().map(ToString::to_string).collect(), None),
        Err(reason) => (Vec::new(), Some(reason.to_string())),
    };
    let (settings, state) = (&target.settings, &target.state);
    let ejected = standing.ejected;
    TargetRow {
        target: settings.url.to_string(),
        weight: settings.weight,
        zone: settings.zone.as_deref().map(str::to_owned),
        concurrency_limit: upstream.concurrency_limit(target),
        in_flight: state.in_flight.load(Ordering::Relaxed),
        condition: standing.condition.id().to_owned(),
        why: standing.why,
        ejection_ms: standing.ejection.map(|ejection| ejection.as_millis() as u64),
        // To the thousandth: that is what people and scripts can use.
        share: (standing.share * 1e3).round() / 1e3,
        ejections: standing.ejections_in_a_row,
        ejected: ejected.in_a_row + ejected.share + ejected.trial,
        checks_passed: standing.checks.0,
        checks_failed: standing.checks.1,
        latency_us: state.latency.average(now).map(|latency| latency.as_micros() as u64),
        idle_limit_ms: state.idle_limit.known(now).map(|limit| limit.as_millis() as u64),
        connections: state.connections.load(Ordering::Relaxed),
        attempts: state.attempts.load(Ordering::Relaxed),
        failures: state.failures.load(Ordering::Relaxed),
        addresses,
        resolve_error,
    }
}

fn write_records(text: &mut Exposition, status: &RecordStatus) {
    let counts = status.counts();
    // The family was begun by the data plane with what its queue dropped.
    text.sample("clearway_records_dropped_total", &[("at", "store")], counts.dropped as f64);
    for (name, kind, help, value) in [
        ("clearway_records_stored_total", Kind::Counter, "Exchanges in the record files.", counts.recorded),
        (
            "clearway_records_blocks_total",
            Kind::Counter,
            "Blocks that exchanges were packed into.",
            counts.blocks,
        ),
        (
            "clearway_records_stored_bytes_total",
            Kind::Counter,
            "Bytes of these blocks after compression.",
            counts.stored_bytes,
        ),
        (
            "clearway_records_failures_unlisted_total",
            Kind::Counter,
            "Failed exchanges without an indexed row, because there were too many in a second.",
            counts.failures_unlisted,
        ),
        (
            "clearway_records_files_bytes",
            Kind::Gauge,
            "All record files together, when last looked at.",
            counts.files_bytes,
        ),
        (
            "clearway_records_stops_total",
            Kind::Counter,
            "How often recording stopped, because the disk did not take a block.",
            counts.stops,
        ),
        (
            "clearway_records_recording",
            Kind::Gauge,
            "1 while exchanges are recorded, 0 while the disk does not take them or the configuration keeps none.",
            u64::from(status.state() == RecordState::Recording),
        ),
    ] {
        text.family(name, kind, help);
        text.sample(name, &[], value as f64);
    }
}

fn write_process(text: &mut Exposition, started: SystemTime) {
    let Some(usage) = Usage::now() else { return };
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    for (name, kind, help, value) in [
        ("process_cpu_seconds_total", Kind::Counter, "User and system time.", usage.cpu_seconds),
        ("process_resident_memory_bytes", Kind::Gauge, "Resident memory.", usage.resident_bytes as f64),
        ("process_virtual_memory_bytes", Kind::Gauge, "Virtual memory.", usage.virtual_bytes as f64),
        ("process_open_fds", Kind::Gauge, "Open file descriptors.", usage.open_files as f64),
        ("process_threads", Kind::Gauge, "Threads.", usage.threads as f64),
        ("process_start_time_seconds", Kind::Gauge, "Unix time of the start.", started),
    ] {
        text.family(name, kind, help);
        text.sample(name, &[], value);
    }
}

#[cfg(test)]
mod tests {
    use super::left_out;

    #[test]
    fn what_was_left_out_is_counted_in_words() {
        for (blocks, files, expect) in [
            (0, 0, None),
            (1, 0, Some("1 damaged block was left out; see the data directory")),
            (0, 2, Some("2 unreadable files were left out; see the data directory")),
            (3, 1, Some("3 damaged blocks and 1 unreadable file were left out; see the data directory")),
        ] {
            assert_eq!(left_out(blocks, files).as_deref(), expect);
        }
    }
}
