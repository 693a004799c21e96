//! The scenarios: one entry of the table each, and what they share. The functions stand in the files beside this one.

mod faulty;
mod idle;
mod life;
mod overload;
mod raced;
mod restarts;

use std::path::Path;
use std::time::{Duration, Instant};

use super::account::{Accounts, Executions};
use super::client::CLASSES;
use super::load::{Arrivals, Load, Outcome};
use super::peer::{self, Peer, Running, Setup};
use super::records::Records;
use super::server::{self, Kind, Places, Server, Settings};
use crate::process::pause;

/// What goes wrong, behind which servers, and what is asked of Clearway.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// What happens, in a sentence.
    pub(super) title: &'static str,
    pub(super) servers: &'static [Kind],
    pub(super) bar: Bar,
    pub(super) takes_part: TakesPart,
    pub(super) run: fn(&Stage<'_>) -> anyhow::Result<Measured>,
}

/// Which proxies a scenario is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakesPart {
    All,
    /// It is about what only Clearway does, or says.
    Clearway,
}

/// What Clearway must reach beside what holds everywhere: what may be repeated does not fail, and what may not is
/// neither executed twice nor fails otherwise than with an honest 502 or 504.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bar {
    /// At most so many POSTs may fail: those that a faulty target may have executed.
    Posts(u64),
    /// As many POSTs may fail as were under way when a fault struck; each is explained by its record.
    PostsExplained,
    /// The limit of the undelivered rule, which is documented: POSTs may be executed twice.
    TheDocumentedLimit,
    /// Only 503 with `Retry-After`; how many is asked by the scenario itself.
    Shedding,
}

/// How many failures in a row a target may have before it is out: so many POSTs it may harm.
const UNTIL_EJECTED: u64 = 5;

