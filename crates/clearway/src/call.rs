//! A call as its JSON says it: what the command line prints for people is made from the same document that it prints
//! for programs.

use serde::Deserialize;

/// One exchange. The names are those of the log line.
#[derive(Debug, Deserialize)]
pub(crate) struct Call {
    pub(crate) time: String,
    pub(crate) id: String,
    pub(crate) listener: String,
    pub(crate) client: Option<String>,
    pub(crate) protocol: String,
    pub(crate) tls: bool,
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) service: Option<String>,
    pub(crate) route: Option<String>,
    pub(crate) consumer: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) status: u16,
    pub(crate) ending: Ending,
    pub(crate) detail: Option<String>,
    pub(crate) request_body_bytes: u64,
    pub(crate) response_body_bytes: u64,
    pub(crate) duration_us: u64,
    pub(crate) head_us: u64,
    pub(crate) body_us: Option<u64>,
    pub(crate) response_us: Option<u64>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) ai: Option<Ai>,
}

/// What it was as a call of an AI model.
#[derive(Debug, Deserialize)]
pub(crate) struct Ai {
    pub(crate) asked: String,
    pub(crate) provider: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) usage_is_estimated: bool,
    pub(crate) cost_nanodollars: Option<u64>,
    pub(crate) first_content_us: Option<u64>,
    pub(crate) losses: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Ending {
    pub(crate) by: String,
    pub(crate) during: String,
    pub(crate) fault: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) upstream: String,
    pub(crate) target: String,
    pub(crate) address: Option<String>,
    pub(crate) started_us: u64,
    pub(crate) why: Option<String>,
    pub(crate) waited_us: Option<u64>,
    pub(crate) reuse_requests: Option<u64>,
    pub(crate) reuse_idle_us: Option<u64>,
    pub(crate) resolve_us: Option<u64>,
    pub(crate) connect_us: Option<u64>,
    pub(crate) tls_us: Option<u64>,
    pub(crate) send_us: Option<u64>,
    pub(crate) head_us: Option<u64>,
    pub(crate) total_us: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_acked: Option<u64>,
    pub(crate) status: Option<u16>,
    pub(crate) ending: Ending,
    pub(crate) peer_end: Option<String>,
    pub(crate) errno: Option<i32>,
    pub(crate) tls_alert: Option<u8>,
    pub(crate) limit: Option<Limit>,
    pub(crate) detail: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Limit {
    pub(crate) name: String,
    pub(crate) max: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_us: Option<u64>,
}
