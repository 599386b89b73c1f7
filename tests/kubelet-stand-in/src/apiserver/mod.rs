//! A kube-apiserver for tests: what a real one answered (`tests/fixtures/kube-apiserver`), behind bearer tokens, client
//! certificates and RBAC, with a fleet's nodes in the place of the recorded one. README.md tells what was never recorded.

mod flags;
mod objects;
mod proxy;
mod query;
mod recorded;
mod routes;
mod status;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;

pub use flags::ApiFlags;
pub use routes::ApiServer;

use crate::server::{accept, bind, secure_connection};
use crate::tls::Tls;

/// Serves until the process is killed.
pub async fn serve(flags: ApiFlags) -> io::Result<()> {
    let tls = Arc::new(Tls::new(&flags.tls)?);
    let listener = bind(SocketAddr::new(flags.address, flags.port)).await?;
    let told = flags.port == 0;
    let server = Arc::new(ApiServer::new(flags)?);
    if told {
        writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    }
    accept(listener, server, move |server, stream| secure_connection(server, tls.clone(), stream)).await;
    Ok(())
}
