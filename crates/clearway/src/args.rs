//! The command line. Its help is also the man page and the completions.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// API gateway that answers what can be answered, and explains what cannot
///
/// Clearway stands in front of APIs. It takes requests on its listeners, sends them to the targets of a route, and keeps
/// a record of each: who asked, what was tried, how long each step took, and, when it failed, who ended it in which
/// phase.
#[derive(Debug, Parser)]
#[command(name = "clearway", version, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(Up),
    Check(Check),
    Calls(Box<Calls>),
    Doctor(Box<Doctor>),
    Collect(Collect),
    Explain(Explain),
    Incidents(Box<Incidents>),
    /// List the routes that are served
    Routes(Listing),
    /// List the upstreams and how their targets are doing
    Upstreams(Listing),
    Upgrade(Upgrade),
    AdminToken(AdminToken),
    /// Print the completions for a shell
    Completions {
        shell: clap_complete::Shell,
    },
    /// Print the man page, as in `clearway man | man -l -`
    Man,
}

/// Start the gateway
///
/// Without FILE and without --to it reads clearway.yaml in the working directory, if there is one. SIGHUP, and any
/// change of a file that was read, makes it read the configuration again; one that does not hold is reported, and the
/// last good one goes on serving. SIGUSR2 hands over to a new process, as `clearway upgrade` does. SIGTERM lets what is in flight finish within the grace time.
#[derive(Debug, Parser)]
pub(crate) struct Up {
    /// Configuration files, or directories of them (every .yaml and .yml in them, in the order of their names)
    #[arg(value_name = "FILE|DIR")]
    pub(crate) sources: Vec<PathBuf>,
    /// Send every request to this URL: http://, https://, h2c://, unix:PATH, uwsgi://
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// Offer the models of this provider of AI models, with the key in its usual variable; `demo` is a simulator that needs none
    #[arg(long = "provider", value_name = "NAME")]
    pub(crate) providers: Vec<String>,
    /// Listen here instead of where the files say [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Vec<String>,
    /// The address of the management interface [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<String>,
    /// The data directory [default: ./clearway-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Check configuration files, Clearway's own and those of others, and print every problem
///
/// Besides Clearway's YAML it reads what stands in front of and behind an API: nginx, Apache, HAProxy, Caddyfile, Envoy,
/// gunicorn.conf.py, uWSGI, systemd units, Kubernetes and Compose manifests, Dockerfiles, Procfiles and command lines of servers.
/// Files that are named together are checked together, so that a proxy is held against the server behind it. Nothing is
/// executed, and nothing is asked of the network.
///
/// The exit code is 0 without errors, 1 with errors, 2 with warnings only and --strict, 3 where something could not be read.
#[derive(Debug, Parser)]
pub(crate) struct Check {
    /// Configuration files, or directories of them [default: clearway.yaml]
    #[arg(value_name = "FILE|DIR")]
    pub(crate) sources: Vec<PathBuf>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: CheckFormat,
    /// Fail for warnings as well
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print what was read of the configurations of others, one setting a line, defaults too, and check nothing
    #[arg(long, conflicts_with_all = ["format", "strict"])]
    pub(crate) settings: bool,
    /// The version of a product, where the files do not tell it: nginx=1.31.5, gunicorn=21.2.0
    #[arg(long, value_name = "PRODUCT=VERSION")]
    pub(crate) version_of: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    #[default]
    Text,
    Json,
    Sarif,
    Junit,
}

/// List what was served, newest first
///
/// Asks the running process, which also knows the last second; reads the data directory when none runs. Lists in
/// filters are written with commas.
#[derive(Debug, Parser)]
#[command(subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub(crate) struct Calls {
    #[command(subcommand)]
    pub(crate) command: Option<CallsCommand>,
    /// Only these statuses: 502, or 5xx for all of a class
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// Only these faults, for example early-close
    #[arg(long, value_name = "FAULT")]
    pub(crate) fault: Option<String>,
    /// Only calls that this service took
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Only calls that this route took
    #[arg(long, value_name = "NAME")]
    pub(crate) route: Option<String>,
    /// Only calls with a credential of this consumer
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// Only this method
    #[arg(long, value_name = "METHOD")]
    pub(crate) method: Option<String>,
    /// Only paths that begin so
    #[arg(long, value_name = "PREFIX")]
    pub(crate) path: Option<String>,
    /// Only calls that took longer: 500ms, 2s
    #[arg(long, value_name = "DURATION")]
    pub(crate) slower_than: Option<String>,
    /// Only calls that began within this time: 10m, 2h, 1d
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<String>,
    /// At most so many [default: 50]
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
    /// Go on with calls as they end, oldest first
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CallsCommand {
    /// Print one call as a timeline
    Show(Show),
}

#[derive(Debug, Parser)]
pub(crate) struct Show {
    /// The id of the call: X-Request-Id of the answer, request_id of the problem document
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// Find the root cause of failed requests, with the evidence and the fix
///
/// Looks at the chain behind a URL on this machine: the proxy, its configuration and logs, the Python server behind it, its
/// processes and sockets, and what those wait for. Changes nothing. Without a URL it looks at every proxy on this machine.
/// Given the id of a request, it looks at Clearway's own records. Files of another machine are given with --bundle, --log
/// and --config.
///
/// Exit codes: 0 healthy, 1 findings, 2 inconclusive, 3 the doctor itself failed.
#[derive(Debug, Parser)]
pub(crate) struct Doctor {
    /// A URL that fails, as http://127.0.0.1/cart, or the id of a request that Clearway took
    #[arg(value_name = "URL|REQUEST-ID|NAME", conflicts_with_all = ["bundle", "log", "config"])]
    pub(crate) target: Option<String>,
    /// What `clearway collect` has written, or any folder or .tar.gz of logs and configurations
    #[arg(long, value_name = "DIR|FILE.tar.gz")]
    pub(crate) bundle: Option<PathBuf>,
    /// Log files of any product that Clearway knows, rotated and compressed ones too
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) log: Vec<PathBuf>,
    /// Configuration files of proxies and servers
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) config: Vec<PathBuf>,
    /// Look at a cluster instead: the target is a URL that an Ingress serves, or the name of a Service, Ingress, workload or pod
    #[arg(long, conflicts_with_all = ["bundle", "log", "config"])]
    pub(crate) kubernetes: bool,
    /// The namespace [default: that of the kubeconfig's context]
    #[arg(long, short, value_name = "NAME", requires = "kubernetes")]
    pub(crate) namespace: Option<String>,
    /// A kubeconfig [default: $KUBECONFIG, the pod's own account, or ~/.kube/config]
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The address of the API, as of `kubectl proxy`
    #[arg(long, value_name = "URL", requires = "kubernetes", conflicts_with = "kubeconfig")]
    pub(crate) kubernetes_server: Option<String>,
    /// How far back logs are read: 10m, 2h, 1d [default: 15m on this machine, everything in files]
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<String>,
    /// How long active probes may take together: 500ms, 5s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub(crate) budget: String,
    /// How to write the report
    #[arg(long, value_enum, default_value_t = ReportFormat::Text)]
    pub(crate) format: ReportFormat,
    /// Write the report into this file instead
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The data directory, for the id of a request
    #[arg(long, value_name = "DIR", default_value = "clearway-data")]
    pub(crate) data: PathBuf,
}

