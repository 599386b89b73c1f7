//! What API servers say of themselves: the checks of `readyz?verbose` and `livez?verbose` that fail.

use super::SERVERS;
use crate::analyze::line::Lines;
use crate::analyze::view::NodeView;
use crate::plan::ClusterStep;
use crate::printable::printable;

/// Checks that fail, kept of one answer.
const MAX_CHECKS: usize = 64;
/// Characters of a name.
const NAME: usize = 256;

/// What `readyz` or `livez` of an API server said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// Path of the answer.
    pub file: String,
    /// Checks it made.
    pub checks: usize,
    /// Those that failed; a bounded number.
    pub failing: Vec<Check>,
}

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// `etcd`, `poststarthook/crd-informer-synced`. Printable.
    pub name: String,
    /// Line it stands in.
    pub line: u64,
}

/// Reads `readyz?verbose` and `livez?verbose`: `[+]etcd ok`, `[-]etcd failed: reason withheld`.
pub(super) fn read(view: &NodeView) -> Vec<Health> {
    let mut all = Vec::new();
    for server in 0..SERVERS {
        for what in ["readyz", "livez"] {
            let file = ClusterStep::of_server(&format!("cluster/{what}.txt"), server);
            let Some(input) = view.open(&file) else { continue };
            let mut health = Health { file, ..Health::default() };
            let mut lines = Lines::new(input);
            while let Ok(Some(line)) = lines.next_line() {
                let (failed, rest) = match (line.text.strip_prefix("[-]"), line.text.strip_prefix("[+]")) {
                    (Some(rest), _) => (true, rest),
                    (None, Some(rest)) => (false, rest),
                    (None, None) => continue,
                };
                health.checks += 1;
                if failed && health.failing.len() < MAX_CHECKS {
                    let check = rest.split(' ').next().unwrap_or_default();
                    health.failing.push(Check { name: printable(check, NAME), line: line.number });
                }
            }
            all.push(health);
        }
    }
    all
}
