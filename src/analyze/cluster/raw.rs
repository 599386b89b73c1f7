//! Objects of Kubernetes in the form the API server writes, only what is wanted of them. No logic; read by `objects.rs`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RawNode {
    pub(super) metadata: Meta,
    pub(super) spec: Spec,
    pub(super) status: Status,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) unschedulable: Option<bool>,
    pub(super) taints: Option<Vec<Taint>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Taint {
    pub(super) key: String,
    pub(super) effect: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Status {
    pub(super) conditions: Option<Vec<RawCondition>>,
    pub(super) addresses: Option<Vec<Address>>,
    pub(super) node_info: Info,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RawCondition {
    pub(super) r#type: String,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) last_transition_time: Option<String>,
    pub(super) last_heartbeat_time: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Address {
    pub(super) r#type: String,
    pub(super) address: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Info {
    #[serde(rename = "bootID")]
    pub(super) boot_id: String,
    pub(super) kernel_version: String,
    pub(super) os_image: String,
    pub(super) container_runtime_version: String,
    pub(super) kubelet_version: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RawLease {
    pub(super) metadata: Meta,
    pub(super) spec: LeaseSpec,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LeaseSpec {
    pub(super) renew_time: Option<String>,
    pub(super) lease_duration_seconds: Option<u32>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RawEvent {
    pub(super) metadata: Meta,
    pub(super) involved_object: Involved,
    pub(super) reason: Option<String>,
    pub(super) message: Option<String>,
    pub(super) r#type: Option<String>,
    pub(super) count: Option<i64>,
    pub(super) first_timestamp: Option<String>,
    pub(super) last_timestamp: Option<String>,
    pub(super) event_time: Option<String>,
    pub(super) series: Option<Series>,
    pub(super) source: Option<EventSource>,
    pub(super) reporting_instance: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Involved {
    pub(super) kind: Option<String>,
    pub(super) name: Option<String>,
    pub(super) namespace: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Series {
    pub(super) count: Option<i64>,
    pub(super) last_observed_time: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct EventSource {
    pub(super) host: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct List<'a> {
    #[serde(borrow, default)]
    pub(super) items: Vec<&'a RawValue>,
}