impl Doctor {
    /// A diagnosis of this machine with everything else as usual.
    pub(crate) fn on_this_machine(target: Option<String>, since: Option<String>, budget: String) -> Doctor {
        Doctor {
            target,
            since,
            budget,
            bundle: None,
            log: Vec::new(),
            config: Vec::new(),
            kubernetes: false,
            namespace: None,
            kubeconfig: None,
            kubernetes_server: None,
            format: ReportFormat::Text,
            output: None,
            data: PathBuf::new(),
        }
    }
}

/// Write what the doctor sees on this machine into a file that can be judged elsewhere
///
/// Logs, configurations, and facts about processes, sockets and probes, with secrets taken out; bodies of requests are in none of
/// them. What the file will contain is listed first, and a person is asked. Judge it with `clearway doctor --bundle FILE`.
#[derive(Debug, Parser)]
pub(crate) struct Collect {
    /// A URL that fails, as http://127.0.0.1/cart [default: every proxy on this machine]
    #[arg(value_name = "URL")]
    pub(crate) target: Option<String>,
    /// Write into this file [default: clearway-HOST-TIME.tar.gz]
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Overwrite the file
    #[arg(long)]
    pub(crate) force: bool,
    /// How far back logs are read for facts: 10m, 2h, 1d; of each log the last 8 MiB are taken [default: 15m]
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<String>,
    /// How long active probes may take together: 500ms, 5s
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub(crate) budget: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Text,
    /// See docs/report.schema.json
    Json,
    Markdown,
    /// One page that needs nothing else
    Html,
}

