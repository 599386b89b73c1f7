//! What lies in front of a server: jump lists followed to their beginning, commands with their tokens filled in.

use std::path::PathBuf;

use futures::future::BoxFuture;

use super::error::InventoryError;
use super::resolve::{Resolver, Server, route_error};
use super::settings::{JumpSpec, Origin, Route};
use super::target::{Endpoint, Hop, Proxy};
use super::tokens::Tokens;

/// More jumps than this are a mistake, not a network.
const JUMPS_AT_MOST: usize = 16;

/// What lies in front of a server.
enum Front {
    Hops(Vec<Hop>),
    /// The outermost jump is reached by a command.
    Command,
}

impl Resolver<'_> {
    /// Returns the way to a server that is asked for by `name`.
    pub(super) async fn proxy(&self, name: &str, hop: &Hop, route: &Route) -> Result<Proxy, InventoryError> {
        match route {
            Route::Direct => Ok(Proxy::Direct),
            Route::Command(command) => {
                let alias = hop.host_key.alias.as_deref();
                let Endpoint { host, port } = &hop.endpoint;
                let tokens =
                    Tokens { host, name, port: *port, user: &hop.user, host_key_alias: alias, local: &self.local };
                let expanded = tokens.command(command).map_err(|reason| route_error(name, &reason))?;
                Ok(Proxy::Command(expanded))
            }
            Route::Jump(jumps) => {
                // A jump that is selected as a node is not in front of itself; what lies before it is.
                let jumps: Vec<JumpSpec> = jumps.iter().take_while(|jump| jump.host != name).cloned().collect();
                if jumps.is_empty() {
                    return Ok(Proxy::Direct);
                }
                match self.chain(&jumps, vec![name.to_owned()]).await? {
                    Front::Hops(hops) => Ok(Proxy::Jump(hops)),
                    Front::Command => {
                        self.warn(
                            "the jump in front has a ProxyCommand of its own, so one ssh process per node goes through it".to_owned(),
                            name,
                        );
                        Ok(Proxy::Command(ssh_through(&jumps, &hop.endpoint, self.ssh.file())))
                    }
                }
            }
        }
    }

    /// Resolves a jump list. As with `ssh -J a,b`, what lies in front of the first is its own affair,
    /// while the others are reached through the one before. `above` holds who asked, to find circles.
    fn chain<'s>(&'s self, jumps: &'s [JumpSpec], above: Vec<String>) -> BoxFuture<'s, Result<Front, InventoryError>> {
        Box::pin(async move {
            let mut hops = Vec::new();
            for (nth, jump) in jumps.iter().enumerate() {
                if above.len() + nth > JUMPS_AT_MOST || (nth == 0 && above.contains(&jump.host)) {
                    let way = above.join(" → ");
                    return Err(route_error(&jump.host, &format!("the jumps go in a circle: {way} → {}", jump.host)));
                }
                let address = jump.host.contains(':').then(|| jump.host.clone());
                let server = Server {
                    name: &jump.host,
                    user: jump.user.clone(),
                    port: jump.port,
                    address,
                    jump: true,
                    routed: nth > 0,
                };
                let resolved = self.server(server).await?;
                let own = resolved.layers.find(|s| s.route.as_ref()).filter(|_| nth == 0);
                match own {
                    Some((Route::Jump(more), _)) => {
                        let more: Vec<JumpSpec> = more.iter().take_while(|m| m.host != jump.host).cloned().collect();
                        let mut above = above.clone();
                        above.push(jump.host.clone());
                        if !more.is_empty() {
                            match self.chain(&more, above).await? {
                                Front::Hops(front) => hops.extend(front),
                                Front::Command => return Ok(Front::Command),
                            }
                        }
                    }
                    Some((Route::Command(_), Origin::SshConfig)) => return Ok(Front::Command),
                    Some((Route::Command(_), _)) => {
                        return Err(route_error(
                            &jump.host,
                            "a jump cannot have a proxy-command in the inventory: give the nodes behind it a proxy-command, \
                             or put the jump's into ssh_config",
                        ));
                    }
                    Some((Route::Direct, _)) | None => {}
                }
                hops.push(resolved.hop);
            }
            Ok(Front::Hops(hops))
        })
    }
}

/// Returns what `ssh` itself would run for `ProxyJump`: `ssh -W` through the jumps.
fn ssh_through(jumps: &[JumpSpec], to: &Endpoint, file: Option<&PathBuf>) -> String {
    let Some((last, before)) = jumps.split_last() else { return String::new() };
    let mut words = vec!["ssh".to_owned(), "-o".to_owned(), "BatchMode=yes".to_owned()];
    let mut option = |flag: &str, value: String| words.extend([flag.to_owned(), quote(&value)]);
    if let Some(file) = file {
        option("-F", file.display().to_string());
    }
    if let Some(user) = &last.user {
        option("-l", user.clone());
    }
    if let Some(port) = last.port {
        option("-p", port.to_string());
    }
    if !before.is_empty() {
        option("-J", before.iter().map(JumpSpec::to_string).collect::<Vec<_>>().join(","));
    }
    option("-W", format!("[{}]:{}", to.host, to.port));
    option("--", last.host.clone());
    words.join(" ")
}

fn quote(word: &str) -> String {
    if word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:@,=".contains(&b)) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
