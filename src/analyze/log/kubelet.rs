//! What a line of the kubelet's log means for an analysis, in the wording of old kubelets (klog's text form, to 1.20)
//! and of new ones. Counts nothing and keeps nothing; a rule reads line by line.
//!
//! Healthy again is not logged: PLEG is healthy when its lines end. During a hang they come every 5 s.

use std::time::Duration;

pub use super::api_problem::ApiProblem;
use super::api_problem::{problem, talks_to_api};
use super::go_duration;
pub use super::rpc::{RpcFailure, Service};
use super::{Fields, Form, Level, LogLine, rpc};

/// What a line means.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum KubeletEvent {
    /// Pods are not synchronised because relist has not ended for too long.
    PlegUnhealthy {
        /// How long ago it was last active; `None`: never since the start.
        last_seen: Option<Duration>,
        /// From when on that is too long; 3 minutes.
        threshold: Option<Duration>,
    },
    /// An event of PLEG was taken up: a relist has ended, and pods are synchronised.
    PlegEvent,
    /// Pods are not synchronised because the runtime has not answered a status call for 30 s.
    RuntimeDown,
    /// The runtime answers that it, or its network, is not ready.
    RuntimeNotReady {
        /// Whether it is the network (CNI).
        network: bool,
        /// As it says: `reason:… message:…`.
        message: String,
    },
    /// A CRI call failed.
    Rpc(RpcFailure),
    /// A relist ended in an error.
    RelistFailed {
        /// The error.
        error: String,
        /// Whether time ran out.
        deadline: bool,
    },
    /// Relist could not look into one pod and passes it over.
    PodNotInspected {
        /// `namespace/name`, or the name alone in old lines.
        pod: Option<String>,
        /// The error.
        error: String,
    },
    /// Relist dropped events because nobody took them.
    EventChannelFull,
    /// The node's condition was set to Ready=False or Unknown.
    NodeNotReady {
        /// `KubeletNotReady`; empty where only the event was logged.
        reason: String,
        /// Why, by the kubelet; empty where only the event was logged.
        message: String,
    },
    /// The node is recorded as ready.
    NodeReady,
    /// A step of a pod's synchronisation failed: `KillContainer`, `KillPodSandbox`, `CreatePodSandbox`, ….
    PodSyncFailed {
        /// The step.
        step: String,
        /// The container's name, or the pod's uid or name where the step is about the sandbox.
        about: String,
        /// `namespace/name`.
        pod: Option<String>,
        /// Whether time ran out.
        deadline: bool,
        /// The error, at most 400 characters.
        error: String,
    },
    /// A pod names a pull secret that is not there.
    PullSecretMissing {
        /// `namespace/name`.
        pod: Option<String>,
        /// The secret's name.
        secret: Option<String>,
    },
    /// The API server refused a request of the kubelet, or did not answer it.
    ApiServer(ApiProblem),
    /// A request to the kubelet could not be authenticated; with the problem of asking the API server, if that is why.
    CallerNotAuthenticated(Option<ApiProblem>),
    /// The kubelet starts.
    Starting {
        /// Its version, `v1.36.2`.
        version: String,
    },
    /// A flag it was started with (at verbosity 1 and above).
    Flag {
        /// Its name without dashes.
        name: String,
        /// Its value.
        value: String,
    },
    /// The kernel killed a process for want of memory on the whole node.
    SystemOom {
        /// The process's name.
        process: Option<String>,
        /// Its pid.
        pid: Option<u32>,
    },
    /// Pods are evicted to get a resource back: `memory`, `nodefs`, …
    Evicting {
        /// The resource.
        resource: String,
    },
    /// Housekeeping, which asks the runtime too, took too long.
    HousekeepingSlow {
        /// How long.
        took: Option<Duration>,
    },
    /// The network plug-in could not say a pod's address; done within relist by old kubelets.
    PodNetworkStatusFailed {
        /// `name_namespace` as logged.
        pod: Option<String>,
        /// The error.
        error: String,
    },
}

