//! The Kubernetes API against servers in this process: what is asked, what is said when it fails, and that no token is told to
//! anybody but the redactor.

#![cfg(feature = "cluster")]
#![allow(unreachable_pub, missing_docs, reason = "a test, not a library")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests, and functions only they call")]

#[path = "../common/sinks.rs"]
#[expect(dead_code, clippy::print_stderr, reason = "other tests use the rest")]
mod sinks;

mod evidence;
mod kubeconfigs;
mod requests;
mod server;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plegcollect::cluster::{ApiBounds, Cluster};
use plegcollect::credential::OnSecret;
use plegcollect::inventory::access::{ClusterSettings, TokenFrom};

use server::{ApiServer, Ca};

pub const TOKEN: &str = "tok-1f0a9c77e2b34";
pub const BOUNDS: ApiBounds = ApiBounds { within: Duration::from_secs(10), max_bytes: 1 << 20 };

/// What the redactor is told.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub fn on_secret(&self) -> OnSecret {
        let told = Arc::clone(&self.0);
        Arc::new(move |secret| told.lock().unwrap().push(secret.to_owned()))
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "a file of a test's own, nobody reads it while it is made")]
pub fn file(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// Settings for servers by address, with a token in a file.
pub fn by_address(dir: &Path, ca: &Ca, servers: &[&ApiServer]) -> ClusterSettings {
    let (ca_file, token_file) = (dir.join("ca.crt"), dir.join("token"));
    file(&ca_file, &ca.pem);
    if !token_file.exists() {
        file(&token_file, &format!("{TOKEN}\n"));
    }
    ClusterSettings {
        api_servers: servers.iter().map(|server| server.url()).collect(),
        ca: Some(ca_file),
        token: Some(TokenFrom::File(token_file)),
        ..ClusterSettings::default()
    }
}

pub fn open(settings: &ClusterSettings) -> (Cluster, Told) {
    let told = Told::default();
    (Cluster::open(settings, &told.on_secret()).unwrap(), told)
}
