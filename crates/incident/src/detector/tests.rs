//! Seconds in, changes out; no clock.

use super::*;

/// A service over time: phases of so many seconds, with requests and failures in each second.
struct Story {
    detector: Detector,
    service: Arc<str>,
    second: u64,
    told: Vec<String>,
}

impl Story {
    fn new() -> Story {
        Story { detector: Detector::default(), service: "shop".into(), second: 0, told: Vec::new() }
    }

    fn phase(mut self, seconds: u64, requests: u64, failed: u64) -> Story {
        for _ in 0..seconds {
            (0..requests).for_each(|request| self.detector.observe(&self.service, request < failed));
            self.go_on();
        }
        self
    }

    /// One request every so many seconds.
    fn rare(mut self, requests: u64, every: u64, failed: bool) -> Story {
        for _ in 0..requests {
            self.detector.observe(&self.service, failed);
            (0..every).for_each(|_| self.go_on());
        }
        self
    }

    /// Failures by chance: each request fails with this probability.
    fn random(mut self, seconds: u64, requests: u64, share: f64) -> Story {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..seconds {
            for _ in 0..requests {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                self.detector.observe(&self.service, (state >> 11) as f64 / (1u64 << 53) as f64 <= share);
            }
            self.go_on();
        }
        self
    }

    fn go_on(&mut self) {
        self.second += 1;
        for change in self.detector.advance(self.second) {
            let Counts { requests, failed } = change.totals.counts;
            self.told.push(format!("{} s: {:?} {failed}/{requests}", self.second, change.what));
        }
    }

    #[track_caller]
    fn check(self, expected: &[&str]) -> Story {
        assert_eq!(self.told, expected);
        Story { told: Vec::new(), ..self }
    }
}

#[test]
fn an_outage_opens_within_the_window_and_closes_a_minute_after_its_end() {
    Story::new()
        .phase(300, 20, 0)
        .phase(30, 20, 20)
        .phase(90, 20, 0)
        .check(&["301 s: Opened { seconds_ago: 1 } 20/200", "399 s: Closed(Recovered) 600/2160"]);
}

#[test]
fn a_small_share_that_is_usual_opens_nothing() {
    Story::new().random(7_200, 50, 0.02).check(&[]);
    Story::new().random(7_200, 10, 0.01).check(&[]);
    Story::new().random(7_200, 200, 0.10).check(&[]);
    let mut known = Story::new();
    let counts = Counts { requests: 10_000, failed: 3_000 };
    known.detector.recall(&[Past { service: known.service.clone(), counts }]);
    known.random(7_200, 20, 0.30).check(&[]);
    // Not even where nothing is known of the past.
    Story::new().random(60, 100, 0.08).check(&[]);
}

#[test]
fn what_is_far_beyond_the_usual_opens_although_much_fails_always() {
    Story::new()
        .random(3_600, 50, 0.02)
        .phase(3, 50, 25)
        .check(&["3602 s: Opened { seconds_ago: 10 } 61/500"]);
    let mut known = Story::new();
    let counts = Counts { requests: 10_000, failed: 3_000 };
    known.detector.recall(&[Past { service: known.service.clone(), counts }]);
    known.random(600, 20, 0.30).phase(10, 20, 20).check(&["606 s: Opened { seconds_ago: 10 } 141/200"]);
}

#[test]
fn a_few_failures_are_an_accident() {
    Story::new().phase(600, 10, 0).phase(1, 4, 4).phase(600, 10, 0).check(&[]);
    Story::new().phase(600, 200, 0).phase(1, 200, 60).phase(600, 200, 0).check(&[]);
}

#[test]
fn a_service_that_never_worked_opens_at_once() {
    Story::new().phase(2, 5, 5).check(&["1 s: Opened { seconds_ago: 1 } 5/5"]);
}

#[test]
fn a_service_of_few_requests_is_looked_at_for_minutes() {
    Story::new().rare(120, 30, false).rare(6, 30, true).check(&["3751 s: Opened { seconds_ago: 31 } 2/2"]);
}

#[test]
fn what_flaps_is_one_incident() {
    Story::new()
        .phase(300, 20, 0)
        .phase(10, 20, 20)
        .phase(100, 20, 0)
        .phase(10, 20, 20)
        .phase(100, 20, 0)
        .phase(400, 20, 0)
        .phase(1, 20, 20)
        .check(&[
            "301 s: Opened { seconds_ago: 1 } 20/200",
            "379 s: Closed(Recovered) 200/1760",
            "411 s: Reopened 220/1960",
            "489 s: Closed(Recovered) 400/3520",
            "921 s: Opened { seconds_ago: 1 } 20/200",
        ]);
}

#[test]
fn an_incident_lasts_as_long_as_it_fails_and_its_time_is_not_the_past() {
    Story::new()
        .phase(300, 20, 0)
        .phase(20_000, 20, 10)
        .check(&["301 s: Opened { seconds_ago: 1 } 10/200"])
        .phase(400, 20, 0)
        .phase(5, 20, 10)
        .check(&["20369 s: Closed(Recovered) 200000/401560", "20701 s: Opened { seconds_ago: 1 } 10/200"]);
}

#[test]
fn without_requests_an_incident_closes_as_quiet() {
    let story = Story::new().phase(300, 20, 0).phase(2, 20, 20).phase(700, 0, 0);
    assert!(story.told[1].contains("Closed(Quiet)"), "{:?}", story.told);
    let mut detector = story.phase(400, 0, 0).detector;
    assert!(!detector.is_awake());
    detector.advance(10_000);
    assert!(detector.services.is_empty());
}

#[test]
fn the_next_process_goes_on_where_this_one_was() {
    let before = Story::new().random(600, 50, 0.04);
    let mut after = Story::new();
    after.detector.recall(&before.detector.pasts());
    // The same share that opened without a past is usual with it.
    Story::new().random(60, 50, 0.30).check(&["1 s: Opened { seconds_ago: 1 } 15/50"]);
    after.random(600, 50, 0.04).check(&[]);
    let mut resumed = Story::new();
    let totals = Totals { counts: Counts { requests: 9, failed: 9 }, peak_share: 1.0, usual_share: 0.01 };
    resumed.detector.resume(&resumed.service, totals);
    assert!(resumed.detector.is_awake());
    resumed.phase(70, 5, 0).check(&["61 s: Closed(Recovered) 9/314"]);
}
