//! The man page: one page for all commands, made from the definition of the command line, with what the definition does
//! not know.

use std::io;

use clap::{Arg, ArgAction, Command, CommandFactory};
use clap_mangen::Man;

use crate::args::Args;

/// What stands behind the commands, in roff.
const AFTER: &str = r#".SH SIGNALS
.TP
\fBSIGHUP\fR
Read the configuration and the certificates again, and open the log file again. A configuration that does not hold is
reported with all its problems, and the last good one goes on serving.
.TP
\fBSIGUSR2\fR
Hand over to a new process, as \fBclearway upgrade\fR does. What becomes of it is said on standard error.
.TP
\fBSIGTERM\fR, \fBSIGINT\fR
Stop accepting, finish what is in flight within the grace time, write what is recorded, and exit with 0. A second one
ends the process at once, with 1.
.SH "EXIT STATUS"
.TP
\fB0\fR
All is well.
.TP
\fB1\fR
Something failed, and standard error says what.
.TP
\fB2\fR
The command line was not understood.
.SH ENVIRONMENT
.TP
\fBNOTIFY_SOCKET\fR
Where the service manager is told when the process is ready, reloads, hands over and stops; see sd_notify(3).
.TP
\fBLISTEN_FDS\fR, \fBLISTEN_PID\fR, \fBLISTEN_FDNAMES\fR
Sockets that the service manager has bound; see sd_listen_fds(3). Each serves the listener with its address.
.SH FILES
.TP
\fIclearway.yaml\fR
The configuration that is read when nothing else is named. docs/configuration.md describes every key.
.TP
\fIclearway\-data/\fR
The data directory: the database of identities, the records (one file per day), the control socket, and the lock of the
process that owns it.
"#;

/// Writes the page.
pub(crate) fn write(out: &mut Vec<u8>) -> io::Result<()> {
    let mut command = Args::command();
    command.build();
    let page = Man::new(command.clone());
    page.render_title(out)?;
    page.render_name_section(out)?;
    out.extend_from_slice(b".SH SYNOPSIS\n");
    for subcommand in below(&command) {
        synopsis(out, subcommand);
    }
    page.render_description_section(out)?;
    for subcommand in below(&command) {
        section(out, subcommand)?;
        for below in below(subcommand) {
            section(out, below)?;
        }
    }
    out.extend_from_slice(AFTER.as_bytes());
    Ok(())
}

/// The commands of a command that are worth a place of their own.
fn below(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

/// A line per way to call a command: by itself, and with each command of its own.
fn synopsis(out: &mut Vec<u8>, command: &Command) {
    if command.is_subcommand_required_set() {
        return below(command).for_each(|command| synopsis(out, command));
    }
    let mut line = format!("\\fB{}\\fR", command.get_bin_name().unwrap_or(command.get_name()));
    let is_help = |argument: &Arg| argument.get_id() == "help";
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) = command
        .get_arguments()
        .filter(|argument| !is_help(argument))
        .partition(|argument| argument.is_positional());
    for argument in options.into_iter().chain(positional) {
        line.push(' ');
        line.push_str(&usage(argument));
    }
    out.extend_from_slice(line.replace('-', "\\-").as_bytes());
    out.extend_from_slice(b"\n.br\n");
    below(command).for_each(|command| synopsis(out, command));
}

/// `[--to URL]`, `[FILE|DIR]...`, `ID`.
fn usage(argument: &Arg) -> String {
    let flag = argument.get_long().map(|long| format!("\\fB--{long}\\fR"));
    let takes_value = argument.get_action().takes_values();
    let values = argument.get_value_names().filter(|_| takes_value).unwrap_or_default();
    let values = values.iter().map(|value| format!("\\fI{value}\\fR"));
    let words: Vec<String> = flag.into_iter().chain(values).collect();
    let text = words.join(" ");
    let text = if argument.is_required_set() { text } else { format!("[{text}]") };
    let is_several = matches!(argument.get_action(), ArgAction::Append);
    if is_several { format!("{text}...") } else { text }
}

/// One command: its name as the heading, then what is known of it.
fn section(out: &mut Vec<u8>, command: &Command) -> io::Result<()> {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_uppercase();
    out.extend_from_slice(format!(".SH \"{name}\"\n").as_bytes());
    let page = Man::new(command.clone());
    synopsis(out, command);
    out.extend_from_slice(b".PP\n");
    without_heading(out, |text| page.render_description_section(text))?;
    without_heading(out, |text| page.render_options_section(text))
}

/// A section of another page without its own heading, and without the lines that would set up a page again.
fn without_heading(
    out: &mut Vec<u8>,
    render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut text = Vec::new();
    render(&mut text)?;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(b".SH") && !line.starts_with(b".ie") && !line.starts_with(b".el") {
            out.extend_from_slice(line);
        }
    }
    Ok(())
}