/// Print the page of a cause or a fault
///
/// Causes are what `clearway doctor` finds; faults are what Clearway records of its own traffic (`clearway calls`); rules are
/// what `clearway check` finds in configurations.
#[derive(Debug, Parser)]
pub(crate) struct Explain {
    /// The name of a cause, fault or rule, for example keepalive-race
    #[arg(value_name = "ID", required_unless_present = "list")]
    pub(crate) id: Option<String>,
    /// List all of them, each in one line
    #[arg(long, conflicts_with = "id")]
    pub(crate) list: bool,
}

/// List the times in which a service failed beyond its own past, with what was found to be the cause
///
/// An incident opens by itself when more requests of a service fail than usually do, is looked into while it lasts, and closes by
/// itself. Asks the running process; reads the data directory when none runs.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Incidents {
    #[command(subcommand)]
    pub(crate) command: Option<IncidentsCommand>,
    #[command(flatten)]
    pub(crate) list: IncidentsList,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IncidentsCommand {
    /// List incidents, newest first
    List(IncidentsList),
    /// Print one incident with its diagnosis
    Show(ShowIncident),
}

#[derive(Debug, Parser)]
pub(crate) struct IncidentsList {
    /// Only incidents of this service
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,
    /// Only those that last
    #[arg(long)]
    pub(crate) open: bool,
    /// Only those that lasted within this time: 10m, 2h, 1d
    #[arg(long, value_name = "DURATION")]
    pub(crate) since: Option<String>,
    /// At most so many [default: 50]
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<usize>,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

#[derive(Debug, Parser)]
pub(crate) struct ShowIncident {
    /// The id of the incident, as the list and the log have it
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) listing: Listing,
}

/// Replace the running process by a new one, without losing a request or a connection
///
/// The running process starts its program again, with the same arguments, environment and working directory: the new
/// version, if the file was replaced, and a new number of workers, if the configuration has one. It hands over its
/// listening sockets, what it has learned of targets, and the store; then it finishes what is in flight within the grace
/// time and ends. The command waits until the new process serves. If that one does not get so far, the old one goes on as
/// if nothing had happened, and the command says why.
#[derive(Debug, Parser)]
pub(crate) struct Upgrade {
    /// The data directory of the process
    #[arg(long, value_name = "DIR", default_value = "clearway-data")]
    pub(crate) data: PathBuf,
    /// How long the new process may take to get ready: 500ms, 2m
    #[arg(long, value_name = "DURATION", default_value = "60s")]
    pub(crate) timeout: String,
}

/// Manage the token of the management interface
///
/// The management interface gives what was served and what is served (/api/v1/calls, /api/v1/routes, /api/v1/upstreams)
/// to holders of the admin token, sent as `Authorization: Bearer TOKEN`. The first start makes it and prints it. Only a
/// hash of it is kept, so that it cannot be shown again. /healthz, /readyz, /metrics and this command line need none.
#[derive(Debug, Parser)]
pub(crate) struct AdminToken {
    #[command(subcommand)]
    pub(crate) command: AdminTokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AdminTokenCommand {
    Rotate(Rotate),
}

/// Make a new admin token and print it; every earlier one ends at once
///
/// Works while the process runs, and when it does not.
#[derive(Debug, Parser)]
pub(crate) struct Rotate {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = "clearway-data")]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Parser)]
pub(crate) struct Listing {
    /// How to print: for people, or one JSON document a line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// The data directory of the process
    #[arg(long, value_name = "DIR", default_value = "clearway-data")]
    pub(crate) data: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Human,
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds() {
        Args::command().debug_assert();
    }
}
