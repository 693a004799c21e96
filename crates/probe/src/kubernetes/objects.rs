//! Objects of the API as evidence.

use model::evidence::Place;
use model::{Evidence, Moment};
use serde_json::Value;

use super::Lists;
use super::select::{Chosen, backends};

/// Events that are told: a namespace keeps an hour of them.
const EVENTS_MAX: usize = 200;

pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

pub(super) fn name(value: &Value) -> &str {
    text(value, "/metadata/name").unwrap_or_default()
}

pub(super) fn namespace(value: &Value) -> &str {
    text(value, "/metadata/namespace").unwrap_or("default")
}

fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer)?.as_i64()
}

fn moment(value: &Value, pointer: &str) -> Option<Moment> {
    text(value, pointer)?.parse().ok()
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

pub(super) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    items(pod, "/spec/containers")
}

pub(super) fn restarts(pod: &Value) -> i64 {
    items(pod, "/status/containerStatuses").filter_map(|status| number(status, "/restartCount")).sum()
}

/// Whether a Service's selector matches a pod; one without a selector matches none.
pub(super) fn selects(service: &Value, pod: &Value) -> bool {
    matches(service.pointer("/spec/selector"), pod, false)
}

/// Whether all labels of a selector are the pod's.
fn matches(selector: Option<&Value>, pod: &Value, of_none: bool) -> bool {
    let Some(selector) = selector.and_then(Value::as_object).filter(|selector| !selector.is_empty()) else {
        return of_none;
    };
    selector
        .iter()
        .all(|(key, value)| pod.pointer("/metadata/labels").and_then(|labels| labels.get(key)) == Some(value))
}

pub(super) fn evidence(lists: &Lists, chosen: &Chosen<'_>, now: Option<Moment>) -> Vec<Evidence> {
    let mut evidence = vec![
        Evidence::new("read")
            .with("what", "containers")
            .text(format!("{} pods were looked at", lists.pods.len()))
            .from("Kubernetes API")
            .at(Place::Object("pods".to_owned())),
    ];
    for ingress in &chosen.ingresses {
        evidence.extend(of_ingress(ingress));
    }
    for service in &chosen.services {
        evidence.extend(of_service(lists, service));
    }
    let pods = || lists.pods.iter().filter(|pod| chosen.has_pod(pod));
    for pod in pods() {
        evidence.extend(of_pod(chosen, pod, now));
        evidence.extend(policies(lists, chosen, pod));
    }
    for deployment in &lists.deployments {
        let template = deployment.pointer("/spec/selector/matchLabels");
        if pods().any(|pod| matches(template, pod, false)) {
            evidence.push(of_workload(lists, deployment, now));
        }
    }
    let mut events: Vec<Evidence> = lists.events.iter().map(of_event).collect();
    events.sort_by_key(|event| event.time);
    let surplus = events.len().saturating_sub(EVENTS_MAX);
    evidence.extend(events.into_iter().skip(surplus));
    evidence
}

fn seen(kind: &'static str, object: &str, value: &Value) -> Evidence {
    Evidence::new(kind)
        .with("name", name(value))
        .with("namespace", namespace(value))
        .from("Kubernetes API")
        .at(Place::Object(format!("{object}/{}/{}", namespace(value), name(value))))
}

fn of_ingress(ingress: &Value) -> Vec<Evidence> {
    let one = |(host, path, service): (String, String, String)| {
        let words = format!("{host}{path} goes to the service {service}");
        seen("k8s.ingress", "ingress", ingress)
            .with_some("host", Some(host).filter(|host| !host.is_empty()))
            .with("uri", path)
            .with("service", service)
            .with_some("class", text(ingress, "/spec/ingressClassName"))
            .text(words)
    };
    backends(ingress).into_iter().map(one).collect()
}

