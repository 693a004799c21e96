//! `clearway up`: what comes before there is a process that serves, and after it.
//!
//! The main thread runs everything but traffic on one small runtime: management, records, names. The server has its own
//! threads.

use std::process::ExitCode;

use anyhow::Context;
use config::Overrides;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::Up;
use crate::process::{Origin, Process};
use crate::program::Program;
use crate::sources::{LoadError, Sources};
use crate::{output, panics, predecessor, socket_activation, system};

/// Two per connection, and some for files: below this, connections will be refused under load.
const OPEN_FILES_WANTED: u64 = 4096;

pub(crate) fn run(args: Up) -> anyhow::Result<ExitCode> {
    // Before anything is opened: they have fixed numbers.
    let origin = match predecessor::inherited_connection()? {
        Some(connection) => Origin::Predecessor(connection),
        None => Origin::Fresh(socket_activation::sockets()?),
    };
    let program = Program::this().context("failed to find out which program this is")?;
    system::turn_huge_pages_off();
    system::survive_file_size_limit();
    output::speak_from_a_thread().context("failed to start a thread")?;
    panics::report();
    let overrides = Overrides {
        to: args.to,
        listen: args.listen,
        admin: args.admin,
        data: args.data,
        providers: args.providers,
    };
    let sources = Sources::new(args.sources, overrides);
    let checked = match sources.load() {
        Ok(checked) => checked,
        Err(LoadError::Unreadable(error)) => return Err(error),
        Err(problems) => {
            output::say(&problems.to_string());
            return Ok(ExitCode::FAILURE);
        }
    };
    for warning in &checked.warnings {
        output::say(&warning.to_string());
    }
    if let Some(limit) = system::raise_open_files_limit()
        && limit < OPEN_FILES_WANTED
    {
        output::warn(&format!(
            "only {limit} files may be open at once; raise the limit (ulimit -n, LimitNOFILE=)"
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .build_local(tokio::runtime::LocalOptions::default())
        .context("failed to start a runtime")?;
    let outcome = runtime.block_on(async {
        // From here on a signal finds someone who listens.
        let mut signals = Signals::listen().context("failed to listen for signals")?;
        let process = Process::start(program, sources, checked, origin, &mut signals).await?;
        Ok(process.serve(signals).await)
    });
    // Now nobody listens any more: a signal ends the process while its last words come out.
    system::die_of_signals();
    // Dropped, it would wait for the blocking threads, which may all be waiting for a name server.
    runtime.shutdown_background();
    outcome
}

/// What others tell the process.
pub(crate) struct Signals {
    pub(crate) hangup: Signal,
    /// SIGUSR2.
    pub(crate) upgrade: Signal,
    pub(crate) stop: StopSignals,
}

pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            stop: StopSignals {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            },
        })
    }
}

impl StopSignals {
    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Whether one has come already. It is then taken.
    pub(crate) fn is_pending(&mut self) -> bool {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        self.interrupt.poll_recv(&mut cx).is_ready() || self.terminate.poll_recv(&mut cx).is_ready()
    }
}