/// Returns what a line means; one line can say several things, most say nothing that matters here.
#[must_use]
pub fn read(line: &LogLine<'_>) -> Vec<KubeletEvent> {
    let message = line.message.raw();
    let mut found = Vec::new();
    if !matches!(line.form, Form::Klog | Form::KlogStructured) {
        return found;
    }
    if message.get(1..).is_some_and(|m| m.starts_with("kipping pod synchronization")) {
        let reasons = line.field("err").unwrap_or_else(|| line.message.text());
        conditions(&reasons, &mut found);
    } else if message.starts_with("SyncLoop (PLEG)") {
        found.push(KubeletEvent::PlegEvent);
    } else if message.starts_with("Container runtime not ready")
        || message.starts_with("Container runtime network not ready")
    {
        let told = ["runtimeReady", "networkReady"].iter().find_map(|key| line.field(key));
        conditions(&told.unwrap_or_else(|| line.message.text()), &mut found);
    } else if let Some(failure) = rpc::failure(line) {
        found.push(KubeletEvent::Rpc(failure));
    } else if message.contains("PLEG: ") {
        found.extend(of_pleg(line));
    } else if let Some(rest) = message.strip_prefix("FLAG: --") {
        let rest = line.message.text().strip_prefix("FLAG: --").map_or_else(|| rest.to_owned(), str::to_owned);
        if let Some((name, value)) = rest.split_once('=') {
            found.push(KubeletEvent::Flag { name: name.to_owned(), value: value.trim_matches('"').to_owned() });
        }
    } else if let Some(event) = of_node(line) {
        found.push(event);
    } else if message.starts_with("Error syncing pod") {
        steps(line, &mut found);
    } else if let Some(event) = single(line) {
        found.push(event);
    } else if line.level >= Some(Level::Warning) && line.source.is_some_and(talks_to_api) {
        found.extend(problem(line.fields.get("err").map_or(message, |e| e.raw())).map(KubeletEvent::ApiServer));
    }
    found
}

fn conditions(reasons: &str, found: &mut Vec<KubeletEvent>) {
    if reasons.contains("PLEG is not healthy") {
        let after = |mark: &str| reasons.split_once(mark).and_then(|(_, from)| go_duration::leading(from));
        let (last_seen, threshold) = (after("last seen active "), after("threshold is "));
        found.push(KubeletEvent::PlegUnhealthy { last_seen, threshold });
    }
    if reasons.contains("container runtime is down") {
        found.push(KubeletEvent::RuntimeDown);
    }
    for (mark, network) in [("RuntimeReady=false", false), ("NetworkReady=false", true)] {
        if let Some((_, from)) = reasons.split_once(mark) {
            // Conditions are joined by a comma, by a blank before 1.14.
            let nexts = ["PLEG is not healthy", "container runtime "];
            let end = nexts.iter().filter_map(|next| from.find(next)).min().unwrap_or(from.len());
            let message = from.get(..end).unwrap_or(from).trim().trim_end_matches([']', ',']).to_owned();
            found.push(KubeletEvent::RuntimeNotReady { network, message });
        }
    }
}

/// Returns `namespace/name` of the pod a line is about. JSON has an object there.
fn pod(line: &LogLine<'_>) -> Option<String> {
    let value = line.fields.get("pod")?;
    let Some(object) = value.raw().strip_prefix('{').filter(|_| line.fields.is_json()) else {
        return Some(value.text().into_owned());
    };
    let part = |key: &str| Fields::json(object).get(key).map(|v| v.text().into_owned());
    Some(part("namespace").map_or_else(String::new, |n| n + "/") + &part("name")?)
}

fn error_of(line: &LogLine<'_>, head: &str) -> String {
    match line.field("err") {
        Some(error) => error.into_owned(),
        None => line.message.text().split_once(head).map_or("", |(_, e)| e).trim_start_matches([':', ' ']).to_owned(),
    }
}

