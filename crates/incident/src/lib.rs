//! When a service fails beyond its own past: the rule by which an incident opens, and the one by which it closes. Pure: it is
//! told what was counted and which second it is; it knows no exchange, no clock and no cause.
//!
//! # The rule
//!
//! What counts as failed is for the caller to say; here it is a share of requests.
//!
//! **The usual share** of a service is what failed in its last hour, without the last five minutes and without the time of its
//! incidents: a past that holds the present would excuse it. It is taken from above, for few requests prove little: 0 of 60 is
//! "at most 5 %" (the rule of three), 0 of 6,000 "at most 0.05 %". Of a service with fewer than 50 requests in its past nothing
//! is known; it is taken to fail in 5 %.
//!
//! **An incident opens** when, in the last 10 seconds, all of this holds:
//!
//! - 5 requests failed, or more. One failure is an accident, and who looks at a page of five sees a pattern.
//! - They are 5 % of the requests or more: below that, retries of clients make it up, and people are not woken for it.
//! - They are four times the usual share, or halfway from there to everything where that is less: a service that always fails in 30 %
//!   cannot fail in 120 %.
//! - They are more than chance makes of the usual share: expected failures, plus five times their square root, plus 3. With
//!   ten requests a second that fail in 1 %, a window of 10 seconds holds five failures by chance once an hour; nine, never.
//!
//! A service of few requests may not see five of them in 10 seconds. For it the same is asked of the last five minutes, with
//! half of the requests failed.
//!
//! **It closes** when for a minute the rule for opening has not held, no more than twice the usual share has failed, or half of the
//! 5 % where that is more, and something went well: about 70 seconds after the last of many failures. The gap to the opening rule keeps it from going to and fro; a minute is longer than most checks and
//! restarts of what is broken take to fail again. Without any request for ten minutes nothing is known any more, and it closes
//! as quiet.
//!
//! **It opens again**, as the same incident, when the rule for opening holds within five minutes from its end: what flaps is one
//! thing that happened.

mod counts;
mod detector;

pub use counts::Counts;
pub use detector::{Change, Closing, Detector, Past, Totals, What};