/// In the order of the documentation.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "rolling-restart",
        title: "Two instances are stopped and started again, one after the other.",
        servers: &[Kind::Sync, Kind::Gthread, Kind::Uvicorn, Kind::Uwsgi],
        bar: Bar::Posts(2 * UNTIL_EJECTED),
        takes_part: TakesPart::All,
        run: restarts::rolling,
    },
    Scenario {
        name: "kill",
        title: "One of two instances is killed with `kill -9`, all of it, and is back two seconds later.",
        servers: &[Kind::Sync, Kind::Gthread, Kind::Uvicorn, Kind::Uwsgi],
        bar: Bar::Posts(UNTIL_EJECTED),
        takes_part: TakesPart::All,
        run: restarts::kill,
    },
    Scenario {
        name: "restart-gap",
        title: "The only instance is stopped, and started again two seconds later.",
        servers: &[Kind::Sync, Kind::Gthread, Kind::Uvicorn, Kind::Uwsgi],
        // Nobody else can be asked: all that it had taken when it stopped may have been executed.
        bar: Bar::PostsExplained,
        takes_part: TakesPart::All,
        run: restarts::gap,
    },
    Scenario {
        name: "restart-delay",
        title: "The same with three requests a second: what the proxy adds once the instance answers.",
        servers: &[Kind::Sync, Kind::Gthread, Kind::Uvicorn, Kind::Uwsgi],
        bar: Bar::PostsExplained,
        takes_part: TakesPart::All,
        run: restarts::delay,
    },
    Scenario {
        name: "hup",
        title: "The only instance gets SIGHUP twice, and starts its workers anew.",
        servers: &[Kind::Sync, Kind::Gthread, Kind::Uwsgi],
        bar: Bar::Posts(2 * UNTIL_EJECTED),
        takes_part: TakesPart::All,
        run: restarts::hup,
    },
    Scenario {
        name: "idle-limit",
        title: "Requests arrive when their connections have been idle for just as long as the server keeps them: \
                2 s (gthread), 5 s (Uvicorn), give or take 10 ms.",
        servers: &[Kind::Gthread, Kind::Uvicorn],
        bar: Bar::Posts(0),
        takes_part: TakesPart::All,
        run: idle::around_the_limit,
    },
    Scenario {
        name: "raced",
        title: "10,000 times a connection is opened, and used again at the moment when the server closes it, give or take 4 ms.",
        servers: &[Kind::Gthread, Kind::Uvicorn],
        bar: Bar::Posts(0),
        takes_part: TakesPart::Clearway,
        run: raced::retired,
    },
    Scenario {
        name: "raced-unretired",
        title: "The same, but connections are not retired before the server closes them.",
        servers: &[Kind::Gthread, Kind::Uvicorn],
        bar: Bar::PostsExplained,
        takes_part: TakesPart::Clearway,
        run: raced::unretired,
    },
    Scenario {
        name: "random-closes",
        title: "The only instance closes each idle connection after a random time, at most 300 ms.",
        servers: &[Kind::Scripted(&["closes"])],
        bar: Bar::PostsExplained,
        takes_part: TakesPart::All,
        run: faulty::closes,
    },
    Scenario {
        name: "max-requests",
        title: "The workers of the only instance end after ten requests each (`--max-requests 10`).",
        servers: &[Kind::Gthread],
        bar: Bar::PostsExplained,
        takes_part: TakesPart::All,
        run: faulty::max_requests,
    },
    Scenario {
        name: "silent",
        title: "One of two instances accepts connections and never answers. Clients wait for 90 s, proxies for 60 s.",
        servers: &[Kind::Gthread],
        bar: Bar::Posts(UNTIL_EJECTED),
        takes_part: TakesPart::All,
        run: faulty::silent,
    },
    Scenario {
        name: "answers-502",
        title: "One of two instances answers everything with 502, but its health check with 200.",
        servers: &[Kind::Gthread],
        bar: Bar::Posts(UNTIL_EJECTED),
        takes_part: TakesPart::All,
        run: faulty::answers_502,
    },
    Scenario {
        name: "answers-503",
        title: "One of two instances answers everything with 503, but its health check with 200.",
        servers: &[Kind::Gthread],
        bar: Bar::PostsExplained,
        takes_part: TakesPart::All,
        run: faulty::answers_503,
    },
    Scenario {
        name: "slow",
        title: "One of two instances is 20 times slower than the other: 200 ms instead of 10 ms.",
        servers: &[Kind::Gthread, Kind::Uvicorn],
        bar: Bar::Posts(0),
        takes_part: TakesPart::All,
        run: faulty::slow,
    },
    Scenario {
        name: "worker-killed",
        title: "A worker of the only instance is killed with `kill -9` four times; requests take 50 ms.",
        servers: &[Kind::Sync, Kind::Gthread, Kind::Uwsgi],
        bar: Bar::PostsExplained,
        takes_part: TakesPart::All,
        run: faulty::worker_killed,
    },
    Scenario {
        name: "slow-uploads",
        title: "Eight clients send their bodies at 400 bytes a second to two sync workers, beside ordinary requests.",
        servers: &[Kind::Sync, Kind::Uwsgi],
        bar: Bar::Posts(0),
        takes_part: TakesPart::All,
        run: faulty::slow_uploads,
    },
    Scenario {
        name: "resets",
        title: "One of two instances resets every twentieth connection right after it has accepted it.",
        servers: &[Kind::Gthread],
        bar: Bar::PostsExplained,
        takes_part: TakesPart::All,
        run: faulty::resets,
    },
    Scenario {
        name: "name-moves",
        title: "The name of the only instance gets another address (TTL 1 s); what was at the old one stops after two seconds or more.",
        servers: &[Kind::Gthread],
        bar: Bar::Posts(0),
        takes_part: TakesPart::All,
        run: life::name_moves,
    },
    Scenario {
        name: "own-reload",
        title: "The proxy reads a changed configuration five times; half of the requests come on new connections.",
        servers: &[Kind::Gthread],
        bar: Bar::Posts(0),
        takes_part: TakesPart::All,
        run: life::reload,
    },
    Scenario {
        name: "own-upgrade",
        title: "The proxy is replaced by a new process twice; half of the requests come on new connections.",
        servers: &[Kind::Gthread],
        bar: Bar::Posts(0),
        takes_part: TakesPart::All,
        run: life::upgrade,
    },
    Scenario {
        name: "overload",
        title: "Four times as many requests as the two sync workers of the only instance can take; each takes 50 ms.",
        servers: &[Kind::Sync],
        bar: Bar::Shedding,
        takes_part: TakesPart::All,
        run: overload::four_times,
    },
    Scenario {
        name: "half-closes",
        title: "The only instance ends its sending side of idle connections, and executes a request that it reads after \
                that before it resets the connection: the documented limit of the undelivered rule. No known server does.",
        servers: &[Kind::Scripted(&["half-closes"])],
        bar: Bar::TheDocumentedLimit,
        takes_part: TakesPart::All,
        run: faulty::half_closes,
    },
];

