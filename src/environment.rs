//! The environment of processes we start: variables that hold a token of ours are no business of theirs. A leaf that
//! everybody who starts a process imports. It changes nothing in our own environment, which cannot be done safely with
//! threads running; who may read `/proc/PID/environ` of this process (its own user, root) can read such a token there.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLock};

static HIDDEN: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());

/// Keeps this variable of ours from every process that is started from now on.
pub fn hide(name: &str) {
    HIDDEN.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
}

/// Returns the names of variables to keep from processes that somebody else starts for us (`drop_env` of an exec plug-in).
#[must_use]
pub fn hidden() -> Vec<String> {
    HIDDEN.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Returns the command without those variables; the last thing to be called before it is started.
pub fn without_secrets(command: &mut tokio::process::Command) -> &mut tokio::process::Command {
    for name in hidden() {
        command.env_remove(name);
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hidden_variable_is_not_inherited() {
        // cargo sets it for every test.
        let name = "CARGO_PKG_REPOSITORY";
        let shown = |hide: bool| async move {
            let mut command = tokio::process::Command::new("/bin/sh");
            command.args(["-c", &format!("printf %s \"${{{name}-none}}\"")]);
            let command = if hide { without_secrets(&mut command) } else { &mut command };
            String::from_utf8(command.output().await.unwrap().stdout).unwrap()
        };
        assert_ne!(shown(false).await, "none");
        hide(name);
        assert_eq!(shown(true).await, "none");
        assert!(hidden().contains(&name.to_owned()));
    }
}
