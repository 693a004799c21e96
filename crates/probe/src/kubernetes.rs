//! A cluster, by plain calls of its API: what stands between an Ingress and the pods behind it, how they ended, what happened
//! to them, and what the proxies among them log. Read only; nothing but GET is asked.

mod access;
mod api;
mod objects;
mod select;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use model::report::{Hop, HopState, Series, Skipped};
use model::{Evidence, Moment};
use serde_json::Value;

use crate::logs;
use crate::parse::{self, Lines};
use api::Api;

pub use access::AccessError;

/// Lines of one container's log.
const LOG_LINES: usize = 2_000;
/// Pods whose logs are read: those that failed come first.
const LOGS_MAX: usize = 12;

/// What to look at, and how to get there.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The address of the API, for example of `kubectl proxy`; else a kubeconfig, else the pod's own account.
    pub server: Option<String>,
    pub kubeconfig: Option<PathBuf>,
    pub namespace: Option<String>,
    /// A URL that an Ingress serves, or the name of a Service, Ingress, workload or pod; everything in the namespace without.
    pub target: Option<String>,
    pub since: Duration,
    pub now: Option<Moment>,
    pub budget: Duration,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Looked {
    pub target: String,
    pub chain: Vec<Hop>,
    pub evidence: Vec<Evidence>,
    pub series: Vec<Series>,
    pub skipped: Vec<Skipped>,
}

/// The lists that a diagnosis needs.
#[derive(Debug, Default)]
struct Lists {
    pods: Vec<Value>,
    services: Vec<Value>,
    slices: Vec<Value>,
    events: Vec<Value>,
    deployments: Vec<Value>,
    replica_sets: Vec<Value>,
    ingresses: Vec<Value>,
    policies: Vec<Value>,
}

/// Looks at a namespace. Fails where the API cannot be asked at all; a list that may not be read is skipped and said.
pub fn look(options: &Options) -> Result<Looked, AccessError> {
    let access = access::find(options)?;
    let namespace = options.namespace.clone().unwrap_or_else(|| access.namespace.clone());
    let deadline = Instant::now() + options.budget;
    let api = Api::new(access, deadline);
    let mut looked = Looked {
        target: options.target.clone().unwrap_or_else(|| format!("namespace {namespace}")),
        ..Looked::default()
    };
    let lists = lists(&api, &namespace, &mut looked)?;
    let chosen = select::choose(&lists, options.target.as_deref());
    looked.evidence.extend(objects::evidence(&lists, &chosen, options.now));
    looked.chain = chain(&looked.evidence);
    read_logs(&api, &namespace, &lists, &chosen, options, &mut looked);
    logs::align(&mut looked.evidence);
    Ok(looked)
}

fn lists(api: &Api, namespace: &str, looked: &mut Looked) -> Result<Lists, AccessError> {
    let core = format!("/api/v1/namespaces/{namespace}");
    // The first of them decides whether there is anybody to ask.
    let pods = api.list(&format!("{core}/pods"))?;
    let mut list = |path: String| match api.list(&path) {
        Ok(items) => items,
        Err(error) => {
            looked.skipped.push(Skipped {
                check: format!("GET {path}"),
                reason: error.to_string(),
                needs: "the right to list it".to_owned(),
            });
            Vec::new()
        }
    };
    Ok(Lists {
        pods,
        services: list(format!("{core}/services")),
        slices: list(format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")),
        events: list(format!("{core}/events")),
        deployments: list(format!("/apis/apps/v1/namespaces/{namespace}/deployments")),
        replica_sets: list(format!("/apis/apps/v1/namespaces/{namespace}/replicasets")),
        ingresses: list(format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses")),
        policies: list(format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies")),
    })
}

/// Ingress, Service, pods: in the order in which a request meets them.
fn chain(evidence: &[Evidence]) -> Vec<Hop> {
    let hop = |product: &str, item: &Evidence, address: &str, good: Option<bool>| Hop {
        product: product.to_owned(),
        version: None,
        address: address.to_owned(),
        detail: item.text.clone(),
        state: match good {
            Some(true) => HopState::Good,
            Some(false) => HopState::Broken,
            None => HopState::Unknown,
        },
        note: None,
    };
    let mut chain = Vec::new();
    for item in evidence.iter().filter(|item| item.kind == "k8s.ingress") {
        let address = format!("{}{}", item.get("host").unwrap_or("*"), item.get("uri").unwrap_or("/"));
        chain.push(hop("ingress", item, &address, None));
    }
    for item in evidence.iter().filter(|item| item.kind == "k8s.service") {
        let address = item.get("name").unwrap_or_default();
        chain.push(hop("service", item, address, Some(item.get("endpoints").is_some())));
    }
    for item in evidence.iter().filter(|item| item.kind == "k8s.pod") {
        let ready = item.get("ready") == Some("yes");
        chain.push(hop("pod", item, item.get("addr").or(item.get("name")).unwrap_or_default(), Some(ready)));
    }
    chain
}

/// The logs of the proxies in front, and of the chosen pods: those that restarted as they were before, too.
fn read_logs(
    api: &Api,
    namespace: &str,
    lists: &Lists,
    chosen: &select::Chosen<'_>,
    options: &Options,
    looked: &mut Looked,
) {
    let mut wanted: Vec<(String, String)> = Vec::new();
    for label in ["app.kubernetes.io/name=ingress-nginx", "app.kubernetes.io/name=envoy"] {
        let path = format!("/api/v1/pods?labelSelector={}", label.replace('/', "%2F").replace('=', "%3D"));
        for pod in api.list(&path).unwrap_or_default() {
            wanted.extend(log_paths(&pod, options, false));
        }
    }
    for pod in lists.pods.iter().filter(|pod| chosen.has_pod(pod)) {
        wanted.extend(log_paths(pod, options, objects::restarts(pod) > 0));
    }
    let left_out = wanted.len().saturating_sub(LOGS_MAX);
    if left_out > 0 {
        looked.skipped.push(Skipped {
            check: format!("{left_out} logs of pods in {namespace}"),
            reason: "enough logs were read".to_owned(),
            needs: "the name of a pod".to_owned(),
        });
    }
    for (shown, path) in wanted.into_iter().take(LOGS_MAX) {
        match api.text(&path) {
            Ok(text) => read_log(&shown, &text, options, looked),
            Err(error) => looked.skipped.push(Skipped {
                check: format!("the log of {shown}"),
                reason: error.to_string(),
                needs: "the right to get pods/log".to_owned(),
            }),
        }
    }
}

/// What to call a container's log, and where it is.
fn log_paths(pod: &Value, options: &Options, previous: bool) -> Vec<(String, String)> {
    let (name, namespace) = (objects::name(pod), objects::namespace(pod));
    let mut paths = Vec::new();
    for container in objects::containers(pod) {
        let container = container.get("name").and_then(Value::as_str).unwrap_or_default();
        let base = format!(
            "/api/v1/namespaces/{namespace}/pods/{name}/log?container={container}&tailLines={LOG_LINES}"
        );
        if previous {
            paths.push((
                format!("{namespace}/{name}/{container} (previous)"),
                format!("{base}&previous=true"),
            ));
        }
        let since = options.since.as_secs();
        paths.push((format!("{namespace}/{name}/{container}"), format!("{base}&sinceSeconds={since}")));
    }
    paths
}

fn read_log(shown: &str, text: &str, options: &Options, looked: &mut Looked) {
    let Some(format) = parse::sniff(shown, text) else { return };
    let lines = Lines { now: options.now, ..Lines::of(shown, text) };
    looked.evidence.extend(parse::read(format, &lines));
}
