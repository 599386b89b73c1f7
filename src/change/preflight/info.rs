//! What dockerd says of itself in `/info`, as far as a reload of its configuration touches it. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Understood answer of `/info`.
#[derive(Debug, Clone, PartialEq)]
pub struct Info(Map<String, Value>);

impl Info {
    /// Reads an answer; `None` unless it comes from dockerd and says whether debug is on.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let Ok(Value::Object(map)) = serde_json::from_str(text) else { return None };
        // The docker command answers without a daemon too, with the reason.
        let failed = map.get("ServerErrors").and_then(Value::as_array).is_some_and(|e| !e.is_empty());
        let info = Self(map);
        (!failed && info.0.get("Debug").is_some_and(Value::is_boolean) && !info.version().is_empty()).then_some(info)
    }

    fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or_default()
    }

    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// `ServerVersion`.
    #[must_use]
    pub fn version(&self) -> &str {
        self.text("ServerVersion")
    }

    /// Whether debug is on.
    #[must_use]
    pub fn debug(&self) -> bool {
        self.flag("Debug")
    }

    /// Number of running containers.
    #[must_use]
    pub fn containers_running(&self) -> u64 {
        self.0.get("ContainersRunning").and_then(Value::as_u64).unwrap_or_default()
    }

    /// Whether a runtime of this name is known.
    #[must_use]
    pub fn has_runtime(&self, name: &str) -> bool {
        self.0.get("Runtimes").and_then(Value::as_object).is_some_and(|r| r.contains_key(name))
    }

    /// Returns what a reload must leave as it is.
    #[must_use]
    pub fn kept_by_reload(&self) -> BTreeMap<String, String> {
        kept_by_reload(&self.0)
    }

    /// Returns the keys of a configuration file whose values are not those in use, of the keys that a reload takes
    /// over and `/info` shows.
    #[must_use]
    pub fn not_loaded(&self, file: &Map<String, Value>) -> Vec<&'static str> {
        const SHOWN: [&str; 7] = [
            "labels",
            "registry-mirrors",
            "insecure-registries",
            "live-restore",
            "default-runtime",
            "runtimes",
            "authorization-plugins",
        ];
        SHOWN.into_iter().filter(|key| file.get(*key).is_some_and(|value| !self.shows(key, value))).collect()
    }

    fn shows(&self, key: &str, value: &Value) -> bool {
        let registry = |name: &str| self.0.get("RegistryConfig").and_then(|r| r.get(name));
        match key {
            "labels" => same_set(&texts(value), &self.0.get("Labels").map(texts).unwrap_or_default()),
            "registry-mirrors" => {
                // dockerd adds the slash at the end.
                let slashed = |list: Vec<String>| -> Vec<String> {
                    list.into_iter().map(|m| format!("{}/", m.trim_end_matches('/'))).collect()
                };
                same_set(&slashed(texts(value)), &slashed(registry("Mirrors").map(texts).unwrap_or_default()))
            }
            "insecure-registries" => texts(value).iter().all(|name| {
                let name = name.split_once("://").map_or(name.as_str(), |(_, rest)| rest);
                let insecure = |c: &Value| c.get("Secure").and_then(Value::as_bool) == Some(false);
                registry("IndexConfigs").and_then(|i| i.get(name)).is_some_and(insecure)
                    || registry("InsecureRegistryCIDRs").map(texts).unwrap_or_default().iter().any(|cidr| cidr == name)
            }),
            "live-restore" => value.as_bool() == Some(self.flag("LiveRestoreEnabled")),
            "default-runtime" => {
                value.as_str().is_some_and(|name| name.is_empty() || name == self.text("DefaultRuntime"))
            }
            "runtimes" => value.as_object().is_some_and(|r| r.keys().all(|name| self.has_runtime(name))),
            "authorization-plugins" => {
                let loaded = self.0.get("Plugins").and_then(|p| p.get("Authorization"));
                same_set(&texts(value), &loaded.map(texts).unwrap_or_default())
            }
            _ => true,
        }
    }
}

