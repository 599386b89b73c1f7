//! `Status` objects: the bodies of refusals, in the words and the form of the recorded ones.

use serde_json::{Value, json};

/// What a request asks for, as RBAC sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// A path that is no resource, and the HTTP method in lower case.
    Path(String, String),
    /// A resource of the core group.
    Resource {
        /// `get`, `list`, …
        verb: String,
        /// `nodes`, `nodes/proxy`, `events`, `leases`.
        resource: &'static str,
        /// Of one object.
        name: Option<String>,
        /// `None`: of the cluster.
        namespace: Option<String>,
    },
}

/// Returns a `Status` object, indented as for curl.
pub(super) fn status(code: u16, reason: &str, message: &str, details: Option<Value>) -> String {
    let mut status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
    });
    if let (Some(object), Some(details)) = (status.as_object_mut(), details) {
        object.insert("details".to_owned(), details);
    }
    if let Some(object) = status.as_object_mut() {
        object.insert("code".to_owned(), code.into());
    }
    format!("{status:#}")
}

/// Returns the body of the 403 for a right that is missing.
pub(super) fn forbidden(user: &str, asked: &Asked) -> String {
    match asked {
        Asked::Path(method, path) => {
            let message = format!("forbidden: User \"{user}\" cannot {method} path \"{path}\"");
            status(403, "Forbidden", &message, Some(json!({})))
        }
        Asked::Resource { verb, resource, name, namespace } => {
            let kind = resource.split('/').next().unwrap_or(resource);
            let object = name.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
            let scope = match namespace {
                Some(namespace) => format!("in the namespace \"{namespace}\""),
                None => "at the cluster scope".to_owned(),
            };
            let message = format!(
                "{kind}{object} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"\" {scope}"
            );
            let details = match name {
                Some(name) => json!({ "name": name, "kind": kind }),
                None => json!({ "kind": kind }),
            };
            status(403, "Forbidden", &message, Some(details))
        }
    }
}
