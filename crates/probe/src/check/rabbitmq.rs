//! Alarms of RabbitMQ, by `rabbitmqctl` where the doctor may run it.

use std::process::Command;
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::{Evidence, Want};

use super::{Answer, Budget, probed, program, skipped};
use crate::discover::Scene;

/// The command starts a virtual machine of its own, which takes a second or two.
const WAIT: Duration = Duration::from_secs(4);

pub(super) fn probe(_scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let begun = Instant::now();
    let mut command = Command::new("rabbitmqctl");
    let said = match program::run(command.args(["-q", "status"]), budget.at_most(WAIT)) {
        Ok(said) => said,
        Err(error) => {
            let needs = "rabbitmqctl, root, and a broker that answers";
            return Answer { skipped: vec![skipped(want, error, needs)], ..Answer::default() };
        }
    };
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