/// Requests a second where a scenario does not say otherwise.
const PER_SECOND: f64 = 200.0;
/// How long a client waits, unless that is what the scenario is about.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a scenario works with: one proxy, one kind of server, a folder.
pub(super) struct Stage<'a> {
    pub(super) peer: &'a Peer,
    pub(super) kind: Kind,
    pub(super) places: Places,
    /// How long each quiet part of a scenario lasts.
    pub(super) part: Duration,
    bar: Bar,
}

/// What came out of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    pub(super) accounts: Accounts,
    /// What is particular to the scenario, in words.
    pub(super) figures: Vec<String>,
    /// Where Clearway is below the bar.
    pub(super) violations: Vec<String>,
    /// What a person wants to know of the failures.
    pub(super) explanations: Vec<String>,
}

/// Everything a run left behind, when its proxy and servers have stopped.
pub(super) struct Remains {
    pub(super) measured: Measured,
    pub(super) outcomes: Vec<Outcome>,
    /// Empty for others than Clearway.
    pub(super) records: Records,
}

impl Stage<'_> {
    /// An instance of the kind that the scenario is run with.
    fn server(&self, name: &str) -> anyhow::Result<Server> {
        self.server_with(name, Settings::of(self.kind))
    }

    fn server_with(&self, name: &str, settings: Settings) -> anyhow::Result<Server> {
        Server::start(name.to_owned(), settings, &self.places)
    }

    /// The proxy in front of them.
    fn proxy(&self, servers: &[&Server]) -> anyhow::Result<Running> {
        self.proxy_with(Setup::of(servers.iter().map(|server| server.target()).collect()))
    }

    fn proxy_with(&self, setup: Setup) -> anyhow::Result<Running> {
        self.peer.start(setup, &self.places)
    }

    /// The steady mix.
    fn load(&self, proxy: &Running) -> Load {
        Load::start(arrivals(proxy))
    }

    /// Lets the load go on for a part of the scenario.
    fn go_on(&self) -> anyhow::Result<()> {
        pause(self.part)
    }

    /// Ends everything and does the accounts.
    fn finish(&self, load: Load, proxy: Running, servers: Vec<Server>) -> anyhow::Result<Remains> {
        self.account(load.finish()?, proxy, servers)
    }

    fn account(
        &self,
        outcomes: Vec<Outcome>,
        proxy: Running,
        servers: Vec<Server>,
    ) -> anyhow::Result<Remains> {
        let records = match proxy.kind {
            peer::Kind::Clearway => Records::read(&proxy.log(), outcomes.len())?,
            peer::Kind::Haproxy | peer::Kind::Nginx => Records::default(),
        };
        drop(proxy);
        // Who still works on something writes it down before it ends.
        drop(servers);
        let executions = Executions::parse(&server::executed(&self.places.folder)?);
        let accounts = Accounts::of(&outcomes, &executions);
        let explanations = explain(&accounts, &records);
        let measured = Measured { accounts, explanations, ..Measured::default() };
        Ok(Remains { measured, outcomes, records })
    }
}

fn arrivals(proxy: &Running) -> Arrivals {
    Arrivals { port: proxy.port, per_second: PER_SECOND, patience: PATIENCE, half_on_new_connections: false }
}

/// The remarkable requests, with what is on record about them.
fn explain(accounts: &Accounts, records: &Records) -> Vec<String> {
    let explained = |text: &String| {
        let id = text.split(' ').next().unwrap_or_default();
        match records.explain(id) {
            Some(fault) => format!("{text}: {fault}"),
            None => text.clone(),
        }
    };
    accounts.remarkable.iter().map(explained).collect()
}

impl Measured {
    /// This cannot be done here.
    fn skipped(reason: &str) -> Self {
        Self { figures: vec![format!("skipped: {reason}")], ..Self::default() }
    }

