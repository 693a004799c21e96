//! Alarms of RabbitMQ, by `rabbitmqctl` where the doctor may run it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::{Evidence, Want};

use super::{Answer, Budget, probed, skipped};
use crate::discover::Scene;

/// The command starts a virtual machine of its own, which takes a second or two.
const WAIT: Duration = Duration::from_secs(4);

pub(super) fn probe(_scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let begun = Instant::now();
    let child = Command::new("rabbitmqctl")
        .args(["-q", "status"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return Answer {
            skipped: vec![skipped(want, "there is no rabbitmqctl here", "rabbitmqctl, and root")],
            ..Answer::default()
        };
    };
    let limit = budget.at_most(WAIT);
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break Some(status),
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                // It has gone, or goes now.
                let _ = child.kill();
                let _ = child.wait();
                break None;
            }
        }
    };
    let said = child
        .wait_with_output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    if !status.is_some_and(|status| status.success()) {
        return Answer {
            skipped: vec![skipped(want, "rabbitmqctl did not answer", "root, and a broker that answers")],
            ..Answer::default()
        };
    }
    let alarms = said
        .split("Alarms")
        .nth(1)
        .and_then(|rest| rest.split("\n\n").find(|part| !part.trim().is_empty()))
        .unwrap_or("");
    let yes = |word: &str| if alarms.to_ascii_lowercase().contains(word) { "yes" } else { "no" };
    let evidence = Evidence::new("rabbitmq.status")
        .with("memory-alarm", yes("memory"))
        .with("disk-alarm", yes("disk"))
        .text(format!("alarms of the broker: {}", alarms.trim().replace('\n', "; ")))
        .from("rabbitmqctl")
        .at(Place::Probe("rabbitmqctl status".to_owned()));
    Answer {
        evidence: vec![evidence],
        probed: vec![probed("rabbitmqctl status", "answered", begun)],
        ..Answer::default()
    }
}
