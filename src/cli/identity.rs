//! Who runs what, as bundles and run.json tell it: the command line without secrets, and the redactor that keeps to that.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::AppError;
use super::exit;
use crate::bundle::{RedactConfig, RedactRule, Redactor};
use crate::inventory::target::Reach;
use crate::inventory::{Inventory, NodeName, Origin, Selected, Target};

/// Returns the redactor with the inventory's rules.
pub(crate) fn redactor(inventory: Option<&Inventory>) -> Result<Arc<Redactor>, AppError> {
    let config = inventory.map_or_else(RedactConfig::default, |inventory| RedactConfig {
        literals: inventory.redact.literals.clone(),
        rules: inventory
            .redact
            .rules
            .iter()
            .map(|rule| RedactRule {
                name: rule.name.clone(),
                pattern: rule.pattern.clone(),
                replace: rule.replace.clone(),
            })
            .collect(),
        disable: inventory.redact.disable.clone(),
    });
    Redactor::new(&config).map(Arc::new).map_err(|e| AppError::from_chain(exit::SETUP, &e))
}

/// The command line as it may be kept in bundles: without the text of a token command, which may hold a secret.
pub(crate) fn command_line(redactor: &Redactor) -> Vec<String> {
    recorded(std::env::args_os().map(|word| word.to_string_lossy().into_owned()), redactor)
}

fn recorded(words: impl Iterator<Item = String>, redactor: &Redactor) -> Vec<String> {
    const FLAG: &str = "--kubelet-token-command";
    let program = |text: &str| format!("{} …", text.split_whitespace().next().unwrap_or_default());
    let mut command_next = false;
    words
        .map(|word| {
            let kept = match word.strip_prefix(FLAG).and_then(|rest| rest.strip_prefix('=')) {
                Some(command) => format!("{FLAG}={}", program(command)),
                None if command_next => program(&word),
                None => word.clone(),
            };
            command_next = word == FLAG;
            redactor.text(&kept)
        })
        .collect()
}

/// Returns the nodes that were given as `user@host:port`, in that form.
pub(crate) fn spelled(selected: &Selected) -> BTreeMap<NodeName, String> {
    let by_pattern = |target: &&Target| {
        let from = selected.provenance.get(&target.name);
        from.is_some_and(|p| [&p.user, &p.port, &p.address].contains(&&Origin::Pattern))
    };
    let spell = |target: &Target| match &target.reach {
        Reach::Ssh { hop, .. } => Some((target.name.clone(), format!("{}@{}", hop.user, hop.endpoint))),
        Reach::Local => None,
    };
    selected.targets.iter().filter(by_pattern).filter_map(spell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_command_that_prints_a_token_only_the_program_is_recorded() {
        let redactor = redactor(None).unwrap();
        for (line, want) in [
            (
                &["x", "--kubelet-token-command", "vault read s3cret", "--quiet"][..],
                "x --kubelet-token-command vault … --quiet",
            ),
            (&["x", "--nodes", "n1"], "x --nodes n1"),
        ] {
            let words = recorded(line.iter().map(|word| (*word).to_owned()), &redactor);
            assert_eq!(words.join(" "), want);
        }
        let joined = ["x", "--kubelet-token-command=echo s3cret"].map(str::to_owned);
        assert!(!recorded(joined.into_iter(), &redactor).join(" ").contains("s3cret"));
    }
}
