//! Keeps incidents: writes them down as they open, change and close, has them looked into, and tells of them.
//!
//! One task that waits for nobody but the disk; looks run beside it. Serving and recording never wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use admin::IncidentRow;
use incident::{Change, Closing, Past, Totals, What};
use model::{Closed, ClosedBy, Incident, IncidentId, RequestIds};
use proxy::Shared;
use store::{Database, RecordReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::look::{Looked, look, targets};
use super::webhook::{Event, Teller, Untold};
use super::{Tally, keep_pasts, now};
use crate::output;

/// When an incident is looked into, since it opened: at once, when there is more to see, and then ever more rarely.
const FIRST_LOOKS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(15), Duration::from_secs(60)];
const LATER_LOOKS_EVERY: Duration = Duration::from_secs(900);
/// After a day's worth of looks nothing new is to be expected.
const LOOKS_MAX: usize = 100;
/// Looks at once: each reads records and may probe. The others wait for their turn.
const LOOKS_AT_ONCE: usize = 2;
/// How often old incidents are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3600);
/// How long a closed incident may open again, with some room over the rule's own time.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Messages that may wait.
const NEWS_MAX: usize = 256;

/// What the keeper is told.
#[derive(Debug)]
pub(crate) enum News {
    Changed(Change),
    /// What open incidents amount to so far.
    Progress(Vec<(Arc<str>, Totals)>),
    Pasts(Vec<Past>),
    /// The configuration that serves is another one.
    Configure,
    /// Write nothing from now on: another process may.
    Hold(oneshot::Sender<()>),
    Resume,
}

/// What the keeper works with.
pub(crate) struct Means {
    pub(crate) database: Database,
    pub(crate) reader: RecordReader,
    pub(crate) tally: Arc<Mutex<Tally>>,
    pub(crate) untold: Arc<Untold>,
    pub(crate) shared: Arc<Shared>,
}

/// Incidents that are open or have just closed, by service.
pub(crate) struct Keeper {
    means: Means,
    news: mpsc::Receiver<News>,
    known: HashMap<Arc<str>, Known>,
    looks: JoinSet<(IncidentId, Arc<str>, Option<Looked>)>,
    ids: RequestIds,
    held: bool,
    webhook: Option<Teller>,
    forget_at: Instant,
}

struct Known {
    incident: Incident,
    opened: Instant,
    closed: Option<Instant>,
    looks: usize,
    looking: bool,
    /// How many had failed when it was last looked into.
    failed_then: u64,
    /// It could not be written while the keeper was held.
    unwritten: bool,
}

impl Keeper {
    /// `open` are incidents of the process before.
    pub(crate) fn new(means: Means, open: Vec<Incident>) -> (Keeper, mpsc::Sender<News>) {
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let seed = u64::from(std::process::id()) << 32 ^ now().0.unsigned_abs();
        let mut keeper = Keeper {
            means,
            news,
            known: HashMap::new(),
            looks: JoinSet::new(),
            ids: RequestIds::new(seed),
            held: false,
            webhook: None,
            forget_at: Instant::now(),
        };
        keeper.configure();
        for incident in open {
            let message =
                format!("incident {}: {} goes on from before the start", incident.id, incident.service);
            output::info(&message);
            keeper.tally(|tally| tally.set_open(&incident.service, true));
            keeper.known.insert(incident.service.clone(), Known::new(incident));
        }
        (keeper, sender)
    }

    /// For as long as there is anyone to tell it anything.
    pub(crate) async fn run(mut self) {
        loop {
            self.begin_looks();
            let next_look = self.next_look();
            tokio::select! {
                news = self.news.recv() => match news {
                    Some(news) => self.take(news).await,
                    None => return,
                },
                Some(looked) = self.looks.join_next() => if let Ok((id, service, looked)) = looked {
                    self.looked(id, &service, looked).await;
                },
                () = sleep_until(next_look) => {}
                () = sleep_until(self.forget_at) => self.forget().await,
            }
        }
    }