    /// It could not be run at all; only for Clearway is that below the bar.
    pub(super) fn broken(kind: peer::Kind, error: &anyhow::Error) -> Self {
        let text = vec![format!("failed to run: {error:#}")];
        match kind {
            peer::Kind::Clearway => Self { violations: text, ..Self::default() },
            peer::Kind::Haproxy | peer::Kind::Nginx => Self { figures: text, ..Self::default() },
        }
    }

    fn figure(&mut self, text: String) {
        self.figures.push(text);
    }

    /// A part of the bar that only this scenario has.
    fn require(&mut self, holds: bool, text: &str) {
        if !holds {
            self.violations.push(text.to_owned());
        }
    }

    /// What is asked in every scenario.
    fn hold_to(&mut self, bar: Bar, is_explained: bool) {
        let repeatable = self.accounts.sum(|class| class.may_repeat());
        let posts = self.accounts.sum(|class| !class.may_repeat());
        let all = self.accounts.sum(|_| true);
        self.require(all.requests > 0, "nothing was asked");
        let most = match bar {
            Bar::Posts(most) => most,
            Bar::PostsExplained => u64::MAX,
            Bar::Shedding => return self.require(posts.executed_twice == 0, "POSTs were executed twice"),
            Bar::TheDocumentedLimit => return,
        };
        let failed = |what: &str, failures: String| format!("{what} failed: {failures}");
        self.require(
            repeatable.failed() == 0,
            &failed("requests that may be repeated", repeatable.failures()),
        );
        self.require(posts.dishonest == 0, &failed("POSTs, and not with 502 or 504,", posts.failures()));
        self.require(posts.failed() <= most, &failed(&format!("more than {most} POSTs"), posts.failures()));
        self.require(posts.executed_twice == 0, &format!("POSTs executed twice: {}", posts.executed_twice));
        self.require(is_explained || posts.failed() == 0, "a failure has no record that explains it");
    }
}

impl Remains {
    /// What was measured, held to the bar of the scenario.
    fn held_to(mut self, bar: Bar) -> Measured {
        let is_explained = self.is_explained();
        self.measured.hold_to(bar, is_explained);
        let failed = self.outcomes.iter().filter(|outcome| !outcome.end.is_good());
        let unsent = failed.filter(|outcome| self.records.is_unsent(&outcome.id)).count();
        let may_shed = matches!(bar, Bar::Shedding);
        self.measured
            .require(unsent == 0 || may_shed, &format!("{unsent} failed of which nothing had been written"));
        self.measured
    }

    /// Whether each failure has a record with a fault.
    fn is_explained(&self) -> bool {
        let mut failed = self.outcomes.iter().filter(|outcome| !outcome.end.is_good());
        failed.all(|outcome| self.records.explain(&outcome.id).is_some())
    }
}

/// How long these shares of the times were at most; sorts them.
fn percentiles<const N: usize>(times: &mut [Duration], shares: [f64; N]) -> [Duration; N] {
    times.sort();
    let last = times.len().saturating_sub(1);
    shares.map(|share| times.get((last as f64 * share).round() as usize).copied().unwrap_or_default())
}

/// The scenario for one proxy and one kind of server.
pub(super) fn run(
    scenario: &Scenario,
    peer: &Peer,
    kind: Kind,
    root: &Path,
    folder: &Path,
    part: Duration,
) -> anyhow::Result<Measured> {
    let places = Places { root: root.to_owned(), folder: folder.to_owned() };
    server::begin(&places)?;
    let stage = Stage { peer, kind, places, part, bar: scenario.bar };
    let begin = Instant::now();
    let mut measured = (scenario.run)(&stage)?;
    if peer.kind != peer::Kind::Clearway {
        measured.violations.clear();
    }
    crate::say(&format!("    {} {}: {}", peer.kind.name(), kind.name(), measured.line(begin.elapsed())));
    Ok(measured)
}

impl Measured {
    fn line(&self, took: Duration) -> String {
        let mut parts: Vec<String> = CLASSES
            .into_iter()
            .map(|class| (class, self.accounts.of_class(class)))
            .filter(|(_, counts)| counts.requests > 0)
            .map(|(class, counts)| format!("{} {} of {}", class.title(), counts.failures(), counts.requests))
            .collect();
        parts.extend(self.figures.iter().cloned());
        parts.extend(self.violations.iter().map(|text| format!("BELOW THE BAR: {text}")));
        format!("{} ({:.1} s)", parts.join("; "), took.as_secs_f64())
    }
}
