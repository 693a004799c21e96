//! The `clearway` command: reads the command line and runs what it names. Wiring only; the parts are tested alone.

mod admin_token;
mod ai;
mod args;
mod ask;
mod call;
mod calls;
mod check;
mod control;
mod demo;
mod doctor;
mod explain;
mod handover;
mod incident_list;
mod incidents;
mod limits;
mod listing;
mod log_file;
mod man;
mod notify;
mod output;
mod own_records;
mod panics;
mod predecessor;
mod process;
mod program;
mod read_file;
mod recorder;
mod reload;
mod running;
mod socket_activation;
mod sources;
mod start_text;
mod system;
mod timeline;
mod up;
mod upgrade;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};

use crate::args::{AdminTokenCommand, Args, CallsCommand, Command, IncidentsCommand};

/// Frees memory of one thread in another without a lock, which records do all the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the end of the process waits for what was said to come out; nobody may be reading it.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// As clap itself ends a process.
const MISUNDERSTOOD: u8 = 2;

/// 0: fine; 1: a problem, told on standard error; 2: a command line that is not understood. The commands that judge have
/// codes of their own for what they find, and 3 for everything that keeps them from judging.
fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Closed output is nobody's failure.
            let _ = error.print();
            let failed = error.use_stderr();
            let judge =
                std::env::args_os().nth(1).is_some_and(|command| command == "doctor" || command == "check");
            return match (failed, judge) {
                (false, _) => ExitCode::SUCCESS,
                (true, true) => ExitCode::from(doctor::FAILED),
                (true, false) => ExitCode::from(MISUNDERSTOOD),
            };
        }
    };
    let code = match run(args.command) {
        Ok(code) => code,
        Err(error) if output::is_closed(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(&format!("clearway: {error:#}"));
            ExitCode::FAILURE
        }
    };
    output::finish_speaking(LAST_WORDS);
    code
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(up) => up::run(up),
        Command::Check(check) => check::run(&check),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Collect(collect) => doctor::collect::run(&collect),
        Command::Explain(explain) => explain::run(&explain),
        Command::Upgrade(upgrade) => upgrade::run(&upgrade),
        Command::Calls(calls) => match calls.command {
            Some(CallsCommand::Show(show)) => calls::show(&show),
            None => calls::list(&calls),
        },
        Command::Incidents(incidents) => match incidents.command {
            Some(IncidentsCommand::Show(show)) => incident_list::show(&show),
            Some(IncidentsCommand::List(listed)) => incident_list::list(&listed),
            None => incident_list::list(&incidents.list),
        },
        Command::Routes(listing) => listing::routes(&listing),
        Command::Upstreams(listing) => listing::upstreams(&listing),
        Command::AdminToken(admin_token) => match admin_token.command {
            AdminTokenCommand::Rotate(rotate) => admin_token::rotate(&rotate),
        },
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "clearway", &mut text);
            output::print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            let mut text = Vec::new();
            man::write(&mut text)?;
            output::print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