    async fn take(&mut self, news: News) {
        match news {
            News::Changed(change) => self.change(change).await,
            News::Progress(open) => {
                for (service, totals) in open {
                    if let Some(known) = self.known.get_mut(&service) {
                        known.set(totals);
                        self.write(&service).await;
                    }
                }
            }
            News::Pasts(pasts) => {
                if !self.held
                    && let Err(error) = keep_pasts(&self.means.database, &pasts).await
                {
                    output::warn(&format!("failed to {error}"));
                }
            }
            News::Configure => {
                self.configure();
                self.forget().await;
            }
            News::Hold(answer) => {
                self.held = true;
                // Who asked may be gone.
                let _ = answer.send(());
            }
            News::Resume => {
                self.held = false;
                let unwritten = self.known.iter().filter(|(_, known)| known.unwritten);
                let unwritten: Vec<Arc<str>> = unwritten.map(|(service, _)| service.clone()).collect();
                for service in unwritten {
                    self.write(&service).await;
                }
            }
        }
    }

    fn configure(&mut self) {
        let settings = self.means.shared.serving.load().gateway.incidents.webhook.clone();
        if settings.as_ref() == self.webhook.as_ref().map(|webhook| &webhook.settings) {
            return;
        }
        // What waits for the one before is still sent.
        let Means { tally, untold, .. } = &self.means;
        self.webhook = settings.and_then(|settings| Teller::start(settings, tally.clone(), untold.clone()));
    }

    fn tell(&self, event: Event, incident: &Incident) {
        if let Some(webhook) = &self.webhook {
            webhook.tell(event, IncidentRow::of(&Incident { report: None, ..incident.clone() }));
        }
    }

    async fn change(&mut self, change: Change) {
        let Change { service, what, totals } = change;
        match what {
            What::Opened { seconds_ago } => self.open(&service, seconds_ago, totals),
            What::Reopened => match self.known.get_mut(&service) {
                Some(known) => known.reopen(totals),
                // It is not remembered: then it is a new one.
                None => self.open(&service, 0, totals),
            },
            What::Closed(why) => {
                let Some(known) = self.known.get_mut(&service) else { return };
                known.close(why, totals);
            }
        }
        let Some(Known { incident, .. }) = self.known.get(&service) else { return };
        self.tally(|tally| {
            tally.set_open(&service, incident.closed.is_none());
            if incident.closed.is_some() {
                tally.count_closed(incident);
            }
        });
        tell(incident, what);
        self.tell(Event::of(what), incident);
        self.write(&service).await;
    }

    fn open(&mut self, service: &Arc<str>, seconds_ago: u64, totals: Totals) {
        let opened = now();
        let mut known = Known::new(Incident {
            id: IncidentId(self.ids.next(opened.0.unsigned_abs().saturating_mul(1000)).0),
            service: service.clone(),
            began: opened.plus_seconds(-(seconds_ago as f64)),
            opened,
            closed: None,
            reopened: 0,
            requests: 0,
            failed: 0,
            peak_share: 0.0,
            usual_share: 0.0,
            cause: None,
            diagnosed: None,
            report: None,
        });
        known.set(totals);
        self.known.insert(service.clone(), known);
    }

    /// When the next look is due; far away where there is none.
    fn next_look(&self) -> Instant {
        let far = Instant::now() + FORGET_EVERY;
        if self.looks.len() >= LOOKS_AT_ONCE {
            return far;
        }
        self.known.values().filter_map(Known::look_at).min().unwrap_or(far)
    }

    fn begin_looks(&mut self) {
        let now = Instant::now();
        for known in self.known.values_mut() {
            if self.looks.len() >= LOOKS_AT_ONCE {
                return;
            }
            if known.look_at().is_none_or(|at| at > now) {
                continue;
            }
            known.looks += 1;
            if known.looks > 1 && known.incident.failed == known.failed_then {
                // Nothing failed since: what was found then stands.
                continue;
            }
            known.looking = true;
            known.failed_then = known.incident.failed;
            let reader = self.means.reader.clone();
            let targets = targets(&self.means.shared.serving.load().gateway, &known.incident.service);
            let incident = known.incident.clone();
            self.looks.spawn(async move {
                let looked = look(&reader, &incident, super::now(), targets).await;
                (incident.id, incident.service, looked)
            });
        }
    }

