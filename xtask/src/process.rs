//! Processes that a chore starts, and the promise that none of them outlives it: they are stopped by their id when
//! their owner is dropped, also after a failure or Ctrl-C.
//!
//! Nothing here knows what the processes do. A chore that is killed with SIGKILL cannot clean up; its children get
//! SIGTERM from the kernel then.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::usage;

/// How often a wait looks whether it is over, and whether somebody pressed Ctrl-C.
const POLL: Duration = Duration::from_millis(5);
/// What a server may take until it accepts: Envoy needs a second on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(20);
/// What a server may take to stop before it is killed.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_signal(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on SIGINT, SIGTERM and SIGHUP end the chore at its next wait, so that owners of processes are dropped.
pub(crate) fn catch_signals() {
    let handler: extern "C" fn(libc::c_int) = note_signal;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// An error once somebody asked the chore to stop.
pub(crate) fn check_interrupt() -> anyhow::Result<()> {
    if was_interrupted() { bail!("interrupted") } else { Ok(()) }
}

pub(crate) fn was_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Sleeps, unless the chore is interrupted.
pub(crate) fn pause(time: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    loop {
        check_interrupt()?;
        let Some(left) = end.checked_duration_since(Instant::now()) else { return Ok(()) };
        std::thread::sleep(left.min(POLL));
    }
}

/// Prefers this thread to the load generator and the backend, where we may; processes that it starts inherit that.
pub(crate) fn hurry() {
    // SAFETY: setpriority touches no memory of ours; on Linux, 0 is the calling thread alone.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -15) };
}

/// Allows as many open files as the system lets us, for us and for all we start. Returns how many that is.
pub(crate) fn raise_file_limit() -> anyhow::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error()).context("failed to read the limit of open files");
    }
    // Some systems allow a billion, and software that prepares a table of that size does not start.
    limit.rlim_cur = limit.rlim_max.min(65_536);
    // SAFETY: the pointer is to a live rlimit.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error()).context("failed to raise the limit of open files");
    }
    Ok(limit.rlim_cur)
}

/// Ports of 127.0.0.1 that are free now. They are all held until all are known, so that they differ.
pub(crate) fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to get a free port")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// A process with everything it started. Dropping it stops them all.
pub(crate) struct Process {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints goes to the file `output`.
    pub(crate) fn start(name: &str, command: &mut Command, output: PathBuf) -> anyhow::Result<Self> {
        let file = File::create(&output).with_context(|| format!("failed to create {}", output.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Self { name: name.to_owned(), child: spawn(command)?, output })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it accepts connections on `port`.
    pub(crate) fn wait_for_port(&mut self, port: u16) -> anyhow::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let end = Instant::now() + START_TIME_MAX;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} did not start ({status}): {}", self.name, self.last_words());
            }
            if Instant::now() > end {
                bail!("{} does not accept on {address}: {}", self.name, self.last_words());
            }
            pause(POLL)?;
        }
        Ok(())
    }

    /// Ends it and all it started at once, without a chance to clean up.
    pub(crate) fn kill(mut self) {
        for member in usage::tree(self.child.id()) {
            signal(member.pid, libc::SIGKILL);
        }
        // It was told to end; whether it has is all that is asked.
        let _ = self.child.wait();
    }

    /// What it printed last.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read(&self.output).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        stop(&mut self.child);
    }
}

/// A load generator that ran to its end: what it printed.
pub(crate) fn run_tool(command: &mut Command, time_max: Duration, folder: &Path) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    // A file and not a pipe: nobody reads while the tool runs.
    let path = folder.join("tool.out");
    let file = File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let mut tool = Tool(spawn(command)?);
    let end = Instant::now() + time_max;
    let status = loop {
        check_interrupt()?;
        if let Some(status) = tool.0.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            bail!("{name} did not end within {} s", time_max.as_secs());
        }
        std::thread::sleep(POLL);
    };
    let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
    if !status.success() {
        bail!("{name} failed ({status}): {}", text.trim());
    }
    Ok(text)
}

/// Stops the child when it is dropped; where its output goes is not its matter.
pub(crate) struct Tool(pub(super) Child);

impl Drop for Tool {
    fn drop(&mut self) {
        stop(&mut self.0);
    }
}

/// Starts a process in a group of its own, so that Ctrl-C reaches only us, and we stop it when we have measured.
pub(crate) fn spawn(command: &mut Command) -> anyhow::Result<Child> {
    let name = command.get_program().to_owned();
    command.process_group(0);
    // SAFETY: prctl is async-signal-safe and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            Ok(())
        });
    }
    command.spawn().with_context(|| format!("failed to start {}", name.to_string_lossy()))
}

/// Asks the process to stop, waits, and kills whatever of its tree is left.
fn stop(child: &mut Child) {
    if matches!(child.try_wait(), Ok(Some(_))) {
        return;
    }
    let tree = usage::tree(child.id());
    signal(child.id(), libc::SIGTERM);
    let end = Instant::now() + STOP_TIME_MAX;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            break;
        }
        std::thread::sleep(POLL);
    }
    for member in tree.iter().filter(|member| usage::is_alive(member)) {
        signal(member.pid, libc::SIGKILL);
    }
}

pub(crate) fn signal(pid: u32, signal: libc::c_int) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: kill touches no memory of ours.
        unsafe { libc::kill(pid, signal) };
    }
}

/// The output of a command that ends at once, both streams joined: versions are printed to either.
pub(crate) fn answer_of(program: impl AsRef<OsStr>, arguments: &[&str]) -> anyhow::Result<String> {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("failed to start {}", program.to_string_lossy()))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    if !output.status.success() {
        bail!("{} {} failed: {text}", program.to_string_lossy(), arguments.join(" "));
    }
    Ok(text)
}

/// The machine in words: kernel, CPU and its cores.
pub(crate) fn system() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("Linux {}, {} ({cores} cores)", kernel.trim(), cpu_model())
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(':')).map_or("unknown CPU", |(_, model)| model.trim());
    model.to_owned()
}