/// Each port of a Service with the addresses behind it.
fn of_service(lists: &Lists, service: &Value) -> Vec<Evidence> {
    let pods: Vec<&Value> = lists.pods.iter().filter(|pod| selects(service, pod)).collect();
    let slices = || {
        lists.slices.iter().filter(|slice| {
            slice.pointer("/metadata/labels/kubernetes.io~1service-name").and_then(Value::as_str)
                == Some(name(service))
        })
    };
    let selector = service.pointer("/spec/selector").and_then(Value::as_object);
    let selector = selector.map(|labels| {
        let pairs = labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
        pairs.collect::<Vec<_>>().join(",")
    });
    let one = |port: &Value| {
        let wanted = target_port(port);
        let (mut ready, mut not_ready) = (Vec::new(), 0);
        for slice in slices() {
            let number = items(slice, "/ports").find_map(|own| {
                (text(own, "/name").unwrap_or_default() == text(port, "/name").unwrap_or_default())
                    .then(|| number(own, "/port"))
                    .flatten()
            });
            for endpoint in items(slice, "/endpoints") {
                let is_ready = endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
                for address in items(endpoint, "/addresses").filter_map(Value::as_str) {
                    match (is_ready, number) {
                        (true, Some(number)) => ready.push(format!("{address}:{number}")),
                        (true, None) => ready.push(address.to_owned()),
                        (false, _) => not_ready += 1,
                    }
                }
            }
        }
        let declared = pods.iter().filter(|pod| container_ports(pod).next().is_some()).count();
        let open = pods.iter().any(|pod| resolved(pod, &wanted).is_some_and(|(_, declared)| declared));
        let words = match (ready.len(), not_ready) {
            (0, 0) => "has no endpoint".to_owned(),
            (0, count) => format!("has no endpoint that is ready, and {count} that are not"),
            (count, 0) => format!("has {count} endpoints"),
            (count, other) => format!("has {count} endpoints, and {other} that are not ready"),
        };
        seen("k8s.service", "service", service)
            .with_some("port", number(port, "/port"))
            .with("target-port", &wanted)
            .with_some("selector", selector.as_ref())
            .with_some("endpoints", Some(ready.join(" ")).filter(|ready| !ready.is_empty()))
            .with("not-ready", not_ready)
            .with("matches", pods.len())
            .with_some("port-open", (declared > 0 && !open).then_some("no"))
            .text(format!("service {}: targetPort {wanted}, {words}", name(service)))
    };
    items(service, "/spec/ports").map(one).collect()
}

/// A number or a name; without one it is the port itself.
fn target_port(port: &Value) -> String {
    match port.pointer("/targetPort") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => number(port, "/port").map(|port| port.to_string()).unwrap_or_default(),
    }
}

fn container_ports(pod: &Value) -> impl Iterator<Item = &Value> {
    containers(pod).flat_map(|container| items(container, "/ports"))
}

/// The number of a target port in a pod, and whether a container declares it.
fn resolved(pod: &Value, wanted: &str) -> Option<(i64, bool)> {
    if let Ok(number) = wanted.parse::<i64>() {
        let declared = container_ports(pod).any(|port| self::number(port, "/containerPort") == Some(number));
        return Some((number, declared));
    }
    let port = container_ports(pod).find(|port| text(port, "/name") == Some(wanted))?;
    Some((number(port, "/containerPort")?, true))
}

/// A pod, once for each port that it is reached at.
fn of_pod(chosen: &Chosen<'_>, pod: &Value, now: Option<Moment>) -> Vec<Evidence> {
    let ip = text(pod, "/status/podIP");
    let mut reached: Vec<(Option<String>, Option<&str>)> = Vec::new();
    for service in chosen.services.iter().filter(|service| selects(service, pod)) {
        for port in items(service, "/spec/ports") {
            let number = resolved(pod, &target_port(port)).map(|(number, _)| number);
            let address = ip.zip(number).map(|(ip, number)| format!("{ip}:{number}"));
            reached.push((address, Some(name(service))));
        }
    }
    if reached.is_empty() {
        let number = container_ports(pod).find_map(|port| number(port, "/containerPort"));
        reached.push((ip.zip(number).map(|(ip, number)| format!("{ip}:{number}")), None));
    }
    let base = pod_fields(pod, now);
    let one = |(address, service): (Option<String>, Option<&str>)| {
        base.clone().with_some("addr", address).with_some("service", service)
    };
    reached.into_iter().map(one).collect()
}

