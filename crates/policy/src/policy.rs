//! The ordered slot: which policies run, in which order, and what they may do.

use std::sync::Arc;

use model::Fault;
use model::gateway::Policy;
use wire::RequestHead;

use crate::Consumers;
use crate::{ai_key, api_key};

/// What a policy sees and may change.
#[derive(Debug)]
pub struct Subject<'a> {
    pub head: &'a mut RequestHead,
    pub consumers: &'a Consumers,
    /// Who calls, once a policy has found out.
    pub consumer: &'a mut Option<Arc<str>>,
    /// Whoever goes on with the request verifies signatures over its body ([`crate::aws_signature::verify`]).
    pub verifies_signatures: bool,
}

/// Why a request goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub fault: Fault,
    /// The value of `WWW-Authenticate` (RFC 9110 section 11.6.1) of a 401.
    pub challenge: Option<Box<str>>,
    /// For the record, never for the client.
    pub detail: &'static str,
}

/// The places in the order. A policy has one; two policies of one place run as they are written in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Who is it? First, because everything after may depend on the consumer.
    Authentication,
}

/// The policies of one route, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    ordered: Box<[Policy]>,
}

impl Policies {
    pub fn new(policies: &[Policy]) -> Policies {
        let mut ordered = policies.to_vec();
        ordered.sort_by_key(place);
        Policies { ordered: ordered.into() }
    }

    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }

    /// Runs them all; the first rejection ends it.
    pub fn on_request(&self, subject: &mut Subject<'_>) -> Result<(), Rejection> {
        self.ordered.iter().try_for_each(|policy| match policy {
            Policy::AiKey => ai_key::on_request(subject),
            Policy::ApiKey(settings) => api_key::on_request(settings, subject),
        })
    }
}

fn place(policy: &Policy) -> Place {
    match policy {
        Policy::AiKey | Policy::ApiKey(_) => Place::Authentication,
    }
}