    async fn looked(&mut self, id: IncidentId, service: &Arc<str>, looked: Option<Looked>) {
        let Some(known) = self.known.get_mut(service).filter(|known| known.incident.id == id) else { return };
        known.looking = false;
        let Some(Looked { cause, report }) = looked else { return };
        let incident = &mut known.incident;
        incident.diagnosed = Some(now());
        // What was found stays found: later looks may see less of how it began.
        if cause.is_some() || incident.cause.is_none() {
            let before = incident.cause.take().map(|cause| cause.cause);
            incident.report = Some(report);
            incident.cause = cause;
            if let Some(found) = &incident.cause
                && Some(&found.cause) != before.as_ref()
            {
                output::warn(&format!(
                    "incident {id}: {service} fails because of {} ({:.2}): {}",
                    found.cause, found.confidence, found.summary
                ));
                let incident = incident.clone();
                self.tell(Event::Cause, &incident);
            }
        }
        self.write(service).await;
    }

    async fn write(&mut self, service: &Arc<str>) {
        let Some(known) = self.known.get_mut(service) else { return };
        known.unwritten = self.held;
        if self.held {
            return;
        }
        if let Err(error) = self.means.database.incident_put(&known.incident).await {
            output::warn(&format!("failed to {error}"));
        }
    }

    /// What closed before the days of records that are kept, and what cannot open again.
    async fn forget(&mut self) {
        self.forget_at = Instant::now() + FORGET_EVERY;
        self.known.retain(|_, known| known.closed.is_none_or(|at| at.elapsed() < REMEMBERED));
        let days = f64::from(self.means.shared.serving.load().gateway.records.retention_days);
        if !self.held
            && let Err(error) =
                self.means.database.incidents_forget(now().plus_seconds(-days * 86_400.0)).await
        {
            output::warn(&format!("failed to {error}"));
        }
    }

    fn tally(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.means.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Known {
    fn new(incident: Incident) -> Known {
        Known {
            incident,
            opened: Instant::now(),
            closed: None,
            looks: 0,
            looking: false,
            failed_then: 0,
            unwritten: false,
        }
    }

    fn set(&mut self, totals: Totals) {
        let Totals { counts, peak_share, usual_share } = totals;
        let incident = &mut self.incident;
        (incident.requests, incident.failed) = (counts.requests, counts.failed);
        (incident.peak_share, incident.usual_share) = (peak_share, usual_share);
    }

    fn reopen(&mut self, totals: Totals) {
        self.set(totals);
        self.incident.closed = None;
        self.incident.reopened += 1;
        (self.opened, self.closed, self.looks) = (Instant::now(), None, 0);
    }

    fn close(&mut self, why: Closing, totals: Totals) {
        self.set(totals);
        let why = match why {
            Closing::Quiet => ClosedBy::Quiet,
            Closing::Recovered => ClosedBy::Recovered,
        };
        self.incident.closed = Some(Closed { at: now(), why });
        self.closed = Some(Instant::now());
    }

    fn look_at(&self) -> Option<Instant> {
        if self.closed.is_some() || self.looking || self.looks >= LOOKS_MAX {
            return None;
        }
        let later = self.looks.saturating_sub(FIRST_LOOKS.len()) as u32 + 1;
        let after = FIRST_LOOKS.get(self.looks).copied().unwrap_or(LATER_LOOKS_EVERY * later);
        Some(self.opened + after)
    }
}

impl Event {
    fn of(what: What) -> Event {
        match what {
            What::Opened { .. } => Event::Opened,
            What::Reopened => Event::Reopened,
            What::Closed(_) => Event::Closed,
        }
    }
}

/// The line of the log.
fn tell(incident: &Incident, what: What) {
    let Incident { id, service, requests, failed, usual_share, .. } = incident;
    let usual = usual_share * 100.0;
    match what {
        What::Opened { .. } => output::warn(&format!(
            "incident {id}: {service} fails, {failed} of {requests} requests; usually at most {usual:.1}%"
        )),
        What::Reopened => {
            output::warn(&format!("incident {id}: {service} fails again, {failed} of {requests} requests"))
        }
        What::Closed(why) => {
            let how = match why {
                Closing::Quiet => "is closed, nobody has asked for long",
                Closing::Recovered => "has recovered",
            };
            let cause = incident.cause.as_ref().map_or("the cause is not known".to_owned(), |cause| {
                format!("the cause was {} ({:.2})", cause.cause, cause.confidence)
            });
            output::info(&format!(
                "incident {id}: {service} {how}, {failed} of {requests} requests failed; {cause}"
            ));
        }
    }
}
