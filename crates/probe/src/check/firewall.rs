//! Which rule of the packet filter counts up while a connection is tried.

use std::process::Command;
use std::time::{Duration, Instant};

use model::evidence::Place;
use model::{Evidence, Want};

use super::{Answer, Budget, probed, skipped, tcp};
use crate::discover::Scene;
use crate::host::sockets::Address;

/// One attempt: a drop is seen by its counter at once.
const WAIT: Duration = Duration::from_millis(700);
/// Programs that list rules with counters: the newer and the older tables.
const LISTS: &[&str] = &["iptables", "ip6tables", "iptables-legacy", "iptables-nft"];

/// A rule with its counter.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    place: String,
    text: String,
    verdict: &'static str,
    packets: u64,
}

pub(super) fn probe(_scene: &Scene, want: &Want, budget: &Budget) -> Answer {
    let Some(addr) = want.get("addr") else { return Answer::default() };
    let Some(Address::Inet(address)) = tcp::resolve(addr) else { return Answer::default() };
    let before = rules();
    if before.is_empty() {
        return Answer {
            skipped: vec![skipped(
                want,
                "the rules of the packet filter cannot be listed, or there are none",
                "root, and iptables or nft",
            )],
            ..Answer::default()
        };
    }
    let begun = Instant::now();
    let result = tcp::stream(address, budget.at_most(WAIT)).map(|_| ());
    let word = result.as_ref().map_or_else(tcp::word, |()| "open");
    let after = rules();
    let mut answer = Answer {
        probed: vec![probed(format!("connect {addr}, with the counters of the packet filter"), word, begun)],
        ..Answer::default()
    };
    for rule in &after {
        let was = before
            .iter()
            .find(|known| known.place == rule.place && known.text == rule.text)
            .map_or(0, |known| known.packets);
        let delta = rule.packets.saturating_sub(was);
        if delta == 0 || (result.is_ok() && rule.verdict != "accept") {
            continue;
        }
        answer.evidence.push(
            Evidence::new("firewall")
                .with("addr", addr)
                .with("verdict", rule.verdict)
                .with("rule", &rule.text)
                .with("delta", delta)
                .text(format!(
                    "{} counted {delta} packets while the doctor connected to {addr}: {}",
                    rule.place, rule.text
                ))
                .from("packet filter")
                .at(Place::Object(rule.place.clone())),
        );
    }
    if answer.evidence.is_empty() {
        answer.skipped.push(skipped(want, "no rule counted up", ""));
    }
    answer
}

fn rules() -> Vec<Rule> {
    let mut all = Vec::new();
    for program in LISTS {
        let Ok(said) = Command::new(format!("{program}-save")).arg("-c").output() else { continue };
        all.extend(saved(program, &String::from_utf8_lossy(&said.stdout)));
    }
    if let Ok(said) = Command::new("nft").args(["list", "ruleset"]).output() {
        all.extend(listed(&String::from_utf8_lossy(&said.stdout)));
    }
    all
}

/// Lines of `iptables-save -c`: `[3:180] -A INPUT -p tcp -m tcp --dport 8000 -j DROP`, and policies of chains.
fn saved(program: &str, text: &str) -> Vec<Rule> {
    let mut number = 0;
    text.lines()
        .filter_map(|line| {
            if let Some(chain) = line.strip_prefix(':') {
                let mut words = chain.split(' ');
                let (name, policy, counts) = (words.next()?, words.next()?, words.next()?);
                let verdict = verdict(policy)?;
                return Some(Rule {
                    place: format!("{program} {name}"),
                    text: format!("policy {policy}"),
                    verdict,
                    packets: packets(counts)?,
                });
            }
            let (counts, rule) = line.split_once(' ').filter(|(counts, _)| counts.starts_with('['))?;
            number += 1;
            let target = rule.split_once("-j ")?.1.split(' ').next()?;
            let chain = rule.split(' ').nth(1)?;
            Some(Rule {
                place: format!("{program} {chain} {number}"),
                text: rule.to_owned(),
                verdict: verdict(target)?,
                packets: packets(counts)?,
            })
        })
        .filter(|rule| rule.verdict != "accept")
        .collect()
}

fn packets(counts: &str) -> Option<u64> {
    counts.trim_matches(['[', ']']).split(':').next()?.parse().ok()
}

fn verdict(target: &str) -> Option<&'static str> {
    match target {
        "DROP" => Some("drop"),
        "REJECT" => Some("reject"),
        "ACCEPT" => Some("accept"),
        _ => None,
    }
}

/// Lines of `nft list ruleset` that have a counter.
fn listed(text: &str) -> Vec<Rule> {
    let mut chain = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("chain ") {
            name.trim_end_matches([' ', '{']).clone_into(&mut chain);
        }
        let Some((before, counted)) = line.split_once("counter packets ") else { continue };
        let Some(packets) = counted.split(' ').next().and_then(|packets| packets.parse().ok()) else {
            continue;
        };
        let after = counted.split(' ').skip(3).collect::<Vec<_>>().join(" ");
        let verdict = if after.contains("drop") {
            "drop"
        } else if after.contains("reject") {
            "reject"
        } else {
            continue;
        };
        found.push(Rule {
            place: format!("nft chain {chain}"),
            text: format!("{before}{after}"),
            verdict,
            packets,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_their_counters() {
        let text = "*filter\n:INPUT ACCEPT [9:720]\n:FORWARD DROP [0:0]\n[3:180] -A INPUT -p tcp -m tcp --dport 8000 -j DROP\n[1:60] -A INPUT -p tcp -m tcp --dport 8001 -j REJECT --reject-with tcp-reset\nCOMMIT\n";
        let shown: Vec<String> = saved("iptables", text)
            .iter()
            .map(|rule| format!("{} {} {}", rule.place, rule.verdict, rule.packets))
            .collect();
        assert_eq!(
            shown,
            ["iptables FORWARD drop 0", "iptables INPUT 1 drop 3", "iptables INPUT 2 reject 1"]
        );
        let nft = "table ip filter {\n\tchain input {\n\t\ttcp dport 8000 counter packets 4 bytes 240 drop\n\t}\n}\n";
        let rules = listed(nft);
        assert_eq!(
            (rules[0].place.as_str(), rules[0].text.as_str(), rules[0].packets),
            ("nft chain input", "tcp dport 8000 drop", 4)
        );
    }
}
