//! The loop of a diagnosis: judge, ask for the evidence that would tell more, judge again, until it is clear, nobody can tell
//! more, or the time is up.

use std::collections::BTreeSet;

use doctor::{Catalogue, Diagnosis, diagnose};
use model::report::{Probed, Skipped};
use model::{Evidence, Want};

use super::assemble::Seen;

/// Evidence that is asked for in one round, before it is judged again: so that the likeliest cause's comes first and a clear
/// case ends early.
const ROUND_MAX: usize = 4;
/// Rounds of one diagnosis; each asks for something that was not asked before.
const ROUNDS_MAX: usize = 32;

/// Whoever can come by evidence.
pub(crate) trait Eyes {
    /// What there is to say to each of these; they are looked for side by side.
    fn look(&mut self, wants: &[Want]) -> Vec<Look>;
    /// Whether there is still time for this; what needs no waiting always has it.
    fn has_time_for(&self, want: &Want) -> bool;
}

/// The answer to one wish.
#[derive(Debug, Default)]
pub(crate) struct Look {
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) probes: Vec<Probed>,
}

/// Judges what was seen, and looks further with `eyes`, if there are any: for `first` in any case, then for what would tell
/// more. What is seen is added. `now` says that it is about the present.
pub(crate) fn investigate(
    seen: &mut Seen,
    eyes: Option<&mut dyn Eyes>,
    first: &[Want],
    now: bool,
) -> Diagnosis {
    let present = if now { seen.made } else { None };
    let mut diagnosis = diagnose(Catalogue::causes(), &seen.evidence, present);
    let Some(eyes) = eyes else { return diagnosis };
    let mut asked: BTreeSet<Want> = BTreeSet::new();
    for number in 0..ROUNDS_MAX {
        let wanted = if number == 0 { first } else { &diagnosis.wanted };
        let round: Vec<Want> =
            wanted.iter().filter(|want| !asked.contains(*want)).take(ROUND_MAX).cloned().collect();
        if round.is_empty() && number > 0 {
            break;
        }
        asked.extend(round.iter().cloned());
        let (now, never): (Vec<Want>, Vec<Want>) =
            round.into_iter().partition(|want| eyes.has_time_for(want));
        seen.skipped.extend(never.iter().map(|want| Skipped {
            check: want.to_string(),
            reason: "the time for probes was up".to_owned(),
            needs: "a larger --budget".to_owned(),
        }));
        for look in eyes.look(&now) {
            seen.evidence.extend(look.evidence);
            seen.skipped.extend(look.skipped);
            seen.probes.extend(look.probes);
        }
        diagnosis = diagnose(Catalogue::causes(), &seen.evidence, present);
    }
    diagnosis
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows one line of evidence, and counts what it is asked.
    struct One {
        asked: Vec<String>,
        patience: usize,
    }

    impl Eyes for One {
        fn look(&mut self, wants: &[Want]) -> Vec<Look> {
            let one = |want: &Want| {
                let evidence = (want.kind == "target").then(|| {
                    "target addr=127.0.0.1:8000 listening=no source=sockets".parse().expect("evidence")
                });
                Look { evidence: evidence.into_iter().collect(), ..Look::default() }
            };
            self.asked.extend(wants.iter().map(ToString::to_string));
            wants.iter().map(one).collect()
        }

        fn has_time_for(&self, _want: &Want) -> bool {
            self.asked.len() < self.patience
        }
    }

    fn refused() -> Seen {
        let line = "failure proxy=nginx phase=connect how=refused upstream=127.0.0.1:8000 source=nginx";
        Seen { evidence: vec![line.parse().expect("evidence")], ..Seen::default() }
    }

    #[test]
    fn what_would_tell_more_is_asked_for_once() {
        let mut eyes = One { asked: Vec::new(), patience: usize::MAX };
        let diagnosis = investigate(&mut refused(), Some(&mut eyes), &[], true);
        assert_eq!(diagnosis.findings[0].cause, "upstream-not-running");
        assert!(eyes.asked.contains(&"target addr=127.0.0.1:8000".to_owned()), "{:?}", eyes.asked);
        let once: BTreeSet<&String> = eyes.asked.iter().collect();
        assert_eq!(once.len(), eyes.asked.len());
    }

    #[test]
    fn when_the_time_is_up_the_rest_is_skipped_and_said() {
        let mut eyes = One { asked: Vec::new(), patience: 0 };
        let mut seen = refused();
        let diagnosis = investigate(&mut seen, Some(&mut eyes), &[], true);
        assert!(eyes.asked.is_empty());
        assert!(diagnosis.findings[0].confidence < 0.8);
        assert!(seen.skipped.iter().any(|skipped| skipped.needs == "a larger --budget"));
    }
}
