//! Who listens at the kubelet's port, asked before its key is taken on trust for the first time: while a kubelet is down, any
//! user of the node can listen there and would be sent the token. A root of the node can always do so.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Kubelet;
use super::request::Trouble;
use super::way::curl::Shown;
use crate::plan::{Bounds, Encoding, What};
use crate::session::command::{self, CommandExit, CommandSpec};
use crate::session::{FailureKind, Session};

/// The kernel's tables are read within milliseconds.
const WITHIN: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(2);
/// Prints our own number and the listeners at a port from the kernel's tables (proc_net_tcp of the Linux documentation:
/// state 0A, the user's number in the eighth column).
const SCRIPT: &str = "id -u\ngrep -hi \":$1 [0-9A-F]*:0000 0A \" /proc/net/tcp /proc/net/tcp6 2>/dev/null";

impl Kubelet {
    /// Refuses a first use where the port is held by a user who is not root (or, without SSH, ourselves). A node that does
    /// not tell who listens is taken at its word, as `ssh` takes a host's key.
    ///
    /// # Errors
    /// Who listens there, or that it cannot be found out.
    ///
    /// # Cancel safety
    /// May be dropped at any time: it only reads.
    pub(super) async fn no_stranger_listens(
        &self,
        session: &Session,
        cancel: &CancellationToken,
    ) -> Result<(), Trouble> {
        let port = self.place.api.port;
        let what = What::Script { text: SCRIPT.to_owned(), args: vec![format!("{port:04X}")] };
        let bounds = Bounds { timeout: WITHIN, grace: GRACE, max_bytes: u64::MAX };
        let spec = CommandSpec {
            what: &what,
            privileged: false,
            bounds: &bounds,
            encoding: Encoding::Plain,
            stacks_on_timeout: false,
            shell: &self.shell,
            password: None,
            input: None,
        };
        let mut shown = Shown::default();
        let unknown = |why: &str| {
            Trouble::Closed(format!(
                "the key of the kubelet is not known yet, and who listens at port {port} on the node cannot be found out \
                 ({why}): no token was sent; give the authority of its certificate with --kubelet-ca"
            ))
        };
        let end = command::run(session, &spec, &mut shown, cancel).await.map_err(|error| match error.kind {
            FailureKind::Cancelled => Trouble::Cancelled,
            FailureKind::LinkLost | FailureKind::Deadline => Trouble::Lost(error.text),
            _ => unknown(&error.text),
        })?;
        match end.exit {
            CommandExit::Code(_) => {}
            _ if cancel.is_cancelled() => return Err(Trouble::Cancelled),
            CommandExit::TimedOut => return Err(unknown("no answer in time")),
            _ => return Err(unknown("the command was ended")),
        }
        match stranger(&shown.out, port, self.place.here) {
            None => Ok(()),
            Some(user) => Err(Trouble::Closed(format!(
                "port {port} on the node is held by a process of user id {user}, not of root, and the key of the kubelet is \
                 not known yet: nothing was recorded and no token was sent; find out who listens there while the kubelet \
                 does not, or, if that is the kubelet, give the authority of its certificate with --kubelet-ca"
            ))),
        }
    }
}

/// Returns the first user other than root, and than ourselves on this machine, who listens at the port.
fn stranger(out: &[u8], port: u16, here: bool) -> Option<u32> {
    let text = String::from_utf8_lossy(out);
    let mut lines = text.lines();
    let own = lines.next().and_then(|line| line.trim().parse::<u32>().ok()).filter(|_| here);
    let port = format!(":{port:04X}");
    lines
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().take(8).collect();
            let [_, local, _, "0A", _, _, _, user] = words.as_slice() else { return None };
            local.ends_with(&port).then(|| user.parse::<u32>().ok()).flatten()
        })
        .find(|user| *user != 0 && Some(*user) != own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_there_and_is_not_root_is_a_stranger() {
        let line = |local: &str, state: &str, user: u32| {
            format!(
                "   5: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {user:5}        0 36 1 0 100\n"
            )
        };
        let six = "00000000000000000000000000000000:280A";
        for (lines, here, want) in [
            (String::new(), false, None),
            (line("0100007F:280A", "0A", 0), false, None),
            (line("0100007F:280A", "0A", 1000), false, Some(1000)),
            (line("0100007F:280A", "0A", 1000), true, None),
            (line("0100007F:280A", "0A", 1001), true, Some(1001)),
            (line(six, "0A", 0) + &line("0100007F:280A", "0A", 7), false, Some(7)),
            (line("0100007F:280B", "0A", 7) + &line("0100007F:280A", "01", 7), false, None),
            ("garbage\n0: :280A x 0A\n".to_owned(), false, None),
        ] {
            assert_eq!(stranger(format!("1000\n{lines}").as_bytes(), 10250, here), want, "{lines}");
        }
    }
}