fn of_pleg(line: &LogLine<'_>) -> Option<KubeletEvent> {
    let message = line.message.raw();
    if message.contains("GenericPLEG: Unable to retrieve pods") {
        let error = error_of(line, "Unable to retrieve pods");
        return Some(KubeletEvent::RelistFailed { deadline: rpc::is_deadline(&error), error });
    }
    if message.contains("failed reinspection") {
        let head = message.split_once("PLEG: pod ").and_then(|(_, m)| m.split_once(" failed reinspection"));
        let pod = pod(line).or_else(|| head.map(|(pod, _)| pod.to_owned()));
        return Some(KubeletEvent::PodNotInspected { pod, error: error_of(line, "failed reinspection") });
    }
    let about = message.split_once("Ignoring events for pod")?;
    let pod = pod(line).or_else(|| about.1.trim_start().split(':').next().map(str::to_owned));
    Some(KubeletEvent::PodNotInspected { pod, error: error_of(line, "Ignoring events for pod") })
}

fn of_node(line: &LogLine<'_>) -> Option<KubeletEvent> {
    let message = line.message.raw();
    if message.starts_with("Node became not ready") {
        let condition = line.fields.get("condition").map_or(message, |c| c.raw());
        let new_form = |key: &str| {
            let (_, from) = condition.split_once(&format!("\"{key}\":\""))?;
            let (end, _) = super::fields::quoted(from);
            Some(crate::analyze::line::Text::quoted(from.get(..end)?).text().into_owned())
        };
        let old_form = |from: &str, to: &str| {
            let (_, text) = condition.split_once(from)?;
            Some(text.split_once(to).map_or(text, |(t, _)| t).trim_end_matches('}').to_owned())
        };
        return Some(KubeletEvent::NodeNotReady {
            reason: new_form("reason").or_else(|| old_form("Reason:", " ")).unwrap_or_default(),
            message: new_form("message").or_else(|| old_form("Message:", "\n")).unwrap_or_default(),
        });
    }
    // The event itself, at verbosity 3; the lines above say more and are not always there.
    let old = message.starts_with("Event(v1.ObjectReference{Kind:\"Node\"")
        || message.starts_with("Event(api.ObjectReference{Kind:\"Node\"");
    let new = message == "Event occurred" && line.fields.get("kind").is_some_and(|k| k.raw() == "Node");
    if old || new {
        let says = |reason: &str| match line.fields.get("reason") {
            Some(told) if new => told.raw() == reason,
            _ => message.contains(&format!("reason: '{reason}'")),
        };
        if says("NodeNotReady") {
            return Some(KubeletEvent::NodeNotReady { reason: String::new(), message: String::new() });
        }
        return says("NodeReady").then_some(KubeletEvent::NodeReady);
    }
    let recorded = message.starts_with("Recording event message for node")
        && line.fields.get("event").is_some_and(|e| e.raw() == "NodeReady");
    (recorded || message.starts_with("Recording NodeReady event message")).then_some(KubeletEvent::NodeReady)
}

