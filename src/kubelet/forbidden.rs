//! The 403 of a kubelet and of an API server taken apart: who may not do what, and which rules are missing. Pure.

use serde::Deserialize;

use crate::plan::kubelet::{finer, rule};
use crate::printable::printable;

/// Bytes of a user's name that are shown.
const NAME: usize = 120;

/// What a body of a 403 says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Forbidden {
    /// Printable; empty if the body does not tell.
    pub(super) user: String,
    /// `get`, `update`.
    pub(super) verb: String,
    /// `nodes/configz`, `nodes/proxy`: each of them does.
    pub(super) resources: Vec<String>,
}

/// A `Status` of an API server, as far as it is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct ApiStatus {
    kind: String,
    #[serde(default)]
    pub(super) message: String,
}

impl ApiStatus {
    /// Reads the JSON a Kubernetes API server answers with; a kubelet's own bodies are plain text.
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|status| status.kind == "Status")
    }
}

impl Forbidden {
    /// Reads a kubelet's body, `Forbidden (user=…, verb=get, resource=nodes, subresource(s)=[configz proxy])` since 1.33,
    /// `…, subresource=proxy)` before, or the message of an API server's: `nodes "n" is forbidden: User "u" cannot get resource
    /// "nodes/proxy" in API group …`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::of_kubelet(text).or_else(|| Self::of_api_server(text))
    }

    fn of_kubelet(text: &str) -> Option<Self> {
        let rest = text.trim().strip_suffix(')')?;
        // A user's name may hold anything: what follows it is sought from the end.
        let (_, rest) = rest.split_once("(user=")?;
        let (user, rest) = rest.rsplit_once(", verb=")?;
        let (verb, rest) = rest.split_once(", resource=")?;
        let (resource, sub) = rest.split_once(", subresource").map_or((rest, ""), |(resource, sub)| (resource, sub));
        let sub = sub.trim_start_matches("(s)").trim_start_matches('=').trim_start_matches('[').trim_end_matches(']');
        let (resource, verb) = (word(resource)?, word(verb)?);
        let subs: Vec<&str> = sub.split(' ').filter_map(word).collect();
        let resources = match subs.as_slice() {
            [] => vec![resource.to_owned()],
            subs => subs.iter().take(8).map(|sub| format!("{resource}/{sub}")).collect(),
        };
        Some(Self { user: printable(user, NAME), verb: verb.to_owned(), resources })
    }

    fn of_api_server(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("User \"")?;
        let (user, rest) = rest.split_once("\" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, _) = rest.split_once('"')?;
        Some(Self {
            user: printable(user, NAME),
            verb: word(verb)?.to_owned(),
            resources: vec![word(resource)?.to_owned()],
        })
    }

    /// Returns what must be missing when the body does not say it: the rule of the path.
    pub(super) fn assumed(path: &str, put: bool) -> Self {
        let coarse = rule(path).map(|rule| rule.resource.to_owned());
        let verb = if put { "update" } else { "get" };
        let coarse = coarse.unwrap_or_else(|| "nodes/proxy".to_owned());
        let resources = finer(path).map(str::to_owned).into_iter().chain([coarse]).collect();
        Self { user: String::new(), verb: verb.to_owned(), resources }
    }

    /// Returns `user "u" may not get nodes/configz or nodes/proxy`.
    pub(super) fn sentence(&self) -> String {
        let user = if self.user.is_empty() { "the user".to_owned() } else { format!("user \"{}\"", self.user) };
        let one_of = match self.resources.as_slice() {
            [one] => one.clone(),
            all => format!("any of {}", all.join(", ")),
        };
        format!("{user} may not {} {one_of}", self.verb)
    }
}

/// Returns a word of the API: letters, digits, and a little more.
fn word(text: &str) -> Option<&str> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '.' | '*');
    let text = text.trim();
    (!text.is_empty() && text.len() <= 64 && text.chars().all(fine)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_s_name_cannot_pass_for_the_right_that_is_missing() {
        for (text, user, verb, resources) in [
            ("Forbidden (user=u, verb=get, resource=nodes, subresource=proxy)", "u", "get", &["nodes/proxy"][..]),
            (
                "Forbidden (user=u, verb=get, resource=nodes, subresource(s)=[configz proxy])",
                "u",
                "get",
                &["nodes/configz", "nodes/proxy"],
            ),
            (
                "Forbidden (user=a, verb=list, resource=pods, verb=get, resource=nodes, subresource=proxy)",
                "a, verb=list, resource=pods",
                "get",
                &["nodes/proxy"],
            ),
            (
                "nodes \"n\" is forbidden: User \"u\" cannot get resource \"nodes/proxy\" in API group \"\"",
                "u",
                "get",
                &["nodes/proxy"],
            ),
        ] {
            let read = Forbidden::parse(text).unwrap();
            assert_eq!((&*read.user, &*read.verb, &*read.resources.join(" ")), (user, verb, &*resources.join(" ")));
        }
        for text in ["", "Forbidden", "Forbidden (user=u, verb=g;t, resource=nodes)", "Forbidden (user=u)"] {
            assert_eq!(Forbidden::parse(text), None, "{text}");
        }
    }
}