/// Returns what a reload must leave as it is, by name, as compact JSON. The names `io.containerd.*` of built-in
/// runtimes are left out: docker 20.10 forgets them at any reload, which check P12 is about.
#[must_use]
pub fn kept_by_reload(info: &Map<String, Value>) -> BTreeMap<String, String> {
    let registry = |name: &str| info.get("RegistryConfig").and_then(|r| r.get(name)).cloned();
    let plain = |name: &str| info.get(name).cloned();
    let mut runtimes = plain("Runtimes");
    if let Some(Value::Object(map)) = &mut runtimes {
        map.retain(|name, _| !name.starts_with("io.containerd."));
    }
    let all = [
        ("Labels", sorted(plain("Labels"))),
        ("Mirrors", registry("Mirrors")),
        ("InsecureRegistryCIDRs", sorted(registry("InsecureRegistryCIDRs"))),
        ("IndexConfigs", registry("IndexConfigs")),
        ("Runtimes", runtimes),
        ("DefaultRuntime", plain("DefaultRuntime")),
        ("LiveRestoreEnabled", plain("LiveRestoreEnabled")),
        ("Authorization", sorted(info.get("Plugins").and_then(|p| p.get("Authorization")).cloned())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_string()))).collect()
}

/// The strings of a list.
pub(super) fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

fn sorted(value: Option<Value>) -> Option<Value> {
    value.map(|value| match value {
        Value::Array(_) => {
            let mut list = texts(&value);
            list.sort_unstable();
            Value::from(list)
        }
        // An empty list comes as null too.
        Value::Null => Value::Array(Vec::new()),
        other => other,
    })
}

fn same_set(a: &[String], b: &[String]) -> bool {
    a.iter().all(|x| b.contains(x)) && b.iter().all(|x| a.contains(x))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn info() -> Info {
        Info::read(
            &json!({
                "Debug": false, "ServerVersion": "20.10.24", "Labels": ["b=2", "a=1"], "LiveRestoreEnabled": true,
                "DefaultRuntime": "runc", "Runtimes": {"runc": {"path": "runc"}, "io.containerd.runc.v2": {}},
                "Plugins": {"Authorization": null},
                "RegistryConfig": {
                    "Mirrors": ["https://m.example/"], "InsecureRegistryCIDRs": ["127.0.0.0/8", "10.0.0.0/8"],
                    "IndexConfigs": {"r.example:5000": {"Secure": false}, "docker.io": {"Secure": true}},
                },
            })
            .to_string(),
        )
        .unwrap()
    }

    #[test]
    fn only_an_answer_of_the_daemon_counts() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"message":"error"}"#,
            r#"{"Debug":false}"#,
            r#"{"Debug":"false","ServerVersion":"1.2"}"#,
            r#"{"ServerErrors":["Cannot connect"],"Debug":false,"ServerVersion":"20.10"}"#,
        ] {
            assert_eq!(Info::read(text), None, "{text}");
        }
        assert!(Info::read(r#"{"ServerErrors":[],"Debug":true,"ServerVersion":"20.10"}"#).unwrap().debug());
    }

    #[test]
    fn keys_that_are_not_loaded_are_named() {
        for (file, want) in [
            (
                json!({"labels": ["a=1", "b=2"], "registry-mirrors": ["https://m.example"], "live-restore": true}),
                vec![],
            ),
            (json!({"insecure-registries": ["r.example:5000", "10.0.0.0/8"], "default-runtime": "runc"}), vec![]),
            (json!({"runtimes": {"runc": {}}, "authorization-plugins": [], "bridge": "none"}), vec![]),
            (json!({"labels": ["a=1"]}), vec!["labels"]),
            (json!({"labels": []}), vec!["labels"]),
            (json!({"registry-mirrors": []}), vec!["registry-mirrors"]),
            (json!({"insecure-registries": ["docker.io"]}), vec!["insecure-registries"]),
            (json!({"live-restore": false, "default-runtime": "nvidia"}), vec!["live-restore", "default-runtime"]),
            (json!({"runtimes": {"nvidia": {}}}), vec!["runtimes"]),
            (json!({"authorization-plugins": ["az"]}), vec!["authorization-plugins"]),
        ] {
            assert_eq!(info().not_loaded(file.as_object().unwrap()), want, "{file}");
        }
    }

    #[test]
    fn what_a_reload_keeps_is_compared_without_order() {
        let kept = info().kept_by_reload();
        assert_eq!(kept["Labels"], r#"["a=1","b=2"]"#);
        assert_eq!(kept["Authorization"], "[]");
        assert_eq!(kept["Runtimes"], r#"{"runc":{"path":"runc"}}"#);
        assert_eq!(kept["LiveRestoreEnabled"], "true");
    }
}