/// Lines with one meaning, known by how they start.
fn single(line: &LogLine<'_>) -> Option<KubeletEvent> {
    let message = line.message.raw();
    let field = |key: &str| line.field(key).map(std::borrow::Cow::into_owned);
    let starts = |head: &str| message.starts_with(head);
    if starts("Kubelet version") {
        let old = || message.split_once(": ").map(|(_, v)| v.to_owned());
        return Some(KubeletEvent::Starting { version: field("kubeletVersion").or_else(old)? });
    }
    if starts("Version: ") && line.source.is_some_and(|s| s.starts_with("server.go")) {
        return Some(KubeletEvent::Starting { version: message.get(9..)?.to_owned() });
    }
    if starts("Unable to retrieve pull secret ") {
        // Old: `Unable to retrieve pull secret NS/SECRET for NS/POD due to …`.
        let mut words = message.split(' ').skip(5);
        let secret = words.next().map(|s| s.rsplit('/').next().unwrap_or(s).to_owned());
        return Some(KubeletEvent::PullSecretMissing { pod: words.nth(1).map(str::to_owned), secret });
    }
    if starts("Unable to retrieve pull secret,") {
        // The field `secret` is empty: the name is in the error alone.
        let error = field("err").unwrap_or_default();
        let secret = error.split('"').nth(1).map(str::to_owned);
        return Some(KubeletEvent::PullSecretMissing { pod: pod(line), secret });
    }
    if starts("Unable to authenticate the request due to an error") {
        let error = error_of(line, "due to an error");
        return Some(KubeletEvent::CallerNotAuthenticated(problem(&error).filter(|p| *p == ApiProblem::Unreachable)));
    }
    if message.to_ascii_lowercase().starts_with("event channel is full") {
        return Some(KubeletEvent::EventChannelFull);
    }
    if starts("Housekeeping took longer than expected") || starts("Housekeeping took longer than") {
        let took = field("actual").and_then(|d| go_duration::parse(&d));
        return Some(KubeletEvent::HousekeepingSlow { took });
    }
    if message.get(1..).is_some_and(|m| m.starts_with("viction manager: must evict pod(s) to reclaim")) {
        let old = || message.split_once("to reclaim ").map(|(_, r)| r.trim().to_owned());
        return Some(KubeletEvent::Evicting { resource: field("resourceName").or_else(old).unwrap_or_default() });
    }
    let event = line.fields.get("message").map_or(message, |m| m.raw());
    if let Some((_, from)) = event.split_once("System OOM encountered") {
        let after = |mark: &str| from.split_once(mark).and_then(|(_, t)| t.split([',', ' ', '"', '\\']).next());
        let process = after("victim process: ").filter(|p| !p.is_empty()).map(str::to_owned);
        return Some(KubeletEvent::SystemOom { process, pid: after("pid: ").and_then(|p| p.parse().ok()) });
    }
    if message.contains("failed on the status hook for pod") {
        let text = line.message.text();
        let pod = text.split_once("for pod \"").and_then(|(_, t)| t.split('"').next()).map(str::to_owned);
        return Some(KubeletEvent::PodNetworkStatusFailed { pod, error: text.into_owned() });
    }
    None
}

/// Reads every `failed to "STEP" for "NAME" with …Error: "…"` of a pod that could not be synchronised.
fn steps(line: &LogLine<'_>, found: &mut Vec<KubeletEvent>) {
    const MOST: usize = 16;
    let message = line.message.text();
    let error = line.field("err");
    let pod = pod(line).or_else(|| {
        // Old: `Error syncing pod UID ("NAME_NAMESPACE(UID)"), skipping: …`.
        let (name, _) = message.split_once("(\"")?.1.split_once('(')?;
        let (name, namespace) = name.rsplit_once('_')?;
        Some(format!("{namespace}/{name}"))
    });
    let mut rest: &str = error.as_deref().unwrap_or(&message);
    for _ in 0..MOST {
        let Some((_, from)) = rest.split_once("failed to \"") else { return };
        let (this, next) = from
            .split_once("failed to \"")
            .map_or((from, ""), |(this, _)| (this, from.get(this.len()..).unwrap_or_default()));
        rest = next;
        let Some((step, about)) = this.split_once("\" for \"") else { continue };
        let (about, error) = about.split_once('"').unwrap_or((about, ""));
        found.push(KubeletEvent::PodSyncFailed {
            step: step.to_owned(),
            about: about.to_owned(),
            pod: pod.clone(),
            deadline: rpc::is_deadline(error),
            error: error.trim_start_matches(" with ").chars().take(400).collect(),
        });
    }
}