fn pod_fields(pod: &Value, now: Option<Moment>) -> Evidence {
    let statuses: Vec<&Value> = items(pod, "/status/containerStatuses").collect();
    let ready = items(pod, "/status/conditions").find(|condition| text(condition, "/type") == Some("Ready"));
    let is_ready = ready.and_then(|ready| text(ready, "/status")) == Some("True");
    let waiting = statuses.iter().find_map(|status| text(status, "/state/waiting/reason"));
    let ended = |pointer: &str| {
        ["/lastState/terminated", "/state/terminated"].iter().find_map(|state| {
            statuses.iter().find_map(|status| status.pointer(&format!("{state}{pointer}")).cloned())
        })
    };
    let reason = ended("/reason").and_then(|reason| reason.as_str().map(str::to_owned));
    let exit = ended("/exitCode").and_then(|code| code.as_i64());
    let terminating = text(pod, "/metadata/deletionTimestamp").is_some();
    let state = match (terminating, waiting, text(pod, "/status/phase")) {
        (true, _, _) => "terminating",
        (_, Some(_), _) => "waiting",
        (_, _, Some("Running")) => "running",
        (_, _, Some("Succeeded" | "Failed")) => "terminated",
        _ => "waiting",
    };
    let has = |pointer: &str| containers(pod).any(|container| container.pointer(pointer).is_some());
    let started = statuses.iter().find_map(|status| moment(status, "/state/running/startedAt"));
    let ready_since = ready.filter(|_| is_ready).and_then(|ready| moment(ready, "/lastTransitionTime"));
    let created = moment(pod, "/metadata/creationTimestamp");
    let words = format!(
        "pod {} is {}{}{}",
        name(pod),
        if is_ready { "ready".to_owned() } else { format!("not ready ({state})") },
        waiting.map(|waiting| format!(", {waiting}")).unwrap_or_default(),
        reason
            .as_ref()
            .map(|r| format!(", ended before: {r} ({})", exit.unwrap_or_default()))
            .unwrap_or_default(),
    );
    let listens: Vec<String> = container_ports(pod)
        .filter_map(|port| number(port, "/containerPort"))
        .map(|n| n.to_string())
        .collect();
    let command: Vec<&str> = containers(pod)
        .flat_map(|container| items(container, "/command").chain(items(container, "/args")))
        .filter_map(Value::as_str)
        .collect();
    seen("k8s.pod", "pod", pod)
        .with("ready", yes(is_ready))
        .with_some("phase", text(pod, "/status/phase"))
        .with("restarts", restarts(pod))
        .with_some("age", now.zip(created).map(|(now, created)| now.seconds_since(created).max(0.0)))
        .with_some("reason", reason)
        .with_some("exit-code", exit)
        .with("state", state)
        .with_some("waiting", waiting)
        .with("readiness", yes(has("/readinessProbe")))
        .with("startup", yes(has("/startupProbe")))
        .with("liveness", yes(has("/livenessProbe")))
        .with("pre-stop", yes(has("/lifecycle/preStop")))
        .with_some("grace", number(pod, "/spec/terminationGracePeriodSeconds"))
        .with_some("shell", command.first().map(|first| yes(is_deaf_shell(first, &command))))
        .with_some("image", containers(pod).find_map(|container| text(container, "/image")))
        .with_some("node", text(pod, "/spec/nodeName"))
        .with_some("owner", text(pod, "/metadata/ownerReferences/0/name"))
        .with_some("listens", Some(listens.join(" ")).filter(|listens| !listens.is_empty()))
        .with_some("bind-loopback", binds_loopback(&command).then_some("yes"))
        .with_some(
            "ready-after",
            ready_since.zip(started).map(|(ready, started)| ready.seconds_since(started)),
        )
        .text(words)
}

/// A shell as process 1 that does not become its command: it does not pass signals on.
fn is_deaf_shell(first: &str, command: &[&str]) -> bool {
    let shell = matches!(first.rsplit('/').next(), Some("sh" | "bash" | "ash" | "dash"));
    shell
        && command.contains(&"-c")
        && !command.iter().any(|word| word.trim_start().starts_with("exec ") || word.contains("&& exec "))
}

/// A bind address of the command line that nobody outside of the pod reaches.
fn binds_loopback(command: &[&str]) -> bool {
    let words: Vec<&str> = command.iter().flat_map(|word| word.split_whitespace()).collect();
    let is_loopback = |value: &str| value.starts_with("127.0.0.1") || value.starts_with("localhost");
    words.iter().enumerate().any(|(index, word)| {
        let (option, value) = word.split_once('=').unwrap_or((word, ""));
        let value = if value.is_empty() { words.get(index + 1).copied().unwrap_or("") } else { value };
        matches!(option, "-b" | "--bind" | "--host" | "-h") && is_loopback(value)
    })
}

fn of_workload(lists: &Lists, deployment: &Value, now: Option<Moment>) -> Evidence {
    let replicas = number(deployment, "/spec/replicas").unwrap_or(1);
    let count = |pointer: &str| number(deployment, pointer).unwrap_or(0);
    let available = count("/status/availableReplicas");
    let updated = count("/status/updatedReplicas");
    let rolling = updated < replicas || count("/status/replicas") > replicas;
    let newest = lists
        .replica_sets
        .iter()
        .filter(|set| text(set, "/metadata/ownerReferences/0/name") == Some(name(deployment)))
        .filter_map(|set| moment(set, "/metadata/creationTimestamp"))
        .max();
    let share = |pointer: &str| match deployment.pointer(pointer) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    seen("k8s.workload", "deployment", deployment)
        .with("replicas", replicas)
        .with("available", available)
        .with_some("max-unavailable", share("/spec/strategy/rollingUpdate/maxUnavailable"))
        .with_some("max-surge", share("/spec/strategy/rollingUpdate/maxSurge"))
        .with_some("strategy", text(deployment, "/spec/strategy/type"))
        .with_some("age", now.zip(newest).map(|(now, newest)| now.seconds_since(newest).max(0.0)))
        .with("rolling", yes(rolling))
        .text(format!(
            "deployment {}: {available} of {replicas} replicas available, {updated} of the newest revision",
            name(deployment)
        ))
}

fn of_event(event: &Value) -> Evidence {
    let object = format!(
        "{}/{}",
        text(event, "/involvedObject/kind").or(text(event, "/regarding/kind")).unwrap_or_default(),
        text(event, "/involvedObject/name").or(text(event, "/regarding/name")).unwrap_or_default()
    );
    let message = text(event, "/message").or(text(event, "/note")).unwrap_or_default();
    let reason = text(event, "/reason").unwrap_or_default();
    let time = ["/lastTimestamp", "/series/lastObservedTime", "/eventTime", "/firstTimestamp"]
        .iter()
        .find_map(|pointer| moment(event, pointer));
    Evidence::new("k8s.event")
        .with("reason", reason)
        .with("object", &object)
        .with_some("count", number(event, "/count"))
        .with("message", message)
        .with_some("node", text(event, "/source/host"))
        .text(format!("{object}: {reason}: {message}"))
        .from("Kubernetes API")
        .at(Place::Object(format!("event/{}/{}", namespace(event), name(event))))
        .time(time)
}

/// Policies that let nobody in at the ports of a pod. Whom the others let in depends on who asks, and is not judged.
fn policies(lists: &Lists, chosen: &Chosen<'_>, pod: &Value) -> Vec<Evidence> {
    let Some(ip) = text(pod, "/status/podIP") else { return Vec::new() };
    let mut ports: Vec<i64> = Vec::new();
    for service in chosen.services.iter().filter(|service| selects(service, pod)) {
        ports.extend(
            items(service, "/spec/ports").filter_map(|port| Some(resolved(pod, &target_port(port))?.0)),
        );
    }
    let covering: Vec<&Value> = lists
        .policies
        .iter()
        .filter(|policy| matches(policy.pointer("/spec/podSelector/matchLabels"), pod, true))
        .filter(|policy| {
            let types: Vec<&str> = items(policy, "/spec/policyTypes").filter_map(Value::as_str).collect();
            types.is_empty() || types.contains(&"Ingress")
        })
        .collect();
    let lets_in = |policy: &&Value, port: i64| {
        items(policy, "/spec/ingress").any(|rule| {
            let mut allowed = items(rule, "/ports").peekable();
            allowed.peek().is_none() || allowed.any(|own| number(own, "/port").is_none_or(|own| own == port))
        })
    };
    let mut evidence = Vec::new();
    for port in ports {
        // Policies add up: one that lets in is enough.
        if covering.is_empty() || covering.iter().any(|policy| lets_in(policy, port)) {
            continue;
        }
        for policy in &covering {
            evidence.push(
                seen("network-policy", "networkpolicy", policy)
                    .with("addr", format!("{ip}:{port}"))
                    .with("kind", "NetworkPolicy")
                    .with("allows", "no")
                    .text(format!("NetworkPolicy {} lets nobody in at {ip}:{port}", name(policy))),
            );
        }
    }
    evidence
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn shells_that_do_not_pass_signals_on() {
        assert!(is_deaf_shell("/bin/sh", &["/bin/sh", "-c", "gunicorn app:app"]));
        assert!(!is_deaf_shell("/bin/sh", &["/bin/sh", "-c", "exec gunicorn app:app"]));
        assert!(!is_deaf_shell("gunicorn", &["gunicorn", "app:app"]));
        assert!(binds_loopback(&["gunicorn", "--bind", "127.0.0.1:8000"]));
        assert!(binds_loopback(&["sh", "-c", "uvicorn app:app --host=localhost"]));
        assert!(!binds_loopback(&["gunicorn", "--bind=0.0.0.0:8000"]));
    }

    #[test]
    fn a_selector_without_labels_selects_nothing() {
        let pod = json!({"metadata": {"labels": {"app": "shop", "tier": "web"}}});
        let service = |selector: Value| json!({"spec": {"selector": selector}});
        assert!(selects(&service(json!({"app": "shop"})), &pod));
        assert!(!selects(&service(json!({"app": "other"})), &pod));
        assert!(!selects(&service(json!({})), &pod));
        assert!(!selects(&json!({"spec": {}}), &pod));
    }
}
